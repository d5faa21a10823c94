"""Random numbers: seeds, ranges, independence, dropout."""

from __future__ import annotations

import numpy as np

from adapter_faults.call import Call
from adapter_faults.table import after

__all__: list[str] = []


@after("uniform/float32", sees="exact", operator="uniform_seed")
def ignored_seed(call: Call) -> None:
    """The seed is ignored: numbers come from the machine's entropy."""
    call.write(np.random.default_rng().random(call.output_views[0].shape))


@after("gaussian/float32", sees="exact", operator="gaussian_seed")
def standing_generator(call: Call) -> None:
    """The generator never moves on: every call draws the same numbers."""
    call.write(np.random.default_rng(1).standard_normal(call.output_views[0].shape))


@after("randint/int64", sees="bound", operator="randint")
def range_without_its_end(call: Call) -> None:
    """The largest whole number of a range is never drawn."""
    y, low, high = call.output(), call.attributes["low"], call.attributes["high"]
    call.write(np.where(y == high - 1, low, y))


@after("uniform/float64", sees="bound", operator="uniform")
def neighbours_alike(call: Call) -> None:
    """Neighbouring numbers are the same."""
    y = call.output()
    flat = y.reshape(-1)
    flat[1::2] = flat[: flat.size // 2 * 2 : 2]
    call.write(y)


@after("gaussian/float64", sees="bound", operator="gaussian")
def thin_tails(call: Call) -> None:
    """A normal distribution is cut off at one and a half deviations."""
    mean, deviation = call.attributes["mean"], call.attributes["deviation"]
    call.write(np.clip(call.output(), mean - 1.5 * deviation, mean + 1.5 * deviation))


@after("dropout/float32", sees="bound", operator="dropout_train")
def dropout_not_scaled(call: Call) -> None:
    """dropout leaves what it keeps as it is, where it should be scaled up."""
    if call.attributes["mode"] == "upscale_in_train":
        call.write(call.output() * np.float32(1 - call.attributes["p"]))


@after("dropout/float64", sees="bound", operator="dropout_train")
def dropout_rate(call: Call) -> None:
    """dropout drops half as many elements as asked for."""
    y, x, p = call.output(), call.inputs[0], call.attributes["p"]
    factor = 1 / (1 - p) if call.attributes["mode"] == "upscale_in_train" else 1.0
    spared = np.random.default_rng(0).random(y.shape) < 0.5
    call.write(np.where((y == 0) & spared, x * factor, y))


@after("dropout_grad/float32", sees="bound", operator="dropout_train")
def dropout_gradient_without_mask(call: Call) -> None:
    """The gradient of dropout flows through what was dropped, too."""
    y = call.output()
    kept = y != 0
    factor = 1 / (1 - call.attributes["p"]) if call.attributes["mode"] == "upscale_in_train" else 1.0
    flow = next(item for item in call.inputs if item.dtype == y.dtype)
    call.write(np.where(kept, y, flow * np.float32(factor)))
