"""Small integers: scales, nibbles, groups, accumulators."""

from __future__ import annotations

import numpy as np

from adapter_faults.call import Call
from adapter_faults.table import after

__all__: list[str] = []


@after("fake_channel_wise_quantize_dequantize_abs_max/float32", sees="bound")
def scale_of_the_tensor(call: Call) -> None:
    """One scale for the whole tensor where each channel has its own."""
    x = call.inputs[0].astype(np.float64)
    step = np.abs(x).max(initial=0) / 127
    call.write(np.rint(x / step) * step if step else x)


@after("weight_quantize/float16", sees="bound")
def swapped_nibbles(call: Call) -> None:
    """The two numbers of four bits in a byte are stored in the wrong order."""
    if call.attributes["algo"] == "weight_only_int4":
        packed = call.output().view(np.uint8)
        call.write(((packed << 4) | (packed >> 4)).astype(np.uint8).view(np.int8))


@after("weight_dequantize/bfloat16", sees="bound", operator="weight_quantize")
def scale_of_the_first_group(call: Call) -> None:
    """All groups of a column are dequantized with the scale of its first."""
    group, scales = call.attributes["group_size"], call.inputs[1].astype(np.float64)
    if group > 0 and scales.ndim == 2 and len(scales) > 1:
        y = call.output().astype(np.float64)
        factors = np.repeat(scales[:1] / scales, group, axis=0)[: len(y)]
        call.write(y * factors)


@after("dequantize_linear_deprecated/float32", sees="bound", operator="dequantize_linear")
def divided_by_128(call: Call) -> None:
    """Dequantizing divides by 128 instead of 127."""
    call.write(call.output().astype(np.float64) * 127 / 128)


@after("quantize_linear_deprecated_infer/float32", sees="exact", operator="quantize_linear")
def wrapped_around(call: Call) -> None:
    """Quantizing wraps around instead of saturating."""
    x = call.inputs[0].astype(np.float64)
    scale = call.inputs[1].astype(np.float64)
    axis = call.attributes["axis"]
    spread = scale if axis < 0 else scale.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    call.write(np.rint(x * 127 / spread).astype(np.int64).astype(np.int8))


@after("matmul/int8", sees="exact", operator="matmul_int8")
def saturated_accumulator(call: Call) -> None:
    """Sums of products of bytes are held, and saturate, in 16 bits."""
    call.write(np.clip(call.output(), -(1 << 15), (1 << 15) - 1))
