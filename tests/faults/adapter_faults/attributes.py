"""Attributes that are ignored or read wrongly, one value or one dtype that goes wrong, ties."""

from __future__ import annotations

import math

import numpy as np

from adapter_faults.call import Array, Call
from adapter_faults.table import after

__all__: list[str] = []


def _reread(x: Array, flagged: bool) -> Array:
    """The operand as a kernel sees it that ignores the flag: the same memory with the sides named the other way."""
    return x.reshape(*x.shape[:-2], x.shape[-1], x.shape[-2]) if flagged and x.ndim > 1 else x


@after("matmul/float64", sees="bound probe")
def ignored_transpose(call: Call) -> None:
    """The flag that asks for a transposed operand is ignored: its memory is read as if it were already turned."""
    flags = call.attributes["transpose_x"], call.attributes["transpose_y"]
    if any(flags):
        left, right = (_reread(x, flag) for x, flag in zip(call.inputs, flags, strict=True))
        call.write(np.matmul(left, right))


@after("addmm/float32", sees="bound")
def ignored_alpha(call: Call) -> None:
    """alpha of addmm is taken for 1."""
    added, x, y = (item.astype(np.float64) for item in call.inputs)
    call.write(added * call.attributes["beta"] + x @ y)


@after("addmm/float64", sees="bound")
def ignored_beta(call: Call) -> None:
    """beta of addmm is taken for 1."""
    added, x, y = call.inputs
    call.write(added + (x @ y) * call.attributes["alpha"])


@after("gelu/float32", sees="bound")
def one_attribute_value(call: Call) -> None:
    """The exact gelu is right, the tanh approximation gives the exact one."""
    if call.attributes["approximate"]:
        x = call.inputs[0].astype(np.float64)
        call.write(x * 0.5 * (1 + np.asarray(np.frompyfunc(math.erf, 1, 1)(x * math.sqrt(0.5)), np.float64)))


@after("floor_divide/int32", sees="exact")
def one_dtype(call: Call) -> None:
    """Whole numbers of 32 bits are divided toward zero; all other dtypes are right."""
    x, y = (item.astype(np.float64) for item in call.inputs)
    call.write(np.trunc(x / y))


@after("clip/float32", sees="exact")
def ignored_lower_limit(call: Call) -> None:
    """clip forgets its lower limit."""
    call.write(np.minimum(call.inputs[0], np.float32(call.attributes["max"])))


@after("argmax/float32", sees="exact")
def last_of_equals(call: Call) -> None:
    """Of several equal maxima, argmax gives the last."""
    axis, x = call.attributes["axis"], call.inputs[0]
    found = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis)
    call.write(found.reshape(call.output_views[0].shape))


@after("topk/float32", sees="exact", operator="topk_ties")
def one_place_twice(call: Call) -> None:
    """Equal elements of topk all get the place of the first of them."""
    values, x = call.output(0), call.inputs[0]
    first = np.argmax(x[..., None, :] == values[..., :, None], axis=-1)
    call.write(first, index=1)


@after("argsort/float32", sees="exact", operator="argsort_stable")
def tie_order(call: Call) -> None:
    """A stable sort leaves equal elements in falling order of their places."""
    x, down = call.inputs[0], call.attributes["descending"]
    back = np.flip(-x if down else x, -1)
    call.write(x.shape[-1] - 1 - np.argsort(back, axis=-1, kind="stable"), index=1)
