"""Memory: what is read, written or kept where it should not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adapter_faults.call import POISON, Call
from adapter_faults.table import after, before

__all__: list[str] = []


@after("log/float32", sees="intact")
def overwritten_input(call: Call) -> None:
    """The kernel uses its input as scratch memory."""
    x = call.inputs[0].copy()
    x.reshape(-1)[:1] += 1
    call.write_input(x)


@after("add/float32", sees="bound", operator="add_")
def aliased_in_place(call: Call) -> None:
    """In place, the second operand is added again to elements that are already sums."""
    if call.input_views[0].address == call.output_views[0].address:
        y = call.output()
        half = y.size // 2
        second = np.broadcast_to(call.inputs[1], y.shape)
        y.reshape(-1)[half:] += second.reshape(-1)[half:]
        call.write(y)


@after("tile/float32", sees="canary")
def write_out_of_bounds(call: Call) -> None:
    """One element behind the output is written."""
    view = call.output_views[0]
    behind = replace(view, address=view.address + view.nbytes, shape=(1,))
    call.device.write(behind, np.zeros(1, view.dtype))
    call.changed = True


@after("squared_l2_norm/float32", sees="bound probe nonfinite fence repeat")
def read_out_of_bounds(call: Call) -> None:
    """One element behind the input is read and counted in."""
    view = call.input_views[0]
    if not view.nbytes:
        return
    behind = call.device.read(replace(view, address=view.address + view.nbytes, shape=(1,)))
    call.write(call.output().astype(np.float64) + np.square(behind.astype(np.float64)))


@after("cumsum/float32", sees="bound probe")
def uninitialised_output(call: Call) -> None:
    """The sum is added to whatever stood in the output's memory before."""
    left = np.frombuffer(bytes([POISON] * 4), np.float32)
    call.write(call.output() + left)


@after("silu/float32", sees="unwritten")
def unwritten_tail(call: Call) -> None:
    """The last quarter of the output is never written."""
    size = call.output_views[0].size
    call.leave_unwritten(np.arange(size) >= size * 3 // 4)


@after("flip/float32", sees="unwritten exact")
def unwritten_output(call: Call) -> None:
    """The output is allocated and never written."""
    call.leave_unwritten(np.ones(call.output_views[0].shape, bool))


@after("concat/float32", sees="exact")
def stale_output(call: Call) -> None:
    """What the previous call gave stands where the new result should be."""
    y = call.output()
    previous = call.memory.get("previous")
    call.memory["previous"] = y.copy()
    if previous is not None:
        count = min(previous.size, y.size)
        y.reshape(-1)[:count] = previous.reshape(-1)[:count]
        call.write(y)


@before("isnan/float32", sees="allocation")
def nothing_at_all(call: Call) -> bool:
    """The kernel returns without having allocated its output."""
    return True


@after("sum/float64", sees="bound probe repeat")
def race(call: Call) -> None:
    """Two cores add to one place without a lock: in three calls of four, one element's share is lost."""
    x, y = call.inputs[0], call.output()
    random = np.random.default_rng()
    if y.size == 1 and x.size > 1 and random.random() < 0.75:
        call.write(y - x.reshape(-1)[random.integers(x.size)])
    elif x.ndim and x.size > y.size and random.random() < 0.75:
        y.reshape(-1)[random.integers(y.size)] -= np.abs(x).max()
        call.write(y)
