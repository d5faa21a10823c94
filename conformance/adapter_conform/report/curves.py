"""Figures of the training charts: losses step by step, and how far the device's lie from the reference's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter_conform.cases import Record

__all__ = ["Dot", "LossChart", "Tick", "loss_charts"]

_MOST_POINTS = 1000
"""Drawn a curve; of longer runs each point stands for several steps."""
_TICKS = 5
_HUGE, _TINY = 1e30, 1e-30
"""No loss is larger, and no axis shorter: beyond, the arithmetic of the axes would overflow."""


@dataclass(frozen=True)
class Tick:
    at: float
    """Percent of the axis, from the left or from the top."""
    label: str


@dataclass(frozen=True)
class Dot:
    """The relative error of one step. Positions are percent of the axes, from the left and from the top."""

    x: float
    y: float
    kind: str
    """"inside" or "beyond" the limit; "none" where both losses are equal, which a logarithmic axis cannot show."""
    words: str


@dataclass(frozen=True)
class LossChart:
    """One record's curves. Points are ``"x,y x,y"`` in percent of the plot, a list of pieces each: a loss that is not
    finite leaves a gap."""

    record_id: str
    steps: int
    reference: list[str]
    device: list[str]
    step_ticks: list[Tick]
    loss_ticks: list[Tick]
    dots: list[Dot]
    error_ticks: list[Tick]
    limit: float | None
    limit_at: float | None
    """Percent from the top; None where the record has no limit for the loss."""
    worst: str
    """The largest relative error and its step, in words."""


def loss_charts(records: Iterable[Record]) -> list[LossChart]:
    """A chart for every record with ``details["loss"] = {"cpu": [...], "device": [...]}`` and
    ``details["relative_error"] = [...]``, numbers a step. The limit is that of its gate on ``"loss"``."""
    charts = []
    for record in records:
        losses = record.details.get("loss")
        if not isinstance(losses, Mapping):
            continue
        reference, device = _numbers(losses.get("cpu")), _numbers(losses.get("device"))
        errors = _numbers(record.details.get("relative_error"))
        if reference and device and errors:
            limits = [figure.limit for figure in record.errors if figure.output == "loss"]
            charts.append(_chart(record.id, reference, device, errors, limits[0] if limits else None))
    return charts


def _numbers(value: Any) -> list[float]:
    """``value`` as floats, also from the texts that stand for NaN and infinities in JSON; empty if it is none such."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    try:
        return [float(item) for item in value]
    except (TypeError, ValueError):
        return []


def _chart(
    record_id: str, reference: Sequence[float], device: Sequence[float], errors: Sequence[float], limit: float | None
) -> LossChart:
    steps = max(len(reference), len(device), len(errors))
    usable = limit if limit is not None and _TINY <= limit <= _HUGE else None
    low, high, loss_ticks = _linear_axis([value for value in (*reference, *device) if _drawable(value)])
    bottom, top = _decades([*errors, *([] if usable is None else [usable])])
    worst = max(range(len(errors)), key=lambda step: _size(errors[step]))
    return LossChart(
        record_id=record_id,
        steps=steps,
        reference=_pieces(reference, steps, low, high),
        device=_pieces(device, steps, low, high),
        step_ticks=[Tick(_across(step, steps), str(step)) for step in _round_steps(steps)],
        loss_ticks=loss_ticks,
        dots=[_dot(step, errors[step], steps, limit, bottom, top) for step in _worst_of_each_bucket(errors)],
        error_ticks=_decade_ticks(bottom, top),
        limit=limit,
        limit_at=None if usable is None else _log_at(usable, bottom, top),
        worst=f"{errors[worst]:.3g} at step {worst}",
    )


def _across(step: int, steps: int) -> float:
    return round(100 * step / max(steps - 1, 1), 2)


def _drawable(loss: float) -> bool:
    return math.isfinite(loss) and abs(loss) <= _HUGE


def _size(error: float) -> float:
    return math.inf if math.isnan(error) else error


def _buckets(count: int) -> list[range]:
    width = max(1, math.ceil(count / _MOST_POINTS))
    return [range(start, min(start + width, count)) for start in range(0, count, width)]


def _worst_of_each_bucket(errors: Sequence[float]) -> list[int]:
    return [max(bucket, key=lambda step: _size(errors[step])) for bucket in _buckets(len(errors))]


def _pieces(losses: Sequence[float], steps: int, low: float, high: float) -> list[str]:
    pieces: list[list[str]] = [[]]
    for bucket in _buckets(len(losses)):
        loss = losses[bucket[0]]
        if _drawable(loss):
            pieces[-1].append(f"{_across(bucket[0], steps)},{100 * (high - loss) / (high - low):.3f}")
        elif pieces[-1]:
            pieces.append([])
    return [" ".join(piece) for piece in pieces if piece]


def _dot(step: int, error: float, steps: int, limit: float | None, bottom: int, top: int) -> Dot:
    words = f"step {step}: {error:.3g}"
    x = _across(step, steps)
    if error <= 0:
        return Dot(x, 100.0, "none", words)
    beyond = not math.isfinite(error) or (limit is not None and error > limit)
    return Dot(x, _log_at(error, bottom, top), "beyond" if beyond else "inside", words)


def _log_at(value: float, bottom: int, top: int) -> float:
    place = top if not math.isfinite(value) else min(max(math.log10(value), bottom), top)
    return round(100 * (top - place) / (top - bottom), 2)


def _decades(errors: Iterable[float]) -> tuple[int, int]:
    """Exponents that the axis spans. One more at the bottom keeps errors of 0 apart from the smallest that is not."""
    logs = [math.log10(min(max(error, _TINY), _HUGE)) for error in errors if 0 < error < math.inf]
    bottom, top = math.floor(min(logs, default=-8.0)) - 1, math.floor(max(logs, default=-5.0)) + 1
    return max(bottom, top - 18), top


def _decade_ticks(bottom: int, top: int) -> list[Tick]:
    """The lowest place stands for 0."""
    step = max(1, math.ceil((top - bottom) / _TICKS))
    ticks = [Tick(_log_at(10.0**decade, bottom, top), f"{10.0**decade:.0e}") for decade in range(top, bottom, -step)]
    return [*ticks, Tick(100.0, "0")]


def _linear_axis(values: Sequence[float]) -> tuple[float, float, list[Tick]]:
    """Ends of the axis and its ticks at round numbers."""
    least, most = min(values, default=0.0), max(values, default=1.0)
    step = _round_step(max(most - least, 1e-5 * abs(most), _TINY))  # six digits tell the ticks apart
    low, high = math.floor(least / step) * step, math.ceil(most / step) * step
    if low == high:
        low, high = low - step, high + step
    count = round((high - low) / step)
    ticks = [Tick(round(100 * (1 - index / count), 2), f"{low + index * step:.6g}") for index in range(count + 1)]
    return low, high, ticks


def _round_step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that about _TICKS of them make up ``span``."""
    raw = span / _TICKS
    power = float(10.0 ** math.floor(math.log10(raw)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)


def _round_steps(steps: int) -> list[int]:
    step = max(1, round(_round_step(max(steps - 1, 1))))
    return list(range(0, steps, step))
