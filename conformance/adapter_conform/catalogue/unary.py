"""Elementwise functions of one tensor, casts and copies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked, value_of
from adapter_conform.catalogue.draw import unary, unary_corners
from adapter_conform.catalogue.precision import is_float, numpy_dtype
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Kernel, Kind, OperatorSpec

__all__ = ["EXP_LEFT_OUT", "sigmoid"]


def _pointwise(
    name: str,
    api: str,
    oracle: Callable[[Any], Operand],
    gradient: Callable[[Any, Any, Any], Operand] | None,
    regimes: Sequence[str] = ("normal",),
    kind: Kind = Kind.ELEMENTWISE,
    **extra: Any,
) -> None:
    """Registers ``api``, a function of one tensor; ``gradient(x, out, dout)``."""

    def call(paddle: Any, tensors: Sequence[Any], _: Attributes) -> Any:
        target = paddle
        for part in api.split("."):
            target = getattr(target, part)
        return target(tensors[0])

    register(
        OperatorSpec(
            name=name,
            call=call,
            oracle=lambda x, a: [oracle(x[0])],
            gradient=None if gradient is None else (lambda x, out, d, a: [gradient(x[0], out[0], d[0])]),
            kind=kind,
            examples=unary(regimes),
            corners=unary_corners(regimes),
            aliases=(f"paddle.{api}", f"paddle.Tensor.{api.rsplit('.', 1)[-1]}"),
            **extra,
        )
    )


def _sign_times(x: Tracked, d: Tracked) -> Operand:
    return b.move(lambda a: a * np.sign(x.value), d)


def sigmoid(x: Tracked) -> Tracked:
    """1 / (1 + exp(-x)), for negative x as exp(x) / (1 + exp(x)), which does not overflow."""
    small = b.exp(-b.magnitude(x))
    return b.select(x.value < 0, small / (1.0 + small), 1.0 / (1.0 + small))  # type: ignore[no-any-return]


def _silu_gradient(x: Tracked, d: Tracked) -> Operand:
    s = sigmoid(x)
    return d * (s * (1.0 + x * (1.0 - s)))


def _log_sigmoid(x: Tracked) -> Operand:
    """min(x, 0) - log(1 + exp(-|x|)), which does not overflow; near 0 it is known to one unit of the 1 in it."""
    return b.minimum(x, 0.0) - b.log(1.0 + b.exp(-b.magnitude(x)))


def _relu(x: Operand) -> Operand:
    return b.maximum(x, 0.0 if isinstance(x, Tracked) else np.zeros((), x.dtype))


def _none(d: Operand) -> Operand:
    """The gradient of steps: zero everywhere."""
    return b.move(np.zeros_like, d)


_PEAK = 2 / math.sqrt(math.pi)

SPECIAL = ("normal", "special")
HALVES = ("float16", "bfloat16")
"""For functions whose oracle is the C library's in double precision."""

_pointwise(
    "abs",
    "abs",
    b.magnitude,
    lambda x, y, d: _sign_times(x, d),
    SPECIAL,
    Kind.EXACT,
    dtypes=("float32", "int32", "int64"),
)
EXP_LEFT_OUT = {"cancel": "exponentials of large numbers of either sign are infinite or zero, and prove nothing"}

