"""Linear layers with bias and activation in one kernel, the gathering of their gradients, bias with activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.unary import sigmoid
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

ALL = ("float32", "float16", "bfloat16")


def _turned(x: Operand, turn: bool = True) -> Operand:
    return b.move(lambda v: np.swapaxes(v, -1, -2), x) if turn else x


def _rows(x: Operand) -> Operand:
    """All axes but the last as one."""
    return b.move(lambda v: v.reshape(-1, v.shape[-1]), x)


def _argument(x: list[Operand], a: Attributes) -> Tracked:
    """op(x) op(y) + bias."""
    product = b.dot(_turned(x[0], a["trans_x"]), _turned(x[1], a["trans_y"]))
    return product + product.lift(x[2])


def _tanh_argument(v: Tracked) -> Tracked:
    return (v + 0.044715 * (v * v * v)) * math.sqrt(2 / math.pi)


def _activated(v: Tracked, activation: str) -> Operand:
    if activation == "relu":
        return b.maximum(v, 0.0)
    if activation == "gelu":  # the tanh approximation, as in Paddle's GPU kernel
        return v * 0.5 * (1.0 + b.tanh(_tanh_argument(v)))
    return v


def _slope(v: Tracked, activation: str) -> Operand:
    if activation == "relu":
        return Tracked((v.value > 0).astype(v.value.dtype), v.arithmetic)
    t = b.tanh(_tanh_argument(v))
    inner = (1.0 + 3 * 0.044715 * (v * v)) * math.sqrt(2 / math.pi)
    return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * inner


def _epilogue_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    activation = a["activation"]
    flow = d[0] if activation == "none" else d[0] * _slope(_argument(x, a).stored(), activation)
    left, right = _turned(x[0], a["trans_x"]), _turned(x[1], a["trans_y"])
    dx = b.dot(flow, _turned(right))
    dy = b.dot(_turned(_rows(left)), _rows(flow))
    return [_turned(dx, a["trans_x"]), _turned(dy, a["trans_y"]), b.total(_rows(flow), (0,))]


def _epilogue_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    # The public functions call legacy operators, which a CPU build does not have: fused_linear_activation to this day,
    # fused_matmul_bias in 3.0.
    return paddle._C_ops.fused_gemm_epilogue(t[0], t[1], t[2], a["trans_x"], a["trans_y"], a["activation"])[0]


def _layer(
    lead: Sequence[int],
    k: int,
    n: int,
    activation: str = "none",
    tx: bool = False,
    ty: bool = False,
    probe: bool = False,
) -> Description:
    regime = "integers" if probe else "normal"
    left = [k, *lead] if tx else [*lead, k]
    # With whole products and halves as bias, no argument is 0, where relu has no derivative.
    halves = tensor([n], "listed", values=[i % 9 - 3.5 for i in range(n)])
    bias = halves if activation == "relu" else tensor([n], regime)
    right = tensor([n, k] if ty else [k, n], regime)
    return describe(tensor(left, regime), right, bias, probe=probe, activation=activation, trans_x=tx, trans_y=ty)


@st.composite
def _layer_examples(draw: st.DrawFn) -> Description:
    activation = draw(st.sampled_from(["none", "none", "relu", "gelu"]))
    tx = draw(st.booleans())
    lead = [draw(st.integers(1, 17))] if tx else draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    n = 128 if activation == "relu" else draw(st.integers(1, 5)) * 8  # Paddle keeps relu's slopes as bits
    probe = activation == "relu" or (activation == "none" and draw(st.booleans()))
    return _layer(lead, draw(st.integers(1, 5)) * 8, n, activation, tx, draw(st.booleans()), probe)


register(
    OperatorSpec(
        name="fused_gemm_epilogue",
        call=_epilogue_call,
        oracle=lambda x, a: [_activated(_argument(x, a), a["activation"])],
        gradient=_epilogue_gradient,
        kind=Kind.GEMM,
        examples=lambda dtype: _layer_examples(),
        corners=lambda dtype: [
            _layer((16,), 32, 24, probe=True),
            _layer((2, 5), 64, 48),
            _layer((8,), 16, 128, "relu", probe=True),
            _layer((3, 4), 40, 56, "gelu", ty=True),
            _layer((7,), 128, 128, "relu", tx=True, ty=True, probe=True),
            _layer((2, 16), 128, 352),
        ],
        left_out={
            "wide_range": "arguments of 2^80 overflow when gelu's formula squares them, in the libraries of GPUs too"
        },
        dtypes=(),
        offered=ALL,
        aliases=("paddle.incubate.nn.functional.fused_linear", "paddle.incubate.nn.functional.fused_matmul_bias"),
    )
)


def _gathered(x: list[Operand], a: Attributes) -> list[Operand]:
    rows, flow = _rows(x[0]), _rows(x[1])
    return [b.dot(_turned(rows), flow) + x[2], b.total(flow, (0,)) + x[3]]


def _gathered_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    return paddle._C_ops.fused_linear_param_grad_add(t[0], t[1], t[2], t[3], False, True)


def _parameters(lead: Sequence[int], k: int, n: int, probe: bool = False) -> Description:
    regime = "integers" if probe else "normal"
    return describe(*[tensor(shape, regime) for shape in ([*lead, k], [*lead, n], [k, n], [n])], probe=probe)


register(
    OperatorSpec(
        name="fused_linear_param_grad_add",
        call=_gathered_call,
        oracle=_gathered,
        kind=Kind.GEMM,
        examples=lambda dtype: st.builds(
            _parameters,
            st.lists(st.integers(1, 9), min_size=1, max_size=2),
            st.integers(1, 33),
            st.integers(1, 33),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _parameters((17,), 5, 7, probe=True),
            _parameters((2, 16), 32, 24),
            _parameters((1,), 1, 1),
            _parameters((4, 64), 128, 96),
        ],
        dtypes=(),
        offered=ALL,
        aliases=("paddle.distributed.fleet.meta_parallel.ColumnParallelLinear",),
    )
)


def _bias_act(x: list[Operand], a: Attributes) -> list[Operand]:
    v, method = x[0] + x[1], a["act_method"]
    if method == "relu":
        return [b.maximum(v, 0.0)]
    half = v.shape[-1] // 2
    gate = v[..., :half] if method in ("geglu", "swiglu") else v
    if method == "swiglu":
        return [gate * sigmoid(gate) * v[..., half:]]
    result = gate * 0.5 * (1.0 + b.erf(gate * math.sqrt(0.5)))
    return [result * v[..., half:] if method == "geglu" else result]


def _activation(shape: Sequence[int], method: str) -> Description:
    return describe(tensor(shape), tensor([shape[-1]]), act_method=method)


METHODS = ("gelu", "relu", "geglu", "swiglu")

register(
    OperatorSpec(
        name="fused_bias_act",
        call=lambda paddle, t, a: paddle.incubate.nn.functional.fused_bias_act(t[0], t[1], act_method=a["act_method"]),
        oracle=_bias_act,
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            lambda lead, half, method: _activation([*lead, 2 * half], method),
            st.lists(st.integers(1, 9), min_size=1, max_size=2),
            st.integers(1, 33),
            st.sampled_from(METHODS),
        ),
        corners=lambda dtype: [
            *[_activation((3, 10), method) for method in METHODS],
            _activation((2, 16, 128), "swiglu"),
            _activation((64, 352), "gelu"),
        ],
        dtypes=(),
        offered=ALL,
        aliases=("paddle.incubate.nn.functional.fused_bias_act",),
    )
)
