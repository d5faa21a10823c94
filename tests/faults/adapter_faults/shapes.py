"""Wrong for some shapes, axes or layouts."""

from __future__ import annotations

import numpy as np

from adapter_faults.call import Array, Call
from adapter_faults.table import after

__all__: list[str] = []

ALIGNMENT = 32
"""Bytes of a vector register."""


def _axes(call: Call) -> tuple[int, ...]:
    """The axes that a reduction folds, counted from the front."""
    axis, rank = call.attributes["axis"], call.inputs[0].ndim
    if axis is None or axis == []:
        return tuple(range(rank))
    return tuple(item % rank for item in ([axis] if isinstance(axis, int) else axis))


@after("mean/float32", sees="bound probe")
def reduction_one_short(call: Call) -> None:
    """A reduction stops one element before the end."""
    x, axes = call.inputs[0].astype(np.float64), _axes(call)
    if not axes:
        return
    number = np.prod([x.shape[axis] for axis in axes])
    last = np.take(x, [-1], axis=axes[-1])
    for axis in axes[:-1]:
        last = np.take(last, [-1], axis=axis)
    missing = last / number
    y = call.output().astype(np.float64)
    call.write(y - missing.reshape(y.shape) if missing.size == y.size else y)


@after("sum/float32", sees="bound probe")
def only_the_first_block(call: Call) -> None:
    """A row longer than a block of 1024 is folded up to the end of the block."""
    x, axes = call.inputs[0].astype(np.float64), _axes(call)
    if len(axes) == 1 and x.shape[axes[0]] > 1024:
        head = np.take(x, range(1024), axis=axes[0])
        call.write(head.sum(axis=axes[0]).reshape(call.output_views[0].shape))


def _turned(y: Array, shape: tuple[int, ...]) -> Array:
    """``y`` broadcast along the wrong one of two equally long last axes."""
    return np.swapaxes(np.broadcast_to(y, shape), -1, -2)


@after("subtract/float32", sees="bound nonfinite")
def wrong_broadcast_axis(call: Call) -> None:
    """A row is broadcast as a column where both are equally long."""
    x, y = call.inputs
    shape = call.output_views[0].shape
    if x.shape != y.shape and len(shape) > 1 and shape[-1] == shape[-2]:
        call.write(np.broadcast_to(x, shape) - _turned(y, shape))


@after("log_softmax/float32", sees="bound")
def negative_axis(call: Call) -> None:
    """A negative axis is taken for axis 0."""
    if call.attributes["axis"] < 0:
        x = call.inputs[0].astype(np.float64)
        call.write(x - np.log(np.exp(x).sum(axis=0, keepdims=True)) if x.ndim else x * 0)


@after("atan/float32", sees="bound unwritten")
def no_rank_at_all(call: Call) -> None:
    """A tensor without axes counts as empty: its element is never written."""
    if not call.inputs[0].shape:
        call.leave_unwritten(True)


@after("sum/int64", sees="exact unwritten", operator="sum")
def empty_sum_unwritten(call: Call) -> None:
    """A sum over no elements at all is left unwritten."""
    if not call.inputs[0].size:
        call.leave_unwritten(np.ones(call.output_views[0].shape, bool))


@after("relu/float32", sees="exact")
def rows_in_sixteen_bits(call: Call) -> None:
    """Row numbers are held in 16 bits: rows from 65,536 on are never computed."""
    y = call.output()
    if y.ndim:
        rows = y.reshape(-1, y.shape[-1])
        rows[1 << 16 :] = -1
    call.write(y)


@after("rsqrt/float32", sees="bound")
def odd_sizes(call: Call) -> None:
    """Two elements at a time: the last one of an odd number is zero."""
    y = call.output()
    if y.size % 2:
        y.reshape(-1)[-1] = 0
    call.write(y)


@after("exp/float32", sees="bound")
def misaligned_pointers(call: Call) -> None:
    """Where an input does not start on a vector's boundary, the start of the vector is read instead."""
    offset = call.input_views[0].address % ALIGNMENT // call.input_views[0].dtype.itemsize
    if offset:
        y = call.output()
        y.reshape(-1)[:] = np.roll(y.reshape(-1), offset)
        y.reshape(-1)[:offset] = 0
        call.write(y)


@after("contiguous/float32", sees="exact")
def ignored_strides(call: Call) -> None:
    """A strided tensor is read as if it were dense."""
    call.write(call.inputs[0].reshape(call.output_views[0].shape))


@after("embedding/float32", sees="exact")
def last_row_of_a_table(call: Call) -> None:
    """The last row of a table is taken to lie outside of it."""
    index, table = sorted(call.inputs, key=lambda item: item.dtype.kind == "f")
    y = call.output()
    y[index == table.shape[0] - 1] = 0
    call.write(y)
