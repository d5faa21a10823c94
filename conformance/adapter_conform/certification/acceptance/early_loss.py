"""The first steps of training: loss, its very first value, gradient norm, curves of the task; window by window.

Floors are multiples of what rounding alone does. float32: measured between two frameworks with the same weights, the
means over 20 steps differ by 1e-7 relative at most (2^-23); the floor is 2^-20. bfloat16: a reference in mixed
precision differs from its float32 run by 3.3e-5; the floor is 2^-12. A single loss is not averaged over steps, and a
gradient norm adds the errors of a backward pass: their floors are 2^-18 and 2^-10, 2^-16 and 2^-6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.figures import at_most, inconclusive
from adapter_conform.certification.acceptance.windows import FACTOR, Floors, WindowErrors, window_errors

__all__ = ["curves", "early_loss", "first_loss", "gradient_norm", "loss_errors"]

_LOSS = Floors(2.0**-20, 2.0**-12)
_FIRST = Floors(2.0**-18, 2.0**-10)
_GRADIENT = Floors(2.0**-16, 2.0**-6)


def loss_errors(comparison: Comparison) -> WindowErrors:
    return _errors(comparison, "losses", _LOSS)


def early_loss(comparison: Comparison) -> Iterator[GateFigure]:
    """Means over every 20 steps of the first 1000, relative and absolute."""
    yield from _judged("early loss", "loss", loss_errors(comparison), comparison)


def gradient_norm(comparison: Comparison) -> Iterator[GateFigure]:
    """Before clipping; sees a missing or scaled gradient that Adam and clipping hide from the loss."""
    if not comparison.device.gradient_norms or not comparison.base.gradient_norms:
        yield inconclusive("gradient norm", "gradient norm", "device or reference recorded none")
        return
    yield from _judged("gradient norm", "gradient norm", _errors(comparison, "gradient_norms", _GRADIENT), comparison)


def first_loss(comparison: Comparison) -> Iterator[GateFigure]:
    """The loss before anything was learned: the forward pass alone."""
    device, base = comparison.device.losses, comparison.base.losses
    if not device or not base:
        yield inconclusive("first loss", "loss", "device or reference recorded no loss")
        return
    repeats = [run.losses[:1] for run in comparison.spreading if run.losses]
    errors = window_errors(device[:1], base[:1], repeats, 1, _FIRST.of(comparison.device.precision))
    yield from _judged("first loss", "loss", errors, comparison)


def curves(comparison: Comparison) -> Iterator[GateFigure]:
    """Further figures a step, e.g. the reward margin of DPO, which starts at zero: absolute errors alone.

    The floor is relative to the largest value of the reference's curve.
    """
    for name, base in comparison.base.curves.items():
        device = comparison.device.curves.get(name)
        if not device:
            yield inconclusive("curve", name, "the device recorded none")
            continue
        size, steps = comparison.limits.window_steps, comparison.limits.early_steps
        repeats = [run.curves[name][:steps] for run in comparison.spreading if name in run.curves]
        scale = max(map(abs, base), default=0.0)
        floor = _GRADIENT.of(comparison.device.precision)
        errors = window_errors(device[:steps], base[:steps], repeats, size, floor, scale)
        yield _figure("curve", f"{name}, absolute", errors, False, comparison)


def _errors(comparison: Comparison, curve: str, floors: Floors) -> WindowErrors:
    steps = comparison.limits.early_steps

    def early(run: object) -> Sequence[float]:
        values: Sequence[float] = getattr(run, curve)
        return values[:steps]

    return window_errors(
        early(comparison.device),
        early(comparison.base),
        [early(run) for run in comparison.spreading],
        comparison.limits.window_steps,
        floors.of(comparison.device.precision),
    )


def _judged(gate: str, output: str, errors: WindowErrors, comparison: Comparison) -> Iterator[GateFigure]:
    for relative in (True, False):
        yield _figure(gate, f"{output}, {'relative' if relative else 'absolute'}", errors, relative, comparison)


def _figure(gate: str, output: str, errors: WindowErrors, relative: bool, comparison: Comparison) -> GateFigure:
    if not errors.reference.size:
        return inconclusive(gate, output, "fewer steps than one window")
    window, value, limit = errors.worst(relative)
    if window < 0:
        return at_most(gate, output, 0.0, 0.0, "the reference is near zero throughout; the absolute error is judged")
    runs = len(errors.spread)
    formula = f"limit: the larger of a floor and {FACTOR:g} x the spread of {runs} further reference runs up to there"
    where = f"{errors.words(window)}; {formula}"
    if value > limit and not comparison.repeats:
        return inconclusive(gate, output, f"above the floor, and no repeat tells the spread; {where}", value, limit)
    return at_most(gate, output, value, limit, where)
