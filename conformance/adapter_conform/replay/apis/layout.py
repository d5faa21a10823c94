"""APIs that move elements and compute nothing: shapes, views, joins and broadcasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.catalogue.bounds import Operand, move, value_of
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import Arguments, Parameters, Refusal, add, shape_of, signature
from adapter_conform.replay.syntax import TensorArg, tensors_of

__all__ = ["axes_of"]


def axes_of(axis: Any) -> tuple[int, ...] | None:
    """An axis argument as a tuple; None stays None."""
    if axis is None:
        return None
    return tuple(int(a) for a in np.asarray(value_of(axis)).reshape(-1))


def _numbers(value: Any) -> list[int]:
    return [int(number) for number in np.asarray(value_of(value)).reshape(-1)]


def _view(names: str, operator: str, parameters: Parameters, rearrange: Callable[[Any, Arguments], Any]) -> None:
    """An API that Paddle serves as a view of ``x``."""
    add(
        names,
        operator,
        parameters,
        lambda a: move(lambda x: rearrange(x, a), a.x),
        kernels=lambda _: [],
        view=True,
    )


def _reshaped(x: Any, a: Arguments) -> Any:
    """0 in the shape keeps the input's side, -1 stands for the rest."""
    sides = _numbers(a.shape)
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(sides)])


def _flattened(x: Any, a: Arguments) -> Any:
    if not x.ndim:
        return x.reshape(1)
    first, last = a.start_axis % x.ndim, a.stop_axis % x.ndim
    return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])


def _squeezed(x: Any, a: Arguments) -> Any:
    """Axes whose side is not 1 stay."""
    axes = range(x.ndim) if a.axis is None else [axis % x.ndim for axis in _numbers(a.axis)]
    return np.squeeze(x, axis=tuple(axis for axis in axes if x.shape[axis] == 1))


def _unsqueezed(x: Any, a: Arguments) -> Any:
    """Axes are inserted one after another, each counted in the shape so far."""
    for axis in _numbers(a.axis):
        x = np.expand_dims(x, axis)
    return x


_view("reshape Tensor.reshape", "reshape", signature("x", "shape", name=None), _reshaped)
_view("flatten Tensor.flatten", "flatten", signature("x", start_axis=0, stop_axis=-1, name=None), _flattened)
_view("squeeze Tensor.squeeze", "squeeze", signature("x", axis=None, name=None), _squeezed)
_view("unsqueeze Tensor.unsqueeze", "unsqueeze", signature("x", "axis", name=None), _unsqueezed)
_view(
    "transpose Tensor.transpose",
    "transpose",
    signature("x", "perm", name=None),
    lambda x, a: np.transpose(x, _numbers(a.perm)),
)
_view("Tensor.detach", "detach", signature("x"), lambda x, _: x)


def _expanded(x: Any, a: Arguments) -> Any:
    """-1 in the shape keeps the input's side."""
    sides = _numbers(a.shape)
    offset = len(sides) - x.ndim
    return np.broadcast_to(x, [x.shape[i - offset] if side == -1 else side for i, side in enumerate(sides)])


def _moving(
    names: str,
    operator: str,
    parameters: Parameters,
    rearrange: Callable[[Any, Arguments], Any],
) -> None:
    add(names, operator, parameters, lambda a: move(lambda x: rearrange(x, a), a.x))


_moving(
    "expand Tensor.expand broadcast_to Tensor.broadcast_to", "expand", signature("x", "shape", name=None), _expanded
)
_moving(
    "tile Tensor.tile",
    "tile",
    signature("x", "repeat_times", name=None),
    lambda x, a: np.tile(x, _numbers(a.repeat_times)),
)
_moving("tril Tensor.tril", "tril", signature("x", diagonal=0, name=None), lambda x, a: np.tril(x, a.diagonal))
_moving("triu Tensor.triu", "triu", signature("x", diagonal=0, name=None), lambda x, a: np.triu(x, a.diagonal))
_moving(
    "diag",
    "diag",
    signature("x", offset=0, padding_value=0, name=None),
    lambda x, a: np.diag(x, a.offset),
)


