"""How large the results of a call are, from shapes and numbers alone: a short line may ask for terabytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adapter_conform.replay.apis.table import Api, Arguments
from adapter_conform.replay.syntax import Call, TensorArg, tensors_of

__all__ = ["output_elements"]


def output_elements(call: Call, api: Api, arguments: Arguments) -> int:
    """Elements of the results, or of the largest intermediate, of a call: at most so many.

    A call whose shapes do not fit together gets a number too; what is wrong with it shows when it runs.
    """
    rule = _RULES.get(call.api) or _RULES.get(api.operator)
    return rule(arguments) if rule is not None else _joined([tensor.shape for tensor in call.tensors])


def _joined(shapes: Sequence[tuple[int, ...]]) -> int:
    """Of shapes broadcast with each other; of the largest where they do not fit."""
    sizes = [math.prod(shape) for shape in shapes]
    sides = [max(column, default=1) for column in _columns(shapes)]
    fits = all(side in (1, widest) for column, widest in zip(_columns(shapes), sides, strict=True) for side in column)
    return math.prod(sides) if fits else max(sizes, default=0)


def _columns(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The sides of each axis, counted from the last."""
    depth = max(map(len, shapes), default=0)
    return [[shape[-axis] for shape in shapes if len(shape) >= axis] for axis in range(1, depth + 1)]


def _shape(value: Any) -> tuple[int, ...]:
    return value.shape if isinstance(value, TensorArg) else ()


def _size(value: Any) -> int:
    return math.prod(_shape(value))


def _numbers(value: Any) -> list[int]:
    """The whole numbers of an argument; tensors among them hold small ones."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return [abs(item) for item in items if isinstance(item, int)]


def _expanded(a: Arguments) -> int:
    """A side of -1 is the input's."""
    sides = [side for side in _numbers(a.shape) if side > 1]
    return math.prod(sides) * max(1, _size(a.x) if -1 in _plain(a.shape) else 1)


def _plain(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _product(x: Any, y: Any, transpose_x: Any = False, transpose_y: Any = False) -> int:
    left, right = _shape(x), _shape(y)
    rows = left[-1 if transpose_x else -2] if len(left) > 1 else 1
    columns = right[-2 if transpose_y else -1] if len(right) > 1 else 1
    return _joined([left[:-2], right[:-2]]) * rows * columns if left[:-2] or right[:-2] else rows * columns


def _matmul(a: Arguments) -> int:
    if hasattr(a, "weight"):  # linear
        return _product(a.x, a.weight)
    return _product(a.x, a.y, getattr(a, "transpose_x", False), getattr(a, "transpose_y", False))


def _picked(x: Any, index: Any, axis: Any) -> int:
    """A row of ``x`` for each index."""
    shape = _shape(x)
    side = shape[axis] if shape and isinstance(axis, int) and -len(shape) <= axis < len(shape) else 1
    return _size(x) // max(1, side) * max(1, _size(index))


def _indexed(a: Arguments) -> int:
    items = [item for item in _plain(a.item) if isinstance(item, TensorArg) and item.dtype != "bool"]
    return _picked(a.x, items[0], 0) if items else _size(a.x)


def _gathered(a: Arguments) -> int:
    index, shape = _shape(a.index), _shape(a.x)
    return math.prod(index[:-1]) * math.prod(shape[index[-1] if index else 0 :])


def _along(a: Arguments) -> int:
    sides = list(_shape(a.arr))
    if isinstance(a.axis, int) and -len(sides) <= a.axis < len(sides) and len(_shape(a.indices)) == len(sides):
        sides[a.axis] = _shape(a.indices)[a.axis]
    return math.prod(sides)


def _scores(a: Arguments) -> int:
    """Attention's scores: batch, heads, query length, key length."""
    query, key = _shape(a.query), _shape(a.key)
    return math.prod(query[:1]) * math.prod(query[2:3]) * math.prod(query[1:2]) * math.prod(key[1:2])


def _diagonal(a: Arguments) -> int:
    side = _size(a.x) + sum(_numbers(a.offset))
    return side * side if len(_shape(a.x)) == 1 else _size(a.x)


def _range(a: Arguments) -> int:
    bounds = [b for b in (a.start, a.end) if isinstance(b, (int, float)) and np.isfinite(b)]
    step = abs(a.step) if isinstance(a.step, (int, float)) and a.step else 1
    return int(sum(map(abs, bounds)) / step)


_RULES: dict[str, Callable[[Arguments], int]] = {
    "expand": _expanded,
    "tile": lambda a: _size(a.x) * math.prod(_numbers(a.repeat_times)),
    "full": lambda a: math.prod(_numbers(a.shape)),
    "arange": _range,
    "diag": _diagonal,
    "concat": lambda a: sum(tensor.size for tensor in tensors_of(a.x)),
    "stack": lambda a: sum(tensor.size for tensor in tensors_of(a.x)),
    "matmul": _matmul,
    "bmm": _matmul,
    "addmm": _matmul,
    "paddle.broadcast_shape": lambda a: _joined([tuple(_numbers(a.x_shape)), tuple(_numbers(a.y_shape))]),
    "paddle.outer": lambda a: _size(a.x) * _size(a.y),
    "einsum": lambda a: _size(a.x) * math.prod(_shape(a.y)[-1:]),
    "getitem": _indexed,
    "gather": lambda a: _picked(a.x, a.index, a.axis or 0),
    "index_select": lambda a: _picked(a.x, a.index, a.axis),
    "gather_nd": _gathered,
    "take_along_axis": _along,
    "embedding": lambda a: _picked(a.weight, a.x, 0),
    "scaled_dot_product_attention": _scores,
}
"""By API or operator, where the result is not as large as the inputs broadcast with each other."""