_pointwise("exp", "exp", b.exp, lambda x, y, d: d * y, ("unit", "normal"), left_out=EXP_LEFT_OUT)
_pointwise("log", "log", b.log, lambda x, y, d: d / x, ("positive",))
_pointwise("sqrt", "sqrt", b.root, lambda x, y, d: d * 0.5 / y, ("positive",))
_pointwise("rsqrt", "rsqrt", b.inverse_root, lambda x, y, d: d * -0.5 * y * y * y, ("positive",))
_pointwise("square", "square", lambda x: x * x, lambda x, y, d: d * 2.0 * x, ("normal",))
_pointwise("sin", "sin", b.sin, lambda x, y, d: d * b.cos(x), ("unit", "normal"))
_pointwise("cos", "cos", b.cos, lambda x, y, d: -(d * b.sin(x)), ("unit", "normal"))
_pointwise("atan", "atan", b.arctan, lambda x, y, d: d / (1.0 + x * x), ("unit", "normal"))
_pointwise("tanh", "tanh", b.tanh, lambda x, y, d: d * (1.0 - y * y), ("unit", "normal"))
_pointwise("sigmoid", "nn.functional.sigmoid", sigmoid, lambda x, y, d: d * y * (1.0 - y), ("normal",))
_pointwise("silu", "nn.functional.silu", lambda x: x * sigmoid(x), lambda x, y, d: _silu_gradient(x, d), ("normal",))
_pointwise("logsigmoid", "nn.functional.log_sigmoid", _log_sigmoid, lambda x, y, d: d * sigmoid(-x), ("normal",))
_pointwise(
    "relu",
    "nn.functional.relu",
    _relu,
    lambda x, y, d: b.move(lambda a: np.where(y.value > 0, a, 0.0), d),
    ("normal",),
    Kind.EXACT,
    left_out={"special": "Paddle's own kernels turn NaN into 0, other libraries keep it"},
)
_pointwise("floor", "floor", lambda x: b.move(np.floor, x), lambda x, y, d: _none(d), SPECIAL, Kind.EXACT)
_pointwise("ceil", "ceil", lambda x: b.move(np.ceil, x), lambda x, y, d: _none(d), SPECIAL, Kind.EXACT)
_pointwise("erf", "erf", b.erf, lambda x, y, d: d * (_PEAK * b.exp(-(x * x))), ("unit", "normal"), offered=HALVES)
_pointwise("reciprocal", "reciprocal", lambda x: 1.0 / x, lambda x, y, d: -(d * y * y), ("nonzero",))
_pointwise("isnan", "isnan", lambda x: np.isnan(value_of(x)), None, SPECIAL, Kind.EXACT, dtypes=("float32", "int32"))
_pointwise("isinf", "isinf", lambda x: np.isinf(value_of(x)), None, SPECIAL, Kind.EXACT, dtypes=("float32", "int32"))
_pointwise(
    "isfinite", "isfinite", lambda x: np.isfinite(value_of(x)), None, SPECIAL, Kind.EXACT, dtypes=("float32", "int32")
)


_SLOPES = (0.01171875, 0.25)
"""Exact in float32, as which Paddle before 3.3 hands them over, whatever the kernel's dtype."""


def _leaky(x: list[Operand], a: Attributes) -> list[Operand]:
    return [b.select(x[0].value < 0, x[0] * float(a["slope"]), x[0])]


register(
    OperatorSpec(
        name="leaky_relu",
        call=lambda paddle, t, a: paddle.nn.functional.leaky_relu(t[0], a["slope"]),
        oracle=_leaky,
        gradient=lambda x, out, d, a: [b.select(x[0].value < 0, d[0] * float(a["slope"]), d[0])],
        kind=Kind.ELEMENTWISE,
        examples=unary(("normal",), st.fixed_dictionaries({"slope": st.sampled_from(_SLOPES)})),
        corners=unary_corners(("normal",), [{"slope": slope} for slope in _SLOPES]),
        left_out={
            "zeros": "the slope at 0 is either, as libraries differ",
            "ties": "the slope at 0 is either, as libraries differ",
        },
        aliases=("paddle.nn.functional.leaky_relu",),
    )
)


def _gelu(x: list[Operand], a: Attributes) -> list[Operand]:
    if a["approximate"]:
        u = _gelu_argument(x[0])
        return [b.either(x[0] * 0.5 * (1.0 + b.tanh(u)), x[0] * sigmoid(2.0 * u))]
    return [x[0] * 0.5 * (1.0 + b.erf(x[0] * math.sqrt(0.5)))]


def _gelu_argument(x: Tracked) -> Tracked:
    """u of (1 + tanh(u)) / 2, which is the logistic function of 2u: kernels go either way, and neither is wrong."""
    return (x + 0.044715 * (x * x * x)) * math.sqrt(2 / math.pi)


def _gelu_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    v = x[0]
    if a["approximate"]:
        u = _gelu_argument(v)
        t, s = b.tanh(u), sigmoid(2.0 * u)
        inner = (1.0 + 3 * 0.044715 * (v * v)) * math.sqrt(2 / math.pi)
        by_tanh = 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * inner
        by_logistic = s * (1.0 + v * sigmoid(-2.0 * u) * (2.0 * inner))
        return [d[0] * b.either(by_tanh, by_logistic)]
    density = b.exp(v * v * -0.5) * (1 / math.sqrt(2 * math.pi))
    return [d[0] * (0.5 * (1.0 + b.erf(v * math.sqrt(0.5))) + v * density)]


