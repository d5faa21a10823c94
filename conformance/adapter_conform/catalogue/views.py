"""Operators that Paddle serves as views while FLAGS_use_stride_kernel is on: no kernel runs, the result aliases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.movement import movement
from adapter_conform.catalogue.spec import Attributes, Description, kernel
from adapter_conform.catalogue.values import describe, tensor

__all__ = ["basic_index"]

VIEWED = ("float32", "int64", "bool")


def _squeezed(x: list[Array], a: Attributes) -> list[Array]:
    axes = [axis % x[0].ndim for axis in a["axis"]]
    return [np.squeeze(x[0], axis=tuple(axis for axis in axes if x[0].shape[axis] == 1))]


def _unsqueezed(x: list[Array], a: Attributes) -> list[Array]:
    result = x[0]
    for axis in a["axis"]:  # one after the other, as Paddle does
        result = np.expand_dims(result, axis)
    return [result]


def _flattened(x: list[Array], a: Attributes) -> list[Array]:
    shape = x[0].shape
    first, last = a["start_axis"] % x[0].ndim, a["stop_axis"] % x[0].ndim
    return [x[0].reshape((*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))]


def _reshape_examples(dtype: str) -> st.SearchStrategy[Description]:
    def build(sides: list[int], cut: int) -> Description:
        cut = min(cut, len(sides))
        return describe(tensor(sides), shape=[math.prod(sides[:cut]), -1] if cut else [-1])

    return st.builds(build, st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 5))


movement(
    "reshape",
    lambda paddle, t, a: paddle.reshape(t[0], a["shape"]),
    lambda x, a: [x[0].reshape(_resolved(a["shape"], x[0].shape))],
    view=True,
    dtypes=VIEWED,
    examples=_reshape_examples,
    corners=lambda dtype: [
        describe(tensor((4, 6)), shape=[3, 8]),
        describe(tensor((2, 3, 4)), shape=[0, -1]),
        describe(tensor((1, 1)), shape=[1]),  # not from 0-D: that one Paddle copies
        describe(tensor((0, 4)), shape=[4, 0]),
        describe(tensor((2, 32, 128)), shape=[2, 32, 8, 16]),
        describe(tensor((1, 1)), shape=[]),
    ],
    aliases=("paddle.reshape", "paddle.Tensor.reshape"),
)


def _resolved(shape: Sequence[int], old: Sequence[int]) -> list[int]:
    """Paddle's 0 keeps a side of the input (-1 stays, for NumPy to work out)."""
    if math.prod(old) == 0:
        return list(shape)
    return [old[i] if side == 0 else side for i, side in enumerate(shape)]


def _permutations(dtype: str) -> st.SearchStrategy[Description]:
    return st.lists(st.integers(1, 7), min_size=1, max_size=4).flatmap(
        lambda sides: st.permutations(range(len(sides))).map(lambda perm: describe(tensor(sides), perm=list(perm)))
    )


movement(
    "transpose",
    lambda paddle, t, a: paddle.transpose(t[0], a["perm"]),
    lambda x, a: [np.transpose(x[0], a["perm"])],
    view=True,
    dtypes=VIEWED,
    examples=_permutations,
    corners=lambda dtype: [
        describe(tensor((4, 6)), perm=[1, 0]),
        describe(tensor((2, 3, 5, 7)), perm=[0, 2, 1, 3]),
        describe(tensor((5,)), perm=[0]),
        describe(tensor((0, 4)), perm=[1, 0]),
        describe(tensor((2, 32, 8, 16)), perm=[0, 2, 3, 1]),
        describe(tensor((3, 1, 2)), perm=[-1, 0, 1]),
    ],
    aliases=("paddle.transpose", "paddle.Tensor.transpose"),
)

movement(
    "squeeze",
    lambda paddle, t, a: paddle.squeeze(t[0], a["axis"]),
    _squeezed,
    view=True,
    dtypes=VIEWED,
    examples=lambda dtype: st.builds(
        lambda sides, axis: describe(tensor([*sides[:axis], 1, *sides[axis:]]), axis=[min(axis, len(sides))]),
        st.lists(st.integers(1, 7), max_size=3),
        st.integers(0, 3),
    ),
    corners=lambda dtype: [
        describe(tensor((4, 1, 6)), axis=[1]),
        describe(tensor((1,)), axis=[0]),
        describe(tensor((2, 3, 1)), axis=[-1]),
        describe(tensor((1, 5, 1)), axis=[0, 2]),
        describe(tensor((2, 3)), axis=[0]),
    ],
    aliases=("paddle.squeeze", "paddle.Tensor.squeeze"),
)

