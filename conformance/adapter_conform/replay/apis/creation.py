"""APIs that make tensors from numbers alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adapter_conform.catalogue.bounds import value_of
from adapter_conform.catalogue.precision import numpy_dtype
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import Arguments, Parameters, Refusal, add, dtype_name, signature
from adapter_conform.replay.inputs import Fill, index
from adapter_conform.replay.syntax import TensorArg

__all__: list[str] = []


def _full_dtype(a: Arguments) -> str:
    """``paddle.full`` without a dtype keeps the kind of a bare bool or integer; ``ones`` and ``zeros`` give float32."""
    number = getattr(a, "fill_value", 0.0)
    default = "bool" if isinstance(number, bool) else "int64" if isinstance(number, int) else "float32"
    return dtype_name(a.dtype, default)


def _full(names: str, parameters: Parameters, value: int | None) -> None:
    def oracle(a: Arguments) -> Any:
        shape = [int(side) for side in np.asarray(a.shape, dtype=np.int64).reshape(-1)]
        number = a.fill_value if value is None else value
        return np.full(shape, number, dtype=numpy_dtype(_full_dtype(a.plan)))

    add(
        names,
        "full",
        parameters,
        oracle,
        kernels=lambda a: [kernel("full", _full_dtype(a))],
        dtype=_full_dtype,
        fills=lambda _: {"shape": index(8, low=1)},
    )


_full("zeros", signature("shape", dtype=None, name=None), 0)
_full("ones", signature("shape", dtype=None, name=None), 1)
_full("full", signature("shape", "fill_value", dtype=None, name=None), None)


def _like_dtype(a: Arguments) -> str:
    return dtype_name(a.dtype, a.x.dtype)


def _full_like(names: str, parameters: Parameters, value: int | None) -> None:
    def oracle(a: Arguments) -> Any:
        number = a.fill_value if value is None else value
        return np.full(value_of(a.x).shape, number, dtype=numpy_dtype(_like_dtype(a.plan)))

    add(
        names,
        "full_like",
        parameters,
        oracle,
        kernels=lambda a: [kernel("full_like", _like_dtype(a))],
        dtype=_like_dtype,
    )


_full_like("zeros_like", signature("x", dtype=None, name=None), 0)
_full_like("ones_like", signature("x", dtype=None, name=None), 1)
_full_like("full_like", signature("x", "fill_value", dtype=None, name=None), None)


def _arange_bounds(a: Arguments) -> list[Any]:
    return [0, a.start, a.step] if a.end is None else [a.start, a.end, a.step]


def _arange_dtype(a: Arguments) -> str:
    bounds = _arange_bounds(a)
    floating = any(isinstance(b, float) or (isinstance(b, TensorArg) and b.dtype.startswith("float")) for b in bounds)
    return dtype_name(a.dtype, "float32" if floating else "int64")


def _arange(a: Arguments) -> Any:
    """Element i is start + i * step, exact for the whole numbers that :func:`_arange_fills` lets pass."""
    start, end, step = (float(np.asarray(value_of(bound)).item()) for bound in _arange_bounds(a))
    count = max(0, math.ceil((end - start) / step))
    return (start + np.arange(count) * step).astype(numpy_dtype(_arange_dtype(a.plan)))


def _arange_fills(a: Arguments) -> dict[str, Fill]:
    for bound in _arange_bounds(a):
        if isinstance(bound, float) and not bound.is_integer():
            raise Refusal("arange with a bound or step that is not whole: its elements are not exact")
    few, many = index(3), index(600, low=4)
    return {"start": many} if a.end is None else {"start": few, "end": many}


def _arange_also(a: Arguments) -> list[Kernel]:
    """Bounds that are tensors are checked for being finite, and converted."""
    tensors = {bound.dtype for bound in _arange_bounds(a) if isinstance(bound, TensorArg)}
    return [kernel(name, dtype) for dtype in sorted(tensors) for name in ("isfinite", "cast")]


add(
    "arange",
    "arange",
    signature("start", end=None, step=1, dtype=None, name=None),
    _arange,
    kernels=lambda a: [kernel("arange_tensor|arange", _arange_dtype(a))],
    dtype=_arange_dtype,
    fills=_arange_fills,
    also=_arange_also,
)


def _broadcast_shape_called(function: Any, args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    """The shape is found on the host; a tensor of it is made on the device."""
    import paddle

    return paddle.full(function(*args, **kwargs), True, "bool")


add(
    "broadcast_shape",
    "full",
    signature("x_shape", "y_shape"),
    lambda a: np.full(np.broadcast_shapes(tuple(a.x_shape), tuple(a.y_shape)), True),
    kernels=lambda _: [kernel("full", "bool")],
    dtype=lambda _: "bool",
    call=_broadcast_shape_called,
)
