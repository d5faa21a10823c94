"""Wrong numbers: lanes, tiles, rounding, denormals, NaN and infinity."""

from __future__ import annotations

import numpy as np

from adapter_faults.call import Call
from adapter_faults.rounding import bfloat16, contract, toward_zero
from adapter_faults.table import after

__all__: list[str] = []


@after("tanh/float32", sees="bound")
def swapped_lanes(call: Call) -> None:
    """Two neighbouring lanes of a vector are written in the wrong order."""
    y = call.output().reshape(-1)
    pairs = y[: y.size // 2 * 2].reshape(-1, 2)
    pairs[:] = pairs[:, ::-1].copy()
    call.write(y.reshape(call.output_views[0].shape))


@after("square/float32", sees="bound")
def zeroed_tile(call: Call) -> None:
    """A tile of eight elements in the middle of the output is zero."""
    y = call.output()
    flat = y.reshape(-1)
    flat[flat.size // 2 : flat.size // 2 + 8] = 0
    call.write(y)


@after("layer_norm/float32", sees="bound")
def last_row_missed(call: Call) -> None:
    """The last row is left at zero."""
    y = call.output()
    y.reshape(-1, y.shape[-1])[-1] = 0
    call.write(y)


@after("matmul/float32", sees="bound")
def last_column_missed(call: Call) -> None:
    """The last column of a product is left at zero."""
    y = call.output()
    if y.ndim:
        y[..., -1] = 0
    call.write(y)


@after("sigmoid/float32", sees="bound")
def bfloat16_result(call: Call) -> None:
    """A float32 result went through a bfloat16 register."""
    call.write(call.output().astype(bfloat16))


@after("bmm/float32", sees="bound probe")
def bfloat16_accumulator(call: Call) -> None:
    """Partial sums of a float32 product are kept in bfloat16 where float32 is declared."""
    call.write(contract(call.inputs[0], call.inputs[1], bfloat16))


@after("matmul/bfloat16", sees="bound probe")
def bfloat16_accumulator_of_bfloat16(call: Call) -> None:
    """A bfloat16 product keeps its partial sums in bfloat16 where float32 is declared."""
    left, right = call.inputs
    if left.ndim > 1 and right.ndim > 1:
        left = np.swapaxes(left, -1, -2) if call.attributes["transpose_x"] else left
        right = np.swapaxes(right, -1, -2) if call.attributes["transpose_y"] else right
        call.write(contract(left, right, bfloat16))


@after("multiply/float32", sees="bound")
def cut_off_float32(call: Call) -> None:
    """Float32 products are rounded toward zero."""
    x, y = (item.astype(np.float64) for item in call.inputs)
    call.write(toward_zero(x * y, np.float32))


@after("multiply/float16", sees="bound")
def cut_off_float16(call: Call) -> None:
    """Float16 products are rounded toward zero."""
    x, y = (item.astype(np.float64) for item in call.inputs)
    call.write(toward_zero(x * y, np.float16))


@after("abs/float32", sees="exact")
def flushed_denormals(call: Call) -> None:
    """Subnormal numbers come back as zero from an operator that only moves bits."""
    y = call.output()
    call.write(np.where(np.abs(y) < np.finfo(np.float32).smallest_normal, 0, y))


@after("maximum/float32", sees="exact nonfinite")
def swallowed_nan(call: Call) -> None:
    """The maximum of a number and NaN is the number."""
    call.write(np.fmax(*call.inputs))


@after("minimum/float32", sees="exact nonfinite")
def lost_sign_of_infinity(call: Call) -> None:
    """Minus infinity comes out as plus infinity."""
    y = call.output()
    call.write(np.where(np.isinf(y), np.inf, y))


@after("add/float32", sees="nonfinite")
def saturated_infinity(call: Call) -> None:
    """Infinity is saturated to the largest finite number."""
    y = call.output()
    largest = np.finfo(np.float32).max
    call.write(np.where(np.isinf(y), np.copysign(largest, y), y))


@after("sqrt/float32", sees="bound")
def coarse_table(call: Call) -> None:
    """A function from a table of ten bits: every result is off by up to 2^-11."""
    y = call.output()
    mantissa, exponent = np.frexp(y)
    call.write(np.ldexp(np.rint(mantissa * 1024) / 1024, exponent))


@after("sin/float64", sees="bound")
def float32_inside_float64(call: Call) -> None:
    """A float64 operator computes in float32."""
    call.write(np.sin(call.inputs[0].astype(np.float32)))


@after("cos/float32", sees="bound")
def one_bad_lane(call: Call) -> None:
    """One lane of sixteen is off by 2^-16, the other fifteen are right."""
    y = call.output()
    y.reshape(-1)[3::16] *= np.float32(1 + 2**-16)
    call.write(y)


@after("cast/float32", sees="exact")
def rounded_cast(call: Call) -> None:
    """A cast to whole numbers rounds to nearest instead of cutting off."""
    if call.output_views[0].dtype.kind == "i":
        call.write(np.rint(np.nan_to_num(call.inputs[0])))
