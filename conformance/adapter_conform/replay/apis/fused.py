"""Fused operators of language models: normalised sums, activations with bias, quantized weights, padded sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform import catalogue
from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.attention import attention
from adapter_conform.catalogue.bounds import Operand, Tracked, move, value_of
from adapter_conform.catalogue.spec import kernel
from adapter_conform.releases import weight_dequantize
from adapter_conform.replay.apis.linear import one_float
from adapter_conform.replay.apis.table import Arguments, Refusal, add, catalogued, shape_of, signature
from adapter_conform.replay.inputs import Fill, index
from adapter_conform.replay.syntax import TensorArg, Value

__all__: list[str] = []

ARCH = 80
"""See :data:`adapter_conform.catalogue.quantized.ARCH`: Paddle wants the model of a card of its own list."""


def _sum(a: Arguments, alpha: float) -> Tracked:
    """What is normalised. As in Paddle's GPU kernels, a bias counts only beside a residual."""
    total: Tracked = a.x
    if a.residual is None:
        return total
    if a.bias is not None:
        total = total + a.bias
    residual: Tracked = a.residual.reshape(*a.x.shape)  # the same elements in other axes will do
    return total + (residual if alpha == 1 else residual * float(np.float32(alpha)))


def _normalised(x: Tracked, a: Arguments, centred: bool) -> Tracked:
    """Over the axes from ``begin_norm_axis`` on, taken as one."""
    first = int(a.begin_norm_axis)
    rows = x.reshape(int(np.prod(x.shape[:first], dtype=np.int64)), -1)
    apart = rows - bounds.mean(rows, (-1,), True) if centred else rows
    spread = bounds.inverse_root(bounds.mean(apart * apart, (-1,), True) + float(np.float32(a.epsilon)))
    result = apart * spread
    result = result if a.norm_weight is None else result * a.norm_weight.reshape(1, -1)
    result = result if a.norm_bias is None else result + a.norm_bias.reshape(1, -1)
    return result.reshape(*x.shape)


def _quantized(y: Tracked, a: Arguments) -> Tracked:
    """The integers as real numbers: half a step for rounding them, and the error of the numbers they stand for."""
    factor = float(np.float32(a.quant_max_bound) * np.float32(a.quant_scale))
    carried = y.stored().error
    error = 0.5 * (1 + 2.0**-16) + factor * (np.zeros(y.shape) if carried is None else carried)
    return Tracked(np.clip(y.value * factor, a.quant_min_bound, a.quant_max_bound), y.arithmetic, error)


def _norm_results(y: Tracked, total: Tracked, a: Arguments) -> list[Operand]:
    results: list[Operand] = [y if a.quant_scale <= 0 else _quantized(y, a)]
    return results if a.residual is None else [*results, total]


