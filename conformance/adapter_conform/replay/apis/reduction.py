"""Sums, means, extremes, running sums and sorting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.bounds import Operand, value_of
from adapter_conform.catalogue.precision import is_float, numpy_dtype
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.layout import axes_of
from adapter_conform.replay.apis.table import Arguments, Refusal, add, dtype_name, shape_of, signature
from adapter_conform.replay.inputs import Fill, nearly

__all__: list[str] = []


def _sum_dtype(a: Arguments) -> str:
    """Paddle sums bools and 32-bit integers in int64."""
    own: str = a.x.dtype
    return dtype_name(a.dtype, "int64" if own in ("bool", "int32") else own)


def _sum(a: Arguments) -> Operand:
    target = _sum_dtype(a.plan)
    x = a.x if is_float(target) else value_of(a.x).astype(numpy_dtype(target))
    return bounds.total(x, axes_of(a.axis), bool(a.keepdim))


add(
    "sum Tensor.sum",
    "sum",
    signature("x", axis=None, dtype=None, keepdim=False, name=None),
    _sum,
    dtype=_sum_dtype,
)


def _floats_only(a: Arguments) -> str:
    if not is_float(a.x.dtype):
        raise Refusal("mean of integers")
    return str(a.x.dtype)


add(
    "mean Tensor.mean",
    "mean",
    signature("x", axis=None, keepdim=False, name=None),
    lambda a: bounds.mean(a.x, axes_of(a.axis), bool(a.keepdim)),
    kernels="mean|mean_all",
    dtype=_floats_only,
)

_OVER_AXIS = signature("x", axis=None, keepdim=False, name=None)


def _extreme(names: str, operator: str, choose: Callable[..., Operand]) -> None:
    add(names, operator, _OVER_AXIS, lambda a: choose(a.x, axes_of(a.axis), bool(a.keepdim)))


_extreme("max Tensor.max", "max", bounds.amax)
_extreme("min Tensor.min", "min", bounds.amin)


def _logical(names: str, operator: str, reduce: Callable[..., Any], mostly: Fill) -> None:
    def oracle(a: Arguments) -> Any:
        return np.asarray(reduce(value_of(a.x), axis=axes_of(a.axis), keepdims=bool(a.keepdim)))

    add(names, operator, _OVER_AXIS, oracle, fills=lambda _: {"x": mostly})


_logical("all Tensor.all", "all", np.all, nearly(True))
_logical("any Tensor.any", "any", np.any, nearly(False))


def _cumsum_dtype(a: Arguments) -> str:
    own: str = a.x.dtype
    return dtype_name(a.dtype, "int64" if own in ("bool", "int32") else own)


def _cumsum_kernels(a: Arguments) -> list[Kernel]:
    return [kernel("cumsum", _cumsum_dtype(a))]


def _cumsum(a: Arguments) -> Operand:
    """Over the flattened tensor when no axis is given."""
    target = _cumsum_dtype(a.plan)
    x = a.x if is_float(target) else value_of(a.x).astype(numpy_dtype(target))
    return bounds.running_sum(x.reshape(-1) if a.axis is None else x, 0 if a.axis is None else int(a.axis))


add(
    "cumsum Tensor.cumsum",
    "cumsum",
    signature("x", axis=None, dtype=None, name=None),
    _cumsum,
    kernels=_cumsum_kernels,
    dtype=_cumsum_dtype,
    also=lambda a: [kernel("cast", a.x.dtype)] if _cumsum_dtype(a) != a.x.dtype else [],
)


def _argmax(a: Arguments) -> Any:
    """The first of equal elements; random floats hold none."""
    index = np.argmax(value_of(a.x), axis=a.axis, keepdims=bool(a.keepdim) and a.axis is not None)
    return np.asarray(index, dtype=numpy_dtype(dtype_name(a.plan.dtype, "int64")))


add(
    "argmax Tensor.argmax",
    "argmax",
    signature("x", axis=None, keepdim=False, dtype="int64", name=None),
    _argmax,
)


_SORTED = signature("x", axis=-1, descending=False, stable=False, name=None)


def _in_order(a: Arguments) -> Operand:
    def order(v: Any) -> Any:
        rising = np.sort(v, axis=int(a.axis))
        return np.flip(rising, int(a.axis)) if a.descending else rising

    return bounds.move(order, a.x)


add("sort Tensor.sort", "argsort", _SORTED, _in_order)


def _argsort_called(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    """What stands in the places that it names, and these places in order. Of equal elements, which half types have
    many of, any may come first: only a stable sort promises more."""
    import paddle

    places = function(*args, **kwargs)
    return [paddle.take_along_axis(a.x, places, a.axis), paddle.sort(places, a.axis)]


def _argsort(a: Arguments) -> list[Operand]:
    """Every place of a row is named once."""
    axis, shape = int(a.axis) % a.x.ndim, value_of(a.x).shape
    places = np.arange(shape[axis], dtype=np.int64).reshape(-1, *[1] * (a.x.ndim - 1 - axis))
    return [_in_order(a), np.broadcast_to(places, shape)]


def _argsort_kernels(a: Arguments) -> list[Kernel]:
    if a.stable or not shape_of(a.x):
        raise Refusal("a stable argsort, or one of a number")
    return [kernel("argsort", a.x.dtype)]


add(
    "argsort Tensor.argsort",
    "argsort",
    _SORTED,
    _argsort,
    kernels=_argsort_kernels,
    also=lambda a: [kernel("take_along_axis", a.x.dtype), kernel("argsort", "int64")],
    call=_argsort_called,
)