def _one_dtype(a: Arguments) -> list[TensorArg]:
    tensors = tensors_of(a.x)
    if not isinstance(a.x, (list, tuple)) or not tensors or len({tensor.dtype for tensor in tensors}) != 1:
        raise Refusal("a list of tensors of different dtypes, or none")
    return tensors


def _joined_kernels(operator: str) -> Callable[[Arguments], list[Kernel]]:
    return lambda a: [kernel(operator, _one_dtype(a)[0].dtype)]


def _join(names: str, operator: str, compute: Callable[..., Any]) -> None:
    add(
        names,
        operator,
        signature("x", axis=0, name=None),
        lambda a: move(lambda *parts: compute(parts, axis=a.axis), *a.x),
        kernels=_joined_kernels(operator),
    )


_join("concat", "concat", np.concatenate)
_join("stack", "stack", np.stack)


def _sections(side: int, sections: Any) -> list[int]:
    """The places to cut at. -1 among the lengths stands for what the others leave."""
    if isinstance(sections, int):
        if side % sections:
            raise Refusal("split into parts of unequal size")
        return [side // sections * i for i in range(1, sections)]
    lengths = [int(length) for length in sections]
    rest = side - sum(length for length in lengths if length != -1)
    return [int(cut) for cut in np.cumsum([rest if length == -1 else length for length in lengths])[:-1]]


def _split(names: str, sections_name: str) -> None:
    def oracle(a: Arguments) -> list[Operand]:
        axis = int(a.axis)
        cuts = _sections(value_of(a.x).shape[axis], getattr(a, sections_name))
        count = len(cuts) + 1
        return [move(lambda x, i=i: np.split(x, cuts, axis)[i], a.x) for i in range(count)]

    def kernels(a: Arguments) -> list[Kernel]:
        equal_parts = isinstance(getattr(a, sections_name), int)
        return [kernel("split_with_num" if equal_parts else "split", a.x.dtype)]

    add(names, "split", signature("x", sections_name, axis=0, name=None), oracle, kernels=kernels)


_split("split Tensor.split", "num_or_sections")
_split("chunk Tensor.chunk", "chunks")


def _where_kernels(a: Arguments) -> list[Kernel]:
    if a.x is None:
        return [kernel("nonzero", "bool")]
    return [kernel("where", next((v.dtype for v in (a.x, a.y) if isinstance(v, TensorArg)), "float32"))]


def _where_dtype(a: Arguments) -> str:
    if a.x is None or a.y is None:
        return "int64"
    dtypes = [value.dtype if isinstance(value, TensorArg) else "float32" for value in (a.x, a.y)]
    if len(set(dtypes)) != 1:
        raise Refusal("where with branches of different dtypes")
    return dtypes[0]


def _where(a: Arguments) -> Operand | list[Operand]:
    if a.x is None:
        shape_of(a.plan.condition)
        return [np.asarray(indices) for indices in np.nonzero(a.condition)]
    branches = [np.float32(value) if isinstance(value, (int, float)) else value for value in (a.x, a.y)]
    return move(lambda x, y: np.where(a.condition, x, y), *branches)


def _where_also(a: Arguments) -> list[Kernel]:
    """A bare number is filled into a tensor and expanded to the condition's shape."""
    numbers = a.x is not None and not (isinstance(a.x, TensorArg) and isinstance(a.y, TensorArg))
    return [kernel(name, _where_dtype(a)) for name in ("full", "expand")] if numbers else []


add(
    "where Tensor.where",
    "where",
    signature("condition", x=None, y=None, name=None),
    _where,
    kernels=_where_kernels,
    dtype=_where_dtype,
    also=_where_also,
)