def _norm_called(function: Any, args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    """Result and stored sum; a result of integers as numbers of x's dtype, which has them all."""
    result = function(*args, **kwargs)
    out = result[0]
    if a.quant_scale > 0:
        if "int8" not in str(out.dtype):
            raise TypeError(f"a quantized result of dtype {out.dtype}, not int8")
        out = out.astype(a.x.dtype)
    return [out] if a.residual is None else [out, result[1]]


def _fitting(a: Arguments) -> dict[str, Fill]:
    width = int(np.prod(shape_of(a.x)[int(a.begin_norm_axis) :], dtype=np.int64))
    if any(v is not None and shape_of(v) != (width,) for v in (a.norm_weight, a.norm_bias)):
        raise Refusal("normalisation with a weight that does not span the normalised axes")
    return {}


_QUANT = {"quant_scale": -1, "quant_round_type": 0, "quant_max_bound": 0, "quant_min_bound": 0}

add(
    "incubate.nn.functional.fused_rms_norm",
    "fused_rms_norm_quant",
    signature("x", "norm_weight", "norm_bias", "epsilon", "begin_norm_axis", bias=None, residual=None, **_QUANT),
    lambda a: _norm_results(_normalised(_sum(a, 1.0), a, False), _sum(a, 1.0), a),
    kernels="fused_rms_norm_quant|rms_norm",
    fills=_fitting,
    call=_norm_called,
)


def _same_rows(a: Arguments) -> dict[str, Fill]:
    if a.residual is not None and shape_of(a.residual) != shape_of(a.x):
        raise Refusal("fused_layer_norm with a residual of another shape, which Paddle refuses")
    return _fitting(a)


def _layer_norm(a: Arguments) -> list[Operand]:
    """Without weight and bias of the normalisation, but with a residual, the sum itself."""
    total = _sum(a, a.residual_alpha)
    plain = a.residual is not None and a.norm_weight is None and a.norm_bias is None
    return _norm_results(total if plain else _normalised(total, a, True), total, a)


add(
    "incubate.nn.functional.fused_layer_norm",
    "fused_bias_residual_layernorm",
    signature(
        "x",
        "norm_weight",
        "norm_bias",
        "epsilon",
        residual_alpha=1.0,
        begin_norm_axis=1,
        bias=None,
        residual=None,
        **_QUANT,
    ),
    _layer_norm,
    fills=_same_rows,
    call=_norm_called,
)


def _plain_activation(a: Arguments) -> dict[str, Fill]:
    if a.dequant_scales is not None or a.shift is not None or a.smooth is not None or a.quant_scale > 0:
        raise Refusal("fused_bias_act of quantized numbers")
    if a.act_method not in ("gelu", "relu", "geglu", "swiglu"):
        raise Refusal(f"fused_bias_act with activation {a.act_method!r}")
    return {}


def _activated(a: Arguments) -> Operand:
    bias = Tracked(np.zeros(a.x.shape[-1]), a.x.arithmetic) if a.bias is None else a.bias
    return catalogued("fused_bias_act", a.x, bias, act_method=a.act_method)


add(
    "incubate.nn.functional.fused_bias_act",
    "fused_bias_act",
    signature(
        "x",
        bias=None,
        dequant_scales=None,
        shift=None,
        smooth=None,
        act_method="gelu",
        compute_dtype="default",
        **_QUANT,
    ),
    _activated,
    fills=_plain_activation,
)


def _fused_linear(a: Arguments) -> Operand:
    weight = move(lambda w: np.swapaxes(w, -1, -2), a.weight) if a.transpose_weight else a.weight
    product = bounds.dot(a.x, weight)
    return product if a.bias is None else product + a.bias


add(
    "incubate.nn.functional.fused_linear",
    "fused_gemm_epilogue",
    signature("x", "weight", bias=None, transpose_weight=False, name=None),
    _fused_linear,
    kernels=lambda a: [kernel("matmul" if a.bias is None else "fused_gemm_epilogue", one_float(a))],
    dtype=one_float,
)


# ---- quantized weights: a device lays them out as it likes, so they are always made on the device itself ------------


def _round_trip(function: Any, args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    import paddle

    numbers, scale = function(a.x, a.algo, ARCH, a.group_size)
    return [weight_dequantize(paddle, numbers, scale, a.algo, a.group_size), scale]


def _quantize_fills(a: Arguments) -> dict[str, Fill]:
    if a.algo not in ("weight_only_int8", "weight_only_int4"):
        raise Refusal(f"weight_quantize by algorithm {a.algo}")
    return {}


add(
    "nn.quant.weight_quantize",
    "weight_quantize",
    signature("x", algo="weight_only_int8", arch=None, group_size=-1),
    lambda a: catalogue.get("weight_quantize").oracle([a.x], {"algo": a.algo, "group_size": a.group_size}),
    kernels=lambda a: [kernel("weight_quantize", a.x.dtype), kernel("weight_dequantize", a.x.dtype)],
    fills=_quantize_fills,
    call=_round_trip,
)


def _weight_stand_in(a: Arguments) -> dict[str, Value]:
    """In place of the stored integers [n, k] and their scales the weight [k, n] that they are made of."""
    if a.weight_dtype != "int8" or a.group_size != -1:
        raise Refusal("weight_only_linear with a weight in int4, or with scales by groups")
    n, k = shape_of(a.weight)
    return {"weight": TensorArg((k, n), a.x.dtype), "weight_scale": None}


def _weight_only_called(function: Any, args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    import paddle

    numbers, scale = paddle.nn.quant.weight_quantize(a.weight, "weight_only_int8", ARCH, -1)
    if list(numbers.shape) != list(a.plan.weight.shape):
        raise ValueError(f"weight_quantize gives shape {numbers.shape}, the recorded weight has {a.plan.weight.shape}")
    return function(a.x, numbers, a.bias, scale, "int8", ARCH, -1)


def _weight_only(a: Arguments) -> Operand:
    operands = [a.x, a.weight] if a.bias is None else [a.x, a.weight, a.bias]
    return catalogued("weight_only_linear", *operands)


add(
    "nn.quant.weight_only_linear",
    "weight_only_linear",
    signature("x", "weight", bias=None, weight_scale=None, weight_dtype="int8", arch=None, group_size=-1),
    _weight_only,
    fills=lambda _: {"weight": Fill("grid")},
    also=lambda a: [kernel("weight_quantize", a.x.dtype)],
    stand_in=_weight_stand_in,
    call=_weight_only_called,
)


# ---- padded sequences -----------------------------------------------------------------------------------------------


def _padded_fills(a: Arguments) -> dict[str, Fill]:
    return {
        "seq_lens": index(shape_of(a.query)[2] + 1, low=1),
        "kv_seq_lens": index(shape_of(a.key)[2] + 1, low=1),
        "mask": Fill("any"),
    }


def _padded_called(function: Any, args: list[Any], kwargs: dict[str, Any], a: Arguments) -> Any:
    """Only rows within each sequence: what stands in the others is nobody's business."""
    out = function(*args, **kwargs)
    return [out[i, :, : int(m)] for i, m in enumerate(a.seq_lens.numpy().reshape(-1))]


def _padded(a: Arguments) -> list[Operand]:
    scale = a.query.shape[-1] ** -0.5 if a.scale is None else a.scale
    results: list[Operand] = []
    lengths = zip(value_of(a.seq_lens).reshape(-1), value_of(a.kv_seq_lens).reshape(-1), strict=True)
    for i, (m, n) in enumerate(lengths):
        parts = (a.query[i : i + 1, :, :m], a.key[i : i + 1, :, :n], a.value[i : i + 1, :, :n])
        q, k, v = (move(lambda part: np.swapaxes(part, 1, 2), part) for part in parts)
        added = None if a.mask is None else a.mask[i : i + 1, :, :m, :n]
        allowed = np.tri(m, n, dtype=bool) if a.causal else np.ones((1, 1), bool)
        result = attention(q, k, v, float(np.float32(scale)), allowed, added)
        results.append(move(lambda x: np.swapaxes(x[0], 0, 1), result))
    return results


def _no_pre_cache(a: Arguments) -> str:
    if a.pre_cache_length:
        raise Refusal("attention with a pre-cache")
    return str(a.query.dtype)


add(
    "incubate.nn.functional.variable_length_memory_efficient_attention",
    "variable_length_memory_efficient_attention",
    signature(
        "query", "key", "value", "seq_lens", "kv_seq_lens", mask=None, scale=None, causal=False, pre_cache_length=0
    ),
    _padded,
    fills=_padded_fills,
    dtype=_no_pre_cache,
    call=_padded_called,
)
