"""What a diffusion model gives, number by number: its networks alone, every step of sampling, the last picture.

The limit of an error is ``max(floor, FACTOR * largest error of a reference run)``, both against the reference's base
run; of sampling steps "up to there", since differences grow from step to step. A gradient has the limit of its own
repetitions, and at least the largest error of all: small ones are mostly rounding, and must not widen the others'.
Errors are relative: the root of the mean square of the difference over that of the reference.

Floors are powers of two above what two frameworks with the same weights were measured to differ by in float32: 9.6e-7
for a network alone, 4.3e-6 for a gradient. A reference in bfloat16 differs from its own float32 run by more than its
floors are; they hold where a pack has no float32 run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.figures import at_most, inconclusive, information
from adapter_conform.certification.acceptance.windows import FACTOR, Floors
from adapter_conform.certification.arrays import as_array
from adapter_conform.certification.measurement import Measurement

__all__ = ["final_latents", "gradients", "parts", "pictures", "predicted_noise"]

Floats = NDArray[np.float64]
Error = Callable[[Floats, Floats], Floats]
"""Device or repeat, base -> one error for each thing that is judged."""

_PARTS = ("part text encoder", "part encoder", "part decoder", "part unet")
_PART = Floors(2.0**-18, 2.0**-7)
_GRADIENTS = Floors(2.0**-15, 2.0**-4)
_SAMPLED = Floors(2.0**-15, 2.0**-5)

_SMALL = 0.01
"""Of the largest norm of a gradient: smaller ones are judged as if they were so large. A few are zero but for rounding,
e.g. that of a bias which a softmax takes out."""


def parts(comparison: Comparison) -> Iterator[GateFigure]:
    """Text encoder, autoencoder and denoising network, each on inputs of its own, before the first step."""
    for name in _PARTS:
        yield from _judged(comparison, "network alone", name, _relative, _PART)


def gradients(comparison: Comparison) -> Iterator[GateFigure]:
    """The norm of each parameter's gradient in the first step."""
    yield from _judged(comparison, "gradients", "gradients", _each_norm, _GRADIENTS)


def predicted_noise(comparison: Comparison) -> Iterator[GateFigure]:
    """What each step of sampling takes for noise, with guidance, which multiplies errors."""
    yield from _judged(comparison, "sampling", "noise", _each_step, _SAMPLED)


def final_latents(comparison: Comparison) -> Iterator[GateFigure]:
    yield from _judged(comparison, "sampling", "latents", _relative, _SAMPLED)


def pictures(comparison: Comparison) -> Iterator[GateFigure]:
    """The decoded pictures: peak signal to noise ratio as 10^(-PSNR / 20), mean and deviation over the range."""
    for statistic in (_distance, _mean, _deviation):
        yield from _judged(comparison, "picture", "pictures", statistic, _SAMPLED)
    base, device = _array(comparison.base, "pictures"), _array(comparison.device, "pictures")
    if base is not None and device is not None and base.shape == device.shape:
        distance = float(_distance(device, base)[0])
        ratio = -20 * math.log10(distance) if 0 < distance < math.inf else math.inf
        if math.isfinite(ratio):
            yield information("picture", "peak signal to noise ratio, dB", ratio)


def _judged(comparison: Comparison, gate: str, name: str, error: Error, floors: Floors) -> Iterator[GateFigure]:
    label = f"{name.removeprefix('part ')}{', ' + error.__name__.strip('_') if gate == 'picture' else ''}"
    base, device = _array(comparison.base, name), _array(comparison.device, name)
    if base is None or device is None:
        yield inconclusive(gate, label, f"the {'reference' if base is None else 'device'} recorded none")
        return
    if base.shape != device.shape:
        yield at_most(gate, label, math.inf, 0.0, f"shape {device.shape} on the device, {base.shape} on the reference")
        return
    if not np.isfinite(device).all():
        yield at_most(gate, label, math.inf, 0.0, "not finite")
        return
    repeats = [array for run in comparison.spreading if (array := _array(run, name)) is not None]
    same = [error(array, base) for array in repeats if array.shape == base.shape]
    errors = error(device, base)
    spread = np.max(same, axis=0) if same else np.zeros_like(errors)
    least = floors.of(comparison.device.precision)
    if gate == "gradients":  # what a repetition moves in one of them by rounding, it may move in any
        least = max(least, float(spread.max()))
    else:
        spread = np.maximum.accumulate(spread)
    limits = np.maximum(least, FACTOR * spread)
    worst = int(np.argmax(errors / limits))
    where = f"number {worst} of {errors.size}; " if errors.size > 1 else ""
    note = f"{where}limit: the larger of a floor and {FACTOR:g} x the spread of {len(same)} further reference runs"
    if errors[worst] > limits[worst] and not comparison.repeats:
        yield inconclusive(gate, label, f"above the floor, and no repeat tells the spread; {note}", errors[worst])
        return
    yield at_most(gate, label, float(errors[worst]), float(limits[worst]), note)


def _array(run: Measurement, name: str) -> Floats | None:
    return as_array(run.arrays[name]).astype(np.float64) if name in run.arrays else None


def _relative(found: Floats, base: Floats) -> Floats:
    return np.array([np.linalg.norm(found - base) / np.linalg.norm(base)])


def _each_step(found: Floats, base: Floats) -> Floats:
    return np.array([_relative(one, other)[0] for one, other in zip(found, base, strict=True)])


def _each_norm(found: Floats, base: Floats) -> Floats:
    errors: Floats = np.abs(found - base) / np.maximum(np.abs(base), _SMALL * np.abs(base).max())
    return errors


def _distance(found: Floats, base: Floats) -> Floats:
    """Root of the mean square of the difference, over the range of the reference's numbers."""
    return np.array([np.sqrt(np.mean((found - base) ** 2)) / np.ptp(base)])


def _mean(found: Floats, base: Floats) -> Floats:
    return np.array([abs(found.mean() - base.mean()) / np.ptp(base)])


def _deviation(found: Floats, base: Floats) -> Floats:
    return np.array([abs(found.std() - base.std()) / np.ptp(base)])