movement(
    "unsqueeze",
    lambda paddle, t, a: paddle.unsqueeze(t[0], a["axis"]),
    _unsqueezed,
    view=True,
    dtypes=VIEWED,
    examples=lambda dtype: st.builds(
        lambda sides, axis: describe(tensor(sides), axis=[min(axis, len(sides))]),
        st.lists(st.integers(1, 7), max_size=3),
        st.integers(-1, 3),
    ),
    corners=lambda dtype: [
        describe(tensor((4, 6)), axis=[1]),
        describe(tensor(()), axis=[0]),
        describe(tensor((2, 3)), axis=[-1]),
        describe(tensor((5,)), axis=[0, 2]),
        describe(tensor((0, 3)), axis=[0]),
    ],
    aliases=("paddle.unsqueeze", "paddle.Tensor.unsqueeze"),
)

movement(
    "flatten",
    lambda paddle, t, a: paddle.flatten(t[0], a["start_axis"], a["stop_axis"]),
    _flattened,
    view=True,
    dtypes=VIEWED,
    examples=lambda dtype: st.builds(
        lambda sides, first: describe(tensor(sides), start_axis=min(first, len(sides) - 1), stop_axis=-1),
        st.lists(st.integers(1, 7), min_size=1, max_size=4),
        st.integers(0, 3),
    ),
    corners=lambda dtype: [
        describe(tensor((2, 3, 4)), start_axis=0, stop_axis=-1),
        describe(tensor((2, 3, 4, 5)), start_axis=1, stop_axis=2),
        describe(tensor((7,)), start_axis=0, stop_axis=0),
    ],
    aliases=("paddle.flatten", "paddle.Tensor.flatten"),
)


def _sliced(x: list[Array], a: Attributes) -> list[Array]:
    index: list[slice] = [slice(None)] * x[0].ndim
    steps = a.get("strides") or [1] * len(a["axes"])
    for axis, start, end, step in zip(a["axes"], a["starts"], a["ends"], steps, strict=True):
        index[axis] = slice(start, end, step)
    return [x[0][tuple(index)]]


def _slices(strided: bool) -> Any:
    @st.composite
    def strategy(draw: st.DrawFn) -> Description:
        sides = draw(st.lists(st.integers(2, 9), min_size=1, max_size=4))
        axes = draw(st.lists(st.integers(0, len(sides) - 1), min_size=1, unique=True))
        starts = [draw(st.integers(0, sides[axis] - 1)) for axis in axes]
        ends = [draw(st.integers(start + 1, sides[axis] + 2)) for start, axis in zip(starts, axes, strict=True)]
        extra: dict[str, Any] = {"strides": [draw(st.integers(1, 3)) for _ in axes]} if strided else {}
        return describe(tensor(sides), axes=axes, starts=starts, ends=ends, **extra)

    return lambda dtype: strategy()


movement(
    "slice",
    lambda paddle, t, a: paddle.slice(t[0], a["axes"], a["starts"], a["ends"]),
    _sliced,
    view=True,
    dtypes=VIEWED,
    examples=_slices(False),
    corners=lambda dtype: [
        describe(tensor((4, 6)), axes=[0], starts=[1], ends=[3]),
        describe(tensor((4, 6)), axes=[1], starts=[-3], ends=[100]),
        describe(tensor((2, 32, 4, 16)), axes=[3], starts=[0], ends=[8]),
        describe(tensor((3, 5, 7)), axes=[0, 2], starts=[1, 2], ends=[2, 6]),
    ],
    aliases=("paddle.slice",),
)

movement(
    "strided_slice",
    lambda paddle, t, a: paddle.strided_slice(t[0], a["axes"], a["starts"], a["ends"], a["strides"]),
    _sliced,
    view=True,
    dtypes=VIEWED,
    examples=_slices(True),
    corners=lambda dtype: [
        describe(tensor((4, 7)), axes=[1], starts=[0], ends=[7], strides=[2]),
        describe(tensor((9, 5)), axes=[0], starts=[8], ends=[1], strides=[-3]),
        describe(tensor((6, 6)), axes=[0, 1], starts=[1, 0], ends=[6, 6], strides=[2, 3]),
    ],
    aliases=("paddle.strided_slice",),
)

movement(
    "unbind",
    lambda paddle, t, a: paddle.unbind(t[0], a["axis"]),
    lambda x, a: [np.squeeze(part, a["axis"]) for part in np.split(x[0], x[0].shape[a["axis"]], a["axis"])],
    view=True,
    dtypes=("float32", "int64"),
    examples=lambda dtype: st.builds(
        lambda sides, axis: describe(tensor(sides), axis=min(axis, len(sides) - 1)),
        st.lists(st.integers(1, 5), min_size=1, max_size=3),
        st.integers(-1, 2),
    ),
    corners=lambda dtype: [describe(tensor((3, 4)), axis=0), describe(tensor((2, 3, 2)), axis=-1)],
    grad_kernels=lambda a, dtype: [],  # a stack
    aliases=("paddle.unbind",),
)


