"""Nothing jumps after a restart.

A spike is a loss that lies above the median of the 20 before it by more than any loss of the reference does in its own
training, plus one standard deviation of these distances: what the reference's data and learning rate do by themselves
is no spike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.extras import Resume
from adapter_conform.certification.acceptance.figures import at_most, inconclusive
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.standard import Limits

__all__ = ["resumed", "rises", "spike_limit", "spikes"]

_BEFORE = 20


def rises(losses: Sequence[float]) -> list[float]:
    """How far each loss lies above the median of the 20 before it; from the 21st on."""
    if len(losses) <= _BEFORE:
        return []
    figures = np.asarray(losses, dtype=np.float64)
    before = np.median(np.lib.stride_tricks.sliding_window_view(figures[:-1], _BEFORE), axis=1)
    rise: list[float] = (figures[_BEFORE:] - before).tolist()
    return rise


def spike_limit(references: Sequence[Measurement]) -> float | None:
    """None where no reference run is long enough."""
    found = [rise for run in references for rise in rises(run.losses)]
    return max(found) + float(np.std(found)) if found else None


def spikes(losses: Sequence[float], references: Sequence[Measurement], output: str, first: int = 0) -> GateFigure:
    """The highest rise of ``losses`` from step ``first`` on against :func:`spike_limit`."""
    limit = spike_limit(references)
    own = rises(losses)[max(0, first - _BEFORE) :]
    if limit is None or not own:
        return inconclusive("stability", output, f"fewer than {_BEFORE + 1} steps")
    place = int(np.argmax(np.nan_to_num(own, nan=np.inf)))
    note = f"largest rise above the median of {_BEFORE} steps, at step {max(first, _BEFORE) + place}"
    return at_most("stability", output, own[place], limit, note)


def resumed(resume: Resume, references: Sequence[Measurement], limits: Limits) -> Iterator[GateFigure]:
    """No spike after the restart, and the loss goes on falling."""
    name = f"{resume.recipe} {resume.precision}, restarted after step {resume.step}"
    yield spikes(resume.losses, references, f"spike: {name}", resume.step)
    size = limits.window_steps
    before, after = resume.losses[: resume.step][-size:], resume.losses[resume.step :][-size:]
    limit = spike_limit(references)
    if len(before) < size or len(after) < size or limit is None:
        yield inconclusive("stability", f"falling: {name}", f"fewer than {size} steps before or after")
    else:
        rise = float(np.mean(after) - np.mean(before))
        note = f"mean of the last {size} steps minus that of the {size} before the restart"
        yield at_most("stability", f"falling: {name}", rise, max(limit, 0.0), note)
