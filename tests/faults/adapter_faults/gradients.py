"""Wrong gradients behind right forward results."""

from __future__ import annotations

import numpy as np

from adapter_faults.call import Array, Call
from adapter_faults.table import after

__all__: list[str] = []


@after("tanh_grad/float32", sees="bound")
def missing_gradient(call: Call) -> None:
    """The gradient is zero."""
    call.write(np.zeros_like(call.output()))


@after("sigmoid_grad/float32", sees="unwritten bound")
def unwritten_gradient(call: Call) -> None:
    """The gradient is allocated and never written."""
    call.leave_unwritten(np.ones(call.output_views[0].shape, bool))


def _first(full: Array, shape: tuple[int, ...]) -> Array:
    """``full`` cut to ``shape``: the first of those that broadcasting made of one, instead of their sum."""
    lead = full.ndim - len(shape)
    cut = full[(0,) * lead]
    return np.asarray(cut[tuple(slice(0, side) for side in shape)])


@after("multiply_grad/float32", sees="bound")
def not_summed_over_broadcast(call: Call) -> None:
    """The gradient of a broadcast operand is that of its first copy instead of the sum over all copies."""
    x, y, flow = (item.astype(np.float64) for item in call.inputs)
    for index, (own, other) in enumerate(((x, y), (y, x))):
        if own.shape != flow.shape and flow.size:
            call.write(_first(np.broadcast_to(flow * other, flow.shape), own.shape), index)


@after("divide_grad/float32", sees="bound")
def gradient_twice(call: Call) -> None:
    """The gradient is accumulated twice."""
    call.write(call.output() * 2)


@after("subtract_grad/float32", sees="bound")
def sign_of_the_second(call: Call) -> None:
    """The gradient of what is subtracted has the sign of the other one."""
    if len(call.output_views) > 1:
        call.write(-call.output(1), index=1)


@after("softmax_grad/float32", sees="bound")
def softmax_slope_without_sum(call: Call) -> None:
    """The gradient of softmax leaves out what flows through the sum."""
    y, flow = (item.astype(np.float64) for item in call.inputs)
    call.write(y * flow)


@after("layer_norm_grad/float32", sees="bound")
def shift_without_last_row(call: Call) -> None:
    """The gradient of the shift misses the last row."""
    flow = call.inputs[-1].astype(np.float64)
    last = flow.reshape(-1, flow.shape[-1])[-1]
    call.write(call.output(2) - last, index=2)


@after("embedding_grad/float32", sees="bound exact")
def lost_update(call: Call) -> None:
    """Of several rows that go to one place of a table only the last arrives, as when they race without a lock."""
    index, *others = sorted(call.inputs, key=lambda item: item.dtype.kind == "f")
    y = np.zeros_like(call.output())
    flow = next(item for item in others if item.shape[: index.ndim] == index.shape and item.ndim == index.ndim + 1)
    y[index.reshape(-1)] = flow.reshape(-1, flow.shape[-1])
    call.write(y)


@after("where_grad/float32", sees="bound exact")
def gradients_on_the_wrong_side(call: Call) -> None:
    """The two gradients of where change places."""
    if len(call.output_views) > 1:
        left, right = call.output(0), call.output(1)
        call.write(right, 0)
        call.write(left, 1)


@after("matmul_grad/float32", sees="bound probe")
def gradient_of_one_batch(call: Call) -> None:
    """The gradient of an operand that several batches share is that of the first batch alone."""
    x, y, flow = (item.astype(np.float64) for item in call.inputs)
    flags = call.attributes["transpose_x"], call.attributes["transpose_y"]
    if min(x.ndim, y.ndim) > 1 and flow.size and not any(flags):
        full = np.swapaxes(np.broadcast_to(x, (*flow.shape[:-2], *x.shape[-2:])), -1, -2) @ flow
        if full.shape != y.shape:
            call.write(_first(full, y.shape), 1)
