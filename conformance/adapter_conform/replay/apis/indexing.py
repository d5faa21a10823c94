"""Reading and writing by index."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

import numpy as np

from adapter_conform.catalogue.bounds import Operand, move, value_of
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import Arguments, Refusal, add, shape_of, signature
from adapter_conform.replay.inputs import Fill, distinct, index
from adapter_conform.replay.syntax import SliceArg, TensorArg, Value, tensors_of

__all__: list[str] = []


def _is_basic(item: Value) -> bool:
    """Integers, slices, None and Ellipsis: what Paddle serves as a view."""
    items = item if isinstance(item, tuple) else (item,)
    return all(type(part) in _BASIC for part in items) and not tensors_of(list(items))


_BASIC = (int, type(None), EllipsisType, SliceArg)


def _is_number(item: Value) -> bool:
    """A 0-D integer tensor stands for its number."""
    return isinstance(item, TensorArg) and not item.shape and item.dtype != "bool"


def _item_fill(a: Arguments) -> dict[str, Fill]:
    """Index tensors stay below the first side. Only the single-tensor form is known."""
    if _is_basic(a.item) or (isinstance(a.item, TensorArg) and a.item.dtype == "bool"):
        return {}
    if not isinstance(a.item, TensorArg):
        raise Refusal("index that mixes tensors with other forms")
    return {"item": index(shape_of(a.x)[0])}


def _item(a: Arguments) -> Any:
    return tuple(a.item) if isinstance(a.item, list) else a.item


def _getitem_kernels(a: Arguments) -> list[Kernel]:
    if _is_basic(a.item):
        return []
    if isinstance(a.item, TensorArg) and a.item.dtype == "bool":
        if a.item.shape == shape_of(a.x):
            return [kernel("masked_select", a.x.dtype)]
        return [kernel("nonzero", "bool"), kernel("index_elementwise_get|gather_nd", a.x.dtype)]
    if _is_number(a.item):
        return []
    return [kernel("index_elementwise_get|gather_nd|gather", a.x.dtype)]


add(
    "Tensor.__getitem__",
    "getitem",
    signature("x", "item"),
    lambda a: move(lambda x: x[_item(a)], a.x),
    kernels=_getitem_kernels,
    fills=_item_fill,
    view=lambda a: _is_basic(a.item) or _is_number(a.item),
)


def _setitem(a: Arguments) -> Operand:
    def write(x: Any, value: Any) -> Any:
        result = x.copy()
        result[_item(a)] = value
        return result

    value = a.value
    if isinstance(value, (bool, int, float)):
        value = np.asarray(value, dtype=value_of(a.x).dtype)
    return move(write, a.x, value)


def _setitem_kernels(a: Arguments) -> list[Kernel]:
    name = "set_value_with_tensor" if isinstance(a.value, TensorArg) else "set_value"
    return [kernel(f"{name}|index_elementwise_put|index_elementwise_put_with_tensor|index_put", a.x.dtype)]


add(
    "Tensor.__setitem__",
    "set_value",
    signature("x", "item", "value"),
    _setitem,
    kernels=_setitem_kernels,
    fills=_item_fill,
    mutates="x",
)


def _along(a: Arguments) -> int:
    return 0 if a.axis is None else int(a.axis)


add(
    "gather Tensor.gather",
    "gather",
    signature("x", "index", axis=None, name=None),
    lambda a: move(lambda x: np.take(x, a.index, axis=_along(a)), a.x),
    fills=lambda a: {"index": index(shape_of(a.x)[_along(a)])},
)
add(
    "index_select Tensor.index_select",
    "index_select",
    signature("x", "index", axis=0, name=None),
    lambda a: move(lambda x: np.take(x, a.index, axis=_along(a)), a.x),
    fills=lambda a: {"index": index(shape_of(a.x)[_along(a)])},
)
add(
    "index_sample",
    "index_sample",
    signature("x", "index"),
    lambda a: move(lambda x: np.take_along_axis(x, a.index, 1), a.x),
    fills=lambda a: {"index": index(shape_of(a.x)[1])},
)
add(
    "Tensor.gather_nd gather_nd",
    "gather_nd",
    signature("x", "index", name=None),
    lambda a: move(lambda x: x[tuple(np.moveaxis(a.index, -1, 0))], a.x),
    fills=lambda a: {"index": index(min(shape_of(a.x)[: shape_of(a.index)[-1]]))},
)


def _take_along(a: Arguments) -> Operand:
    """With ``broadcast`` the indices spread over the other axes; Paddle's default does so."""
    shape = list(value_of(a.arr).shape)
    shape[a.axis] = a.indices.shape[a.axis]
    return move(lambda x: np.take_along_axis(x, np.broadcast_to(a.indices, shape), a.axis), a.arr)


add(
    "take_along_axis Tensor.take_along_axis",
    "take_along_axis",
    signature("arr", "indices", "axis", broadcast=True),
    _take_along,
    fills=lambda a: {"indices": index(shape_of(a.arr)[a.axis])},
)


def _scatter(a: Arguments) -> Operand:
    def write(x: Any, updates: Any) -> Any:
        result = x.copy()
        result[a.index.reshape(-1)] = updates
        return result

    return move(write, a.x, a.updates)


def _scatter_fills(a: Arguments) -> dict[str, Fill]:
    if a.overwrite is not True:
        raise Refusal("scatter that adds up")
    return {"index": distinct(shape_of(a.x)[0])}


add(
    "scatter Tensor.scatter",
    "scatter",
    signature("x", "index", "updates", overwrite=True, name=None),
    _scatter,
    fills=_scatter_fills,
)