def basic_index(items: Sequence[Any], arrays: Sequence[Any]) -> tuple[Any, ...]:
    """An index from its JSON form: a number; ``[start, stop, step]`` for a slice; "newaxis"; "..."; ``{"tensor": i}``
    for ``arrays[i]``.

    Raises:
        ValueError: an item has none of these forms.
    """
    index: list[Any] = []
    for item in items:
        if isinstance(item, int):
            index.append(item)
        elif isinstance(item, list):
            index.append(slice(*item))
        elif item == "newaxis":
            index.append(None)
        elif item == "...":
            index.append(Ellipsis)
        elif isinstance(item, dict) and "tensor" in item:
            index.append(arrays[item["tensor"]])
        else:
            raise ValueError(
                f"index item {item!r}: not a number, [start, stop, step], 'newaxis', '...' or {{'tensor': i}}"
            )
    return tuple(index)


@st.composite
def _indices(draw: st.DrawFn) -> Description:
    sides = draw(st.lists(st.integers(2, 7), min_size=1, max_size=4))
    index: list[Any] = []
    new_axes = draw(st.booleans())  # apart from numbers: Paddle misplaces several new axes beside one
    forms = ["slice", "all"] if new_axes else ["number", "slice", "all"]
    for side in sides[: draw(st.integers(1, len(sides)))]:
        if new_axes and draw(st.booleans()):
            index.append("newaxis")
        form = draw(st.sampled_from(forms))
        if form == "number":
            index.append(draw(st.integers(-side, side - 1)))
        elif form == "slice":
            start = draw(st.integers(0, side - 1))
            index.append([start, draw(st.integers(start + 1, side)), draw(st.sampled_from([1, 2, None]))])
        else:
            index.append([None, None, None])
    return describe(tensor(sides), index=index)


movement(
    "getitem",
    lambda paddle, t, a: t[0][basic_index(a["index"], t)],
    lambda x, a: [x[0][basic_index(a["index"], x)]],
    view=True,
    dtypes=VIEWED,
    examples=lambda dtype: _indices(),
    corners=lambda dtype: [
        describe(tensor((4, 6)), index=[[1, 3, None]]),
        describe(tensor((5,)), index=[-1]),
        describe(tensor((4, 6)), index=["...", [None, None, 2]]),
        describe(tensor((4, 6)), index=[[None, None, None], "newaxis", [5, 0, -2]]),
        describe(tensor((2, 8, 4, 16)), index=["...", [None, 8, None]]),
        describe(tensor((3, 4, 5)), index=[1, [None, None, None], 2]),
    ],
    aliases=("paddle.Tensor.__getitem__",),
)


def _contiguous_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    return paddle.transpose(tensors[0], a["perm"]).contiguous()


movement(
    "contiguous",
    _contiguous_call,
    lambda x, a: [np.transpose(x[0], a["perm"])],
    kernels=lambda a, dtype: [kernel("contiguous", dtype)],
    differentiable=False,
    static=False,
    layouts=("fenced", "misaligned"),  # turned twice, a tensor may be contiguous again
    dtypes=("float32", "int32", "int64", "bool"),
    examples=lambda dtype: _permutations(dtype).filter(_moves),
    corners=lambda dtype: [
        describe(tensor((4, 6)), perm=[1, 0]),
        describe(tensor((2, 3, 5, 7)), perm=[0, 2, 1, 3]),
        describe(tensor((2, 32, 8, 16)), perm=[0, 2, 3, 1]),
    ],
    aliases=("paddle.Tensor.contiguous",),
)


def _moves(description: Description) -> bool:
    """Whether the permutation really changes the order of elements in memory, so that there is something to copy."""
    shape, perm = description["inputs"][0]["shape"], description["attributes"]["perm"]
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return bool(np.any(np.transpose(numbers, perm).reshape(-1) != numbers.reshape(-1)))


movement(
    "share_data",
    lambda paddle, t, a: t[0].detach(),
    lambda x, a: [x[0]],
    differentiable=False,
    view=True,
    dtypes=VIEWED,
    examples=lambda dtype: st.builds(
        lambda sides: describe(tensor(sides)), st.lists(st.integers(1, 7), min_size=1, max_size=3)
    ),
    corners=lambda dtype: [describe(tensor(shape)) for shape in ((4, 6), (1,), (2, 32, 128))],
    aliases=("paddle.Tensor.detach",),
)
