"""Arithmetic with broadcasting, elementary functions and activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.bounds import Operand, Tracked, move, value_of
from adapter_conform.catalogue.precision import Arithmetic, is_float, numpy_dtype
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import Arguments, Refusal, add, catalogued, dtype_name, signature
from adapter_conform.replay.inputs import ANY, NONZERO, POSITIVE, UNIT, Fill, among
from adapter_conform.replay.syntax import TensorArg, Value

__all__ = ["promoted"]

_WIDTH = ("float16", "bfloat16", "float32", "float64")


def promoted(x: Value, y: Value) -> str:
    """The dtype of ``x op y``: floats beat integers, a 0-D float tensor yields to any other float tensor, and an
    integer tensor that meets a float number becomes float32."""
    if isinstance(x, list | tuple) or isinstance(y, list | tuple):
        raise Refusal("a Python list as an operand, which Paddle's tensors do not compute with")
    operands = [value for value in (x, y) if isinstance(value, TensorArg)]
    tensors = [value.dtype for value in operands]
    ranked = [value.dtype for value in operands if value.shape and is_float(value.dtype)]
    floats = ranked or [dtype for dtype in tensors if is_float(dtype)]
    if not tensors:
        raise Refusal("no tensor among the operands")
    if floats:
        return max(floats, key=_WIDTH.index)
    if any(isinstance(value, float) for value in (x, y)):
        return "float32"
    if len(set(tensors)) > 1:
        raise Refusal("operands of two different integer dtypes")
    return tensors[0]


def _promoted(a: Arguments) -> str:
    return promoted(a.x, a.y)


def _quotient(a: Arguments) -> str:
    dtype = promoted(a.x, a.y)
    return dtype if is_float(dtype) else "float32"


def _operands(a: Arguments, dtype: str) -> list[Any]:
    """x and y in one number system: Tracked for a floating ``dtype``, else integers of that dtype."""
    if is_float(dtype):
        return [_converted(a.x, a.plan.x, dtype, a), _converted(a.y, a.plan.y, dtype, a)]
    return [np.asarray(value, dtype=numpy_dtype(dtype)) for value in (a.x, a.y)]


def _converted(value: Any, planned: Value, dtype: str, a: Arguments) -> Tracked:
    """An operand as the kernel gets it: rounded where it was cast to a narrower dtype first."""
    tracked = value if isinstance(value, Tracked) else Tracked(0.0, a.arithmetic).lift(value)
    narrowed = isinstance(planned, TensorArg) and planned.dtype in _WIDTH and planned.dtype != dtype
    if not narrowed:
        return tracked
    rounding = Arithmetic.of(dtype).u_out * np.abs(tracked.value)
    return Tracked(tracked.value, tracked.arithmetic, rounding if tracked.error is None else tracked.error + rounding)


def _binary(
    names: str,
    operator: str,
    compute: Callable[[Any, Any], Operand],
    number_kernels: str,
    fills: Callable[[Arguments], Mapping[str, Fill]] = lambda _: {},
    dtype: Callable[[Arguments], str] = _promoted,
    neutral: float | None = None,
) -> None:
    """``number_kernels``: what Paddle calls when one side is a bare number. Where that is the operator itself, the
    number is filled into a tensor first. ``neutral``: the number y that leaves x as it is."""

    def kernels(a: Arguments) -> list[Kernel]:
        number = isinstance(a.x, (int, float)) or isinstance(a.y, (int, float))
        return [kernel(number_kernels if number else operator, dtype(a))]

    def also(a: Arguments) -> list[Kernel]:
        casts = {v.dtype for v in (a.x, a.y) if isinstance(v, TensorArg)} - {dtype(a)}
        filled = [kernel("full", dtype(a))] if number_kernels == operator and not isinstance(a.y, TensorArg) else []
        return [*(kernel("cast", own) for own in sorted(casts)), *filled]

    add(
        names,
        operator,
        signature("x", "y", name=None),
        lambda a: compute(*_operands(a, dtype(a.plan))),
        kernels=kernels,
        fills=fills,
        dtype=dtype,
        also=also,
        identity=lambda a: isinstance(a.y, (int, float)) and a.y == neutral,
    )


_binary("Tensor.__add__ Tensor.__radd__ add", "add", lambda x, y: x + y, "scale", neutral=0)
_binary("Tensor.__sub__ subtract", "subtract", lambda x, y: x - y, "scale", neutral=0)
_binary("Tensor.__rsub__", "subtract", lambda x, y: y - x, "scale")
_binary("Tensor.__mul__ Tensor.__rmul__ multiply", "multiply", lambda x, y: x * y, "scale", neutral=1)
_binary(
    "Tensor.__truediv__ divide",
    "divide",
    lambda x, y: x / y,
    "div_scale|scale|divide",
    lambda _: {"y": NONZERO},
    _quotient,
    neutral=1,
)
_binary("Tensor.__rtruediv__", "divide", lambda x, y: y / x, "divide", lambda _: {"x": NONZERO}, _quotient)


def _power_fills(a: Arguments) -> dict[str, Fill]:
    """Any base for a small whole exponent, a positive one else."""
    if isinstance(a.y, (int, float)) and float(a.y).is_integer() and 0 <= a.y <= 4:
        return {}
    return {"x": POSITIVE}


def _float_power(a: Arguments) -> str:
    dtype = promoted(a.x, a.y)
    if not is_float(dtype):
        raise Refusal("power of integers")
    return dtype


_binary("Tensor.pow Tensor.__pow__ pow", "elementwise_pow", bounds.power, "pow", _power_fills, _float_power, neutral=1)
_binary(
    "Tensor.__rpow__",
    "elementwise_pow",
    lambda x, y: bounds.power(y, x),
    "elementwise_pow",
    lambda _: {"x": UNIT},  # exponents as rotary embeddings have them; more would overflow for large bases
    _float_power,
)


def _unary(names: str, operator: str, fill: Fill = ANY) -> None:
    """An operator that the catalogue has under the same meaning, with no attributes."""
    add(
        names,
        operator,
        signature("x", name=None),
        lambda a: catalogued(operator, a.x),
        fills=lambda _: {"x": fill},
    )


_unary("abs Tensor.abs", "abs")
_unary("sin Tensor.sin", "sin")
_unary("cos Tensor.cos", "cos")
_unary("exp Tensor.exp", "exp")
_unary("tanh Tensor.tanh", "tanh")
_unary("log Tensor.log", "log", POSITIVE)
_unary("sqrt Tensor.sqrt", "sqrt", POSITIVE)
_unary("rsqrt Tensor.rsqrt", "rsqrt", POSITIVE)
_unary("nn.functional.sigmoid", "sigmoid")
_unary("nn.functional.silu", "silu")
_unary("nn.functional.log_sigmoid", "logsigmoid")
_unary("nn.functional.relu", "relu")
_unary("square Tensor.square", "square")
_unary("isnan Tensor.isnan", "isnan", among(np.nan))
_unary("Tensor.clone assign", "assign")
add("Tensor.__neg__", "scale", signature("x"), lambda a: -a.x)
add(
    "nn.functional.gelu",
    "gelu",
    signature("x", approximate=False, name=None),
    lambda a: catalogued("gelu", a.x, approximate=bool(a.approximate)),
)
add(
    "increment",
    "increment",
    signature("x", value=1.0, name=None),
    lambda a: np.asarray(value_of(a.x) + a.value, dtype=numpy_dtype(a.plan.x.dtype)),
    mutates="x",
)


def _cast_kernels(a: Arguments) -> list[Kernel]:
    return [kernel("cast", a.x.dtype)]


def _cast_dtype(a: Arguments) -> str:
    target = dtype_name(a.dtype, a.x.dtype)
    return target if is_float(target) or not is_float(a.x.dtype) else str(a.x.dtype)


def _cast(a: Arguments) -> Operand:
    return catalogued("cast", a.x, dtype=dtype_name(a.plan.dtype, a.plan.x.dtype))


def _own_dtype(a: Arguments) -> bool:
    """Paddle then returns the tensor itself."""
    return bool(dtype_name(a.dtype, a.x.dtype) == a.x.dtype)


def _cast_or_itself(a: Arguments) -> Operand:
    return move(lambda x: x, a.x) if _own_dtype(a.plan) else _cast(a)


_ZEROS = {"x": among(0.0)}
_CAST = signature("x", "dtype")
add("cast Tensor.cast", "cast", _CAST, _cast, kernels=_cast_kernels, fills=lambda _: _ZEROS, dtype=_cast_dtype)
add(
    "Tensor.astype",
    "cast",
    _CAST,
    _cast_or_itself,
    kernels=lambda a: [] if _own_dtype(a) else _cast_kernels(a),
    fills=lambda _: _ZEROS,
    dtype=_cast_dtype,
    view=_own_dtype,
)
