"""What the heartbeat log of a soak proves: days of training without a crash, a stop or a hole.

A stretch is a row of heartbeats of one session, without a restart of the ranks, no two of them further than GAP apart,
each with more steps than the one before and a finite loss. The 14 days of the standard are those of one stretch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.figures import at_most
from adapter_conform.certification.standard import Limits
from adapter_conform.soak.heartbeat import Beat

__all__ = ["GAP", "Soak", "soak_of", "soaked", "still_missing"]

GAP = 600.0
"""Seconds between two heartbeats beyond which nobody can say that the training was alive."""
_SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class Soak:
    plugin: str
    strategy: str
    """How the cards of the machine shared the work, e.g. "dp2"."""
    beats: int
    steps: int
    """Made until the last heartbeat."""
    longest_s: float
    """Of the longest stretch."""
    gaps: int
    """Times that two heartbeats of one session were further apart than GAP, or out of the order of time."""
    stops: int
    """Times that the training was ended and begun again by hand."""
    restarts: int
    """Times that the ranks had to be started again."""
    lost: int
    """Heartbeats whose loss was no finite number."""


def soak_of(beats: Sequence[Beat], training: Mapping[str, Any]) -> Soak:
    """``training`` says what was trained, as the soak wrote it down: plugin, strategy.

    Raises:
        ValueError: there are no heartbeats.
        KeyError: ``training`` lacks something.
    """
    if not beats:
        raise ValueError("the log holds no heartbeat")
    longest, begin = 0.0, beats[0].time
    gaps = stops = 0
    for earlier, later in pairwise(beats):
        hole = not 0.0 <= later.time - earlier.time <= GAP
        stopped = later.session != earlier.session
        gaps += hole and not stopped
        stops += stopped
        alive = later.restarts == earlier.restarts and later.step > earlier.step and earlier.sound and later.sound
        if hole or stopped or not alive:
            begin = later.time
        longest = max(longest, later.time - begin)
    last = beats[-1]
    return Soak(
        str(training["plugin"]),
        str(training["strategy"]),
        len(beats),
        last.step,
        longest,
        gaps,
        stops,
        last.restarts,
        sum(not beat.sound for beat in beats),
    )


def soaked(soak: Soak, limits: Limits) -> Iterator[GateFigure]:
    """Nothing of the 14 days while they are not full: they are missing then, see :func:`still_missing`."""
    yield at_most("stability", "losses of the soak that are not finite", float(soak.lost), 0.0, _words(soak))
    short = limits.soak_days - _days(soak)
    if short <= 0:
        yield at_most("stability", f"days short of {limits.soak_days:g}", short, 0.0, _words(soak))


def still_missing(soak: Soak | None, limits: Limits) -> str:
    """Empty where the days are full."""
    wanted = f"soak: {limits.soak_days:g} days of training without a crash, shown by its heartbeat log"
    if soak is None:
        return wanted
    return "" if _days(soak) >= limits.soak_days else f"{wanted}; {_words(soak)}"


def _days(soak: Soak) -> float:
    return soak.longest_s / _SECONDS_A_DAY


def _words(soak: Soak) -> str:
    return (
        f"{soak.steps} steps, {soak.strategy} on one machine, longest stretch {_days(soak):.4g} days; "
        f"{soak.gaps} gaps longer than {GAP:g} s, {soak.stops} stops, {soak.restarts} restarts"
    )
