"""Joining, splitting, repeating and reordering, by kernels of the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, value_of
from adapter_conform.catalogue.movement import movement
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

MOST = 6
"""The largest number of inputs drawn for operators that take a list."""


@st.composite
def _joined(draw: st.DrawFn, new_axis: bool) -> Description:
    shape = draw(st.lists(st.integers(1, 6), min_size=0 if new_axis else 1, max_size=4))
    axis = draw(st.integers(-len(shape) - new_axis, len(shape) - 1 + new_axis))
    count = draw(st.integers(1, MOST))
    if new_axis:
        return describe(*[tensor(shape)] * count, axis=axis)
    parts = []
    for _ in range(count):
        sides = list(shape)
        sides[axis] = draw(st.integers(1, 6))
        parts.append(tensor(sides))
    return describe(*parts, axis=axis)


movement(
    "concat",
    lambda paddle, t, a: paddle.concat(list(t), axis=a["axis"]),
    lambda x, a: [np.concatenate(x, axis=a["axis"])],
    moved=range(64),
    examples=lambda dtype: _joined(False),
    corners=lambda dtype: [
        describe(tensor((2, 3)), tensor((4, 3)), axis=0),
        describe(tensor((2, 3)), tensor((2, 1)), tensor((2, 5)), axis=-1),
        describe(tensor((0, 3)), tensor((2, 3)), axis=0),
        describe(tensor((2, 8, 4, 8)), tensor((2, 8, 4, 8)), axis=-1),
        describe(tensor((5,)), axis=0),
    ],
    aliases=("paddle.concat",),
)

movement(
    "stack",
    lambda paddle, t, a: paddle.stack(list(t), axis=a["axis"]),
    lambda x, a: [np.stack(x, axis=a["axis"])],
    moved=range(64),
    dtypes=("float32", "int64"),
    examples=lambda dtype: _joined(True),
    corners=lambda dtype: [
        describe(tensor((2, 3)), tensor((2, 3)), axis=0),
        describe(tensor(()), tensor(()), tensor(()), axis=0),
        describe(tensor((4, 3)), tensor((4, 3)), axis=-1),
        describe(*[tensor((1,))] * 21, axis=0),
    ],
    aliases=("paddle.stack",),
)


def _split(x: list[Array], a: Attributes) -> list[Array]:
    sections, axis = a["sections"], a["axis"]
    if isinstance(sections, int):
        return np.split(x[0], sections, axis)
    sizes = list(sections)
    if -1 in sizes:
        sizes[sizes.index(-1)] = x[0].shape[axis] - sum(size for size in sizes if size != -1)
    return np.split(x[0], np.cumsum(sizes)[:-1], axis)


def _split_kernels(a: Attributes, dtype: str) -> list[Kernel]:
    return [Kernel(("split_with_num" if isinstance(a["sections"], int) else "split",), dtype)]


movement(
    "split",
    lambda paddle, t, a: paddle.split(t[0], a["sections"], axis=a["axis"]),
    _split,
    kernels=_split_kernels,
    grad_kernels=lambda a, dtype: [Kernel(("concat",), dtype)],
    dtypes=("float32", "int64", "bool"),
    examples=lambda dtype: st.builds(
        lambda sides, sizes, axis: describe(
            tensor([*sides[:axis], sum(sizes), *sides[axis:]]), sections=sizes, axis=min(axis, len(sides))
        ),
        st.lists(st.integers(1, 5), max_size=3),
        st.lists(st.integers(1, 4), min_size=1, max_size=4),
        st.integers(0, 3),
    ),
    corners=lambda dtype: [
        describe(tensor((4, 6)), sections=2, axis=1),
        describe(tensor((4, 6)), sections=[1, 3], axis=0),
        describe(tensor((2, 7)), sections=[2, -1], axis=-1),
        describe(tensor((2, 16, 96)), sections=3, axis=-1),
    ],
    aliases=("paddle.split", "paddle.Tensor.split", "paddle.chunk", "paddle.Tensor.chunk"),
)


def _expanded(x: list[Array], a: Attributes) -> list[Array]:
    extra = len(a["shape"]) - x[0].ndim
    shape = [x[0].shape[i - extra] if side == -1 else side for i, side in enumerate(a["shape"])]
    return [np.broadcast_to(x[0], shape)]


@st.composite
def _expansions(draw: st.DrawFn) -> Description:
    target = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    kept = draw(st.integers(0, len(target)))
    shape = [side if draw(st.booleans()) else 1 for side in target[len(target) - kept :]]
    return describe(tensor(shape), shape=target)


movement(
    "expand",
    lambda paddle, t, a: paddle.expand(t[0], a["shape"]),
    _expanded,
    examples=lambda dtype: _expansions(),
    corners=lambda dtype: [
        describe(tensor((1, 6)), shape=[4, 6]),
        describe(tensor((3, 1)), shape=[2, -1, 5]),
        describe(tensor(()), shape=[3]),
        describe(tensor((1, 1, 32, 32)), shape=[2, 1, 32, 32]),
        describe(tensor((2, 3)), shape=[2, 3]),
    ],
    aliases=("paddle.expand", "paddle.Tensor.expand", "paddle.broadcast_to", "paddle.Tensor.broadcast_to"),
)

movement(
    "tile",
    lambda paddle, t, a: paddle.tile(t[0], a["repeat_times"]),
    lambda x, a: [np.tile(x[0], a["repeat_times"])],
    examples=lambda dtype: st.builds(
        lambda sides, times: describe(tensor(sides), repeat_times=times),
        st.lists(st.integers(1, 5), min_size=1, max_size=4),
        st.lists(st.integers(1, 3), min_size=1, max_size=4),
    ),
    corners=lambda dtype: [
        describe(tensor((2, 3)), repeat_times=[2, 1]),
        describe(tensor((5,)), repeat_times=[3, 2]),
        describe(tensor((2, 3, 4)), repeat_times=[2]),
        describe(tensor((2, 8, 2, 1, 16)), repeat_times=[1, 1, 1, 2, 1]),
    ],
    aliases=("paddle.tile", "paddle.Tensor.tile"),
)

movement(
    "flip",
    lambda paddle, t, a: paddle.flip(t[0], a["axis"]),
    lambda x, a: [np.flip(x[0], tuple(a["axis"]))],
    grad_kernels=lambda a, dtype: [Kernel(("flip",), dtype)],
    dtypes=("float32", "int64"),
    examples=lambda dtype: st.lists(st.integers(1, 6), min_size=1, max_size=4).flatmap(
        lambda sides: st.lists(st.integers(0, len(sides) - 1), min_size=1, unique=True).map(
            lambda axes: describe(tensor(sides), axis=axes)
        )
    ),
    corners=lambda dtype: [describe(tensor((3, 5)), axis=[0]), describe(tensor((2, 3, 4)), axis=[-1, 0])],
    aliases=("paddle.flip",),
)


def _order(x: Array, a: Attributes) -> Array:
    """The places of the elements in order; equal ones stay in theirs."""
    wide = x if x.dtype.kind == "f" else x.astype(np.int64)
    return np.argsort(-wide if a["descending"] else wide, axis=a["axis"], kind="stable")


def _sorted(x: list[Array], a: Attributes) -> list[Array]:
    return [_order(x[0], a).astype(np.int64)]


def _sorts(**fixed: Any) -> Any:
    def build(sides: Sequence[int], axis: int, descending: bool) -> Description:
        return describe(tensor(sides, "distinct"), axis=axis % len(sides), descending=descending, **fixed)

    return lambda dtype: st.builds(
        build, st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 2), st.booleans()
    )


movement(
    "argsort",
    lambda paddle, t, a: paddle.argsort(t[0], axis=a["axis"], descending=a["descending"]),
    _sorted,
    differentiable=False,
    dtypes=("float32", "int64"),
    result_dtypes=lambda a, dtype: ["int64"],
    examples=_sorts(),
    corners=lambda dtype: [
        describe(tensor((4, 7), "distinct"), axis=-1, descending=False),
        describe(tensor((5, 3), "distinct"), axis=0, descending=True),
        describe(tensor((1031,), "distinct"), axis=0, descending=True),
    ],
    aliases=("paddle.argsort",),
)


def _sort_oracle(x: list[Any], a: Attributes) -> list[Any]:
    order = _order(value_of(x[0]), a)
    return [b.argselect(x[0], order, a["axis"])]


def _sort_gradient(x: list[Any], out: list[Any], d: list[Any], a: Attributes) -> list[Any]:
    order = _order(value_of(x[0]), a)

    def put(flow: Array) -> Array:
        result = np.zeros_like(flow)
        np.put_along_axis(result, order, flow, a["axis"])
        return result

    return [b.move(put, d[0])]


register(
    OperatorSpec(
        name="sort",
        call=lambda paddle, t, a: paddle.sort(t[0], axis=a["axis"], descending=a["descending"], stable=True),
        oracle=_sort_oracle,
        gradient=_sort_gradient,
        kernels=lambda a, dtype: [Kernel(("argsort",), dtype)],
        grad_kernels=lambda a, dtype: [Kernel(("argsort_grad",), dtype)],
        kind=Kind.EXACT,
        examples=_sorts(),
        corners=lambda dtype: [
            describe(tensor((4, 7), "distinct"), axis=-1, descending=False),
            describe(tensor((5, 3), "ties"), axis=0, descending=True),
            describe(tensor((200,), "ties"), axis=0, descending=False),
            describe(tensor((2, 3, 31), "distinct"), axis=1, descending=True),
        ],
        dtypes=("float32", "int64"),
        aliases=("paddle.sort", "paddle.Tensor.sort"),
    )
)