register(
    OperatorSpec(
        name="gelu",
        call=lambda paddle, t, a: paddle.nn.functional.gelu(t[0], approximate=a["approximate"]),
        oracle=_gelu,
        gradient=_gelu_gradient,
        kind=Kind.ELEMENTWISE,
        examples=unary(("normal", "unit"), st.fixed_dictionaries({"approximate": st.booleans()})),
        corners=unary_corners(("unit", "normal"), [{"approximate": False}, {"approximate": True}]),
        offered=("float16", "bfloat16"),
        aliases=("paddle.nn.functional.gelu",),
    )
)


def _cast(x: list[Operand], a: Attributes) -> list[Operand]:
    """C conversion rules: to bool by comparison with zero, to integers by truncation, to floats by rounding."""
    value, target = value_of(x[0]), a["dtype"]
    if target == "bool":
        return [value != 0]
    if not is_float(target):
        return [np.trunc(value).astype(target) if value.dtype.kind == "f" else value.astype(target)]
    with np.errstate(over="ignore"):
        if target in ("float16", "bfloat16"):  # Paddle's half types convert every other type through float
            value = value.astype(np.float32)
        return [value.astype(numpy_dtype(target))]


CASTS = ("float32", "int32", "int64", "bool", "float64")


def _cast_targets(dtype: str) -> list[str]:
    return [target for target in CASTS if target != dtype]


register(
    OperatorSpec(
        name="cast",
        call=lambda paddle, t, a: paddle.cast(t[0], a["dtype"]),
        oracle=_cast,
        gradient=lambda x, out, d, a: [None if d[0] is None else d[0]],
        kernels=lambda a, dtype: [Kernel(("cast",), dtype)] if a["dtype"] != dtype else [],
        grad_kernels=lambda a, dtype: [Kernel(("cast_grad", "cast"), a["dtype"])],
        result_dtypes=lambda a, dtype: [a["dtype"]],
        kind=Kind.EXACT,
        examples=lambda dtype: unary(
            ("normal",), st.fixed_dictionaries({"dtype": st.sampled_from(_cast_targets(dtype))})
        )(dtype),
        corners=lambda dtype: unary_corners(("normal",), [{"dtype": name} for name in _cast_targets(dtype)])(dtype),
        dtypes=("float32", "int32", "int64", "bool"),
        aliases=("paddle.cast", "paddle.Tensor.cast", "paddle.Tensor.astype"),
    )
)

register(
    OperatorSpec(
        name="assign",
        static_kernels=lambda a, dtype: [Kernel(("assign_raw",), dtype)],
        call=lambda paddle, t, a: paddle.assign(t[0]),
        oracle=lambda x, a: [x[0]],
        gradient=lambda x, out, d, a: [d[0]],
        grad_kernels=lambda a, dtype: [],
        kind=Kind.EXACT,
        examples=unary(SPECIAL),
        corners=unary_corners(SPECIAL),
        dtypes=("float32", "int64", "bool"),
        aliases=("paddle.assign", "paddle.clone", "paddle.Tensor.clone"),
    )
)


def _clip_bounds(a: Attributes) -> tuple[float, float]:
    return float(a["min"]), float(a["max"])


def _call_clip(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    low, high = _clip_bounds(a)
    if "int" in str(tensors[0].dtype):  # float limits would promote whole numbers to float32
        return paddle.clip(tensors[0], int(low), int(high))
    return paddle.clip(tensors[0], low, high)


def _clip(x: list[Operand], a: Attributes) -> list[Operand]:
    low, high = _clip_bounds(a)
    if isinstance(x[0], Tracked):
        return [b.minimum(b.maximum(x[0], low), high)]
    return [np.clip(x[0], int(low), int(high)).astype(x[0].dtype)]


def _clip_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    """Paddle lets the gradient through between the limits and on them."""
    low, high = _clip_bounds(a)
    inside = (x[0].value >= low) & (x[0].value <= high)
    return [b.move(lambda g: np.where(inside, g, 0.0), d[0])]


register(
    OperatorSpec(
        name="clip",
        call=_call_clip,
        oracle=_clip,
        gradient=_clip_gradient,
        kind=Kind.EXACT,
        examples=unary(
            ("normal",),
            st.fixed_dictionaries({"min": st.sampled_from([-1.0, -3.0]), "max": st.sampled_from([1.0, 4.0])}),
        ),
        corners=unary_corners(("normal",), [{"min": -1.0, "max": 1.0}, {"min": 0.0, "max": 2.0}]),
        dtypes=("float32", "int64"),
        aliases=("paddle.clip",),
    )
)
