"""What a file of heartbeats proves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from adapter_conform.soak.drift import LIMITS, Drift, judge
from adapter_conform.soak.heartbeat import Beat

__all__ = ["Verdict", "verdict"]

_GAP = 10.0
"""A stretch between two beats is a gap when it is longer than this many times the median stretch, and than 60 s."""
_SHORTEST_GAP = 60.0


@dataclass(frozen=True)
class Verdict:
    reached_s: float
    wanted_s: float
    steps: int
    gaps: tuple[tuple[float, float], ...]
    """(when it began, how long it lasted), in seconds."""
    restarts: int
    sessions: int
    lost: int
    """Beats whose loss was not finite."""
    backwards: int
    """Times that the step number fell without a restart or a new session."""
    drifts: tuple[Drift, ...]

    @property
    def complete(self) -> bool:
        return self.reached_s >= self.wanted_s

    @property
    def faults(self) -> list[str]:
        found = [f"{self.lost} beats had a loss that is not finite"] if self.lost else []
        found += [f"steps went backwards {self.backwards} times"] if self.backwards else []
        found += [f"the ranks had to be restarted {self.restarts} times"] if self.restarts else []
        found += [
            f"{drift.resource} grew by {drift.growth:.3g}, limit {drift.limit:.3g} (z = {drift.z:.1f})"
            for drift in self.drifts
            if not drift.passed
        ]
        return found

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete, "faults": self.faults}


def verdict(beats: Sequence[Beat], wanted_s: float) -> Verdict:
    """Judges all beats of a soak that was to last ``wanted_s`` seconds."""
    seconds = [beat.elapsed_s for beat in beats]
    stretches = [later.time - earlier.time for earlier, later in pairwise(beats)]
    longest = max(_SHORTEST_GAP, _GAP * statistics.median(stretches)) if stretches else _SHORTEST_GAP
    return Verdict(
        reached_s=seconds[-1] if seconds else 0.0,
        wanted_s=wanted_s,
        steps=beats[-1].step if beats else 0,
        gaps=tuple(
            (earlier.time, stretch) for earlier, stretch in zip(beats, stretches, strict=False) if stretch > longest
        ),
        restarts=beats[-1].restarts if beats else 0,
        sessions=beats[-1].session if beats else 0,
        lost=sum(not beat.sound for beat in beats),
        backwards=sum(
            later.step < earlier.step
            for earlier, later in pairwise(beats)
            if (earlier.session, earlier.restarts) == (later.session, later.restarts)
        ),
        drifts=tuple(judge(name, seconds, [float(getattr(beat, name)) for beat in beats]) for name in LIMITS),
    )
