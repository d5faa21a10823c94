"""Fused operators that work row by row: normalisations of a sum, rotary embedding, masked softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked
from adapter_conform.catalogue.reduction import softmax_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec, kernel
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

_OFFERED = ("float32", "float16", "bfloat16")
_LAST = (-1,)


def _epsilon(a: Attributes) -> float:
    """The kernels take it as a C float, whatever the dtype of their tensors."""
    return float(np.float32(a["epsilon"]))


def _normal(x: Tracked, a: Attributes, centred: bool) -> tuple[Tracked, Tracked]:
    """The normalised last axis, and what it was multiplied by."""
    apart = x - b.mean(x, _LAST, True) if centred else x
    spread = b.inverse_root(b.mean(apart * apart, _LAST, True) + _epsilon(a))
    return apart * spread, spread


def _rms_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    normal, spread = _normal(x[0], a, False)
    lead = tuple(range(x[0].ndim - 1))
    flow = d[0] * x[1]
    inner = flow - normal * b.mean(flow * normal, _LAST, True)
    gradients = [spread * inner, b.total(d[0] * normal, lead)]
    return gradients if len(x) == 2 else [*gradients, b.total(d[0], lead)]


def _rows(shape: Sequence[int], parameters: int, parameter_dtype: str | None = None, sums: bool = False) -> Description:
    side = [shape[-1]]
    operands = [tensor(shape), tensor(side)] if sums else []
    own = [tensor(side, "near_one", parameter_dtype) for _ in range(parameters)]
    return describe(tensor(shape), *operands, *own, epsilon=1e-5)


def _shapes() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(2, 17), min_size=2, max_size=3)


_CORNERS = ((3, 7), (2, 5, 16), (1, 33), (4, 32, 128))

register(
    OperatorSpec(
        name="fused_rms_norm_quant",
        call=lambda paddle, t, a: paddle.incubate.nn.functional.fused_rms_norm(
            t[0], t[1], t[2], a["epsilon"], len(t[0].shape) - 1
        )[0],
        oracle=lambda x, a: [_normal(x[0], a, False)[0] * x[1] + x[2]],
        gradient=_rms_gradient,
        kernels=lambda a, dtype: [kernel("fused_rms_norm_quant|rms_norm", dtype)],
        grad_kernels=lambda a, dtype: [kernel("fused_rms_norm_quant_grad|rms_norm_grad", dtype)],
        kind=Kind.NORM,
        examples=lambda dtype: st.builds(lambda shape: _rows(shape, 2), _shapes()),
        corners=lambda dtype: [_rows(shape, 2) for shape in _CORNERS],
        dtypes=(),
        offered=_OFFERED,
        aliases=("paddle.incubate.nn.functional.fused_rms_norm",),
    )
)

register(
    OperatorSpec(
        name="fused_rms_norm_ext",
        call=lambda paddle, t, a: paddle.incubate.nn.functional.fused_rms_norm_ext(t[0], t[1], a["epsilon"])[0],
        oracle=lambda x, a: [_normal(x[0], a, False)[0] * x[1]],
        gradient=_rms_gradient,
        kind=Kind.NORM,
        examples=lambda dtype: st.builds(lambda shape: _rows(shape, 1), _shapes()),
        corners=lambda dtype: [_rows(shape, 1) for shape in _CORNERS],
        dtypes=(),
        offered=_OFFERED,
        aliases=("paddle.incubate.nn.functional.fused_rms_norm_ext",),
    )
)


def _sum_and_norm(x: list[Operand], a: Attributes) -> list[Operand]:
    """Inputs: x, bias, residual, weight and shift of the normalisation."""
    total = x[0] + x[1] + x[2] * float(a["alpha"])
    return [_normal(total, a, True)[0] * x[3] + x[4], total]


def _sum_norm_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    result = paddle.incubate.nn.functional.fused_layer_norm(
        t[0], t[3], t[4], a["epsilon"], a["alpha"], len(t[0].shape) - 1, bias=t[1], residual=t[2]
    )
    return list(result[:2])


def _sum_norm(shape: Sequence[int]) -> Description:
    side = [shape[-1]]
    weights = [tensor(side, "near_one", "float32") for _ in range(2)]  # float32 whatever x is, as on a GPU
    return describe(tensor(shape), tensor(side), tensor(shape), *weights, epsilon=1e-5, alpha=0.5)


register(
    OperatorSpec(
        name="fused_bias_residual_layernorm",
        call=_sum_norm_call,
        oracle=_sum_and_norm,
        kind=Kind.NORM,
        examples=lambda dtype: st.builds(_sum_norm, _shapes()),
        corners=lambda dtype: [_sum_norm(shape) for shape in _CORNERS],
        dtypes=(),
        offered=_OFFERED,
        aliases=("paddle.incubate.nn.functional.fused_layer_norm",),
    )
)


def _partner(neighbours: bool) -> Any:
    """Swaps the two elements of each pair: neighbours, or the halves of a head."""

    def swap(values: Array) -> Array:
        if neighbours:
            return np.asarray(values.reshape(*values.shape[:-1], -1, 2)[..., ::-1]).reshape(values.shape)
        return np.roll(values, values.shape[-1] // 2, -1)

    return swap


def _sign(dim: int, neighbours: bool) -> Array:
    """-1 for the first element of each pair, 1 for the second."""
    places = np.arange(dim)
    second = places % 2 == 1 if neighbours else places >= dim // 2
    return np.where(second, 1.0, -1.0)


def _turned(x: Tracked, sin: Tracked, cos: Tracked, a: Attributes) -> Tracked:
    """x cos + (its partner with a sign) sin."""
    result: Tracked = x * cos + b.move(_partner(a["neighbours"]), x) * (sin * _sign(x.shape[-1], a["neighbours"]))
    return result


def _turned_back(d: Tracked, sin: Tracked, cos: Tracked, a: Attributes) -> Tracked:
    """The adjoint of :func:`_turned`."""
    result: Tracked = d * cos + b.move(_partner(a["neighbours"]), d * (sin * _sign(d.shape[-1], a["neighbours"])))
    return result


def _rope(batch: int, length: int, heads: int, key_heads: int, half: int, neighbours: bool) -> Description:
    dim = 2 * half
    table = [tensor([1, length, 1, dim], "unit") for _ in range(2)]
    return describe(
        tensor([batch, length, heads, dim]), tensor([batch, length, key_heads, dim]), *table, neighbours=neighbours
    )


register(
    OperatorSpec(
        name="fused_rotary_position_embedding",
        call=lambda paddle, t, a: list(
            paddle.incubate.nn.functional.fused_rotary_position_embedding(
                t[0], t[1], None, sin=t[2], cos=t[3], use_neox_rotary_style=a["neighbours"]
            )[:2]
        ),
        oracle=lambda x, a: [_turned(x[i], x[2], x[3], a) for i in range(2)],
        gradient=lambda x, out, d, a: [*[_turned_back(d[i], x[2], x[3], a) for i in range(2)], None, None],
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            _rope,
            st.integers(1, 3),
            st.integers(1, 9),
            st.integers(1, 4),
            st.integers(1, 4),
            st.integers(1, 8),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _rope(2, 5, 4, 4, 4, True),
            _rope(2, 5, 4, 2, 4, False),
            _rope(1, 1, 1, 1, 1, True),
            _rope(1, 33, 8, 1, 32, False),
        ],
        dtypes=(),
        offered=("float32", "float64", "float16", "bfloat16"),
        aliases=("paddle.incubate.nn.functional.fused_rotary_position_embedding",),
    )
)


def _softmax_gradient(y: Tracked, d: Tracked) -> Tracked:
    result: Tracked = y * (d - b.total(d * y, _LAST, True))
    return result


def _scores(batch: int, heads: int, rows: int, length: int) -> Description:
    return describe(tensor([batch, heads, rows, length]), tensor([batch, 1, rows, length]))


SOFTMAX_LEFT_OUT = {
    "wide_range": "scores of 2^40 plus a mask are rounded by more than 1: their softmax is not determined",
    "special": "what masked places hold in a row with NaN is nowhere said",
}


register(
    OperatorSpec(
        name="fused_softmax_mask",
        call=lambda paddle, t, a: paddle.incubate.softmax_mask_fuse(t[0], t[1]),
        oracle=lambda x, a: [softmax_of(x[0] + x[1], -1)],
        gradient=lambda x, out, d, a: [_softmax_gradient(out[0], d[0]), None],
        kind=Kind.REDUCTION,
        left_out=SOFTMAX_LEFT_OUT,
        examples=lambda dtype: st.builds(
            _scores, st.integers(1, 3), st.integers(1, 3), st.integers(1, 8), st.integers(32, 70)
        ),
        corners=lambda dtype: [_scores(2, 3, 4, 32), _scores(1, 1, 8, 37), _scores(1, 2, 16, 256)],
        dtypes=(),
        offered=_OFFERED,
        aliases=("paddle.incubate.softmax_mask_fuse",),
    )
)


def _below(x: Tracked) -> Tracked:
    """Softmax of each row up to the diagonal."""
    seen = np.tril(np.ones((x.shape[-2], x.shape[-1]), dtype=bool))
    return softmax_of(Tracked(np.where(seen, x.value, -np.inf), x.arithmetic), -1)


register(
    OperatorSpec(
        name="fused_softmax_mask_upper_triangle",
        call=lambda paddle, t, a: paddle.incubate.softmax_mask_fuse_upper_triangle(t[0]),
        oracle=lambda x, a: [_below(x[0])],
        gradient=lambda x, out, d, a: [_softmax_gradient(out[0], d[0])],
        kind=Kind.REDUCTION,
        left_out=SOFTMAX_LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda batch, heads, length: describe(tensor([batch, heads, length, length])),
            st.integers(1, 2),
            st.integers(1, 3),
            st.integers(32, 50),
        ),
        corners=lambda dtype: [
            describe(tensor([2, 2, 32, 32])),
            describe(tensor([1, 1, 37, 37])),
            describe(tensor([1, 2, 64, 64])),
        ],
        dtypes=(),
        offered=_OFFERED,
        aliases=("paddle.incubate.softmax_mask_fuse_upper_triangle",),
    )
)
