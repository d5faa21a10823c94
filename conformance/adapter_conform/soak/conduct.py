"""The loop of a soak: so many steps a beat, a checkpoint now and then, a restart from it when something goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.collectives.crew import CrewLost
from adapter_conform.parallel.checkpoint import prune
from adapter_conform.parallel.course import Course, CourseLost
from adapter_conform.soak import heartbeat
from adapter_conform.soak.heartbeat import Beat

__all__ = ["Plan", "conduct"]

_BEAT_LIMIT = 600.0
"""Seconds that the steps of one beat may take before the ranks count as hung."""
_RESTARTS_WITHOUT_A_BEAT = 3
"""So many starts in a row that come to no beat end the soak."""

_STOPPED = "it was told to stop; an emergency checkpoint was written"


@dataclass(frozen=True)
class Plan:
    seconds: float
    beat_s: float
    """Between beats, about."""
    save_s: float
    """Between checkpoints, about."""


class _Pace:
    """How many steps make up a beat, from how long they took."""

    def __init__(self, beat_s: float) -> None:
        self._beat_s, self.steps = beat_s, 1

    def learn(self, step_s: float) -> None:
        self.steps = max(1, min(1000, round(self._beat_s / max(step_s, 1e-6))))


def conduct(
    course: Course, plan: Plan, path: Path, interrupted: Callable[[], bool], say: Callable[[str], None]
) -> str | None:
    """Trains until ``plan.seconds`` of training are on file in ``path``, going on where an earlier session ended.

    Returns:
        why it ended early; ``None`` when it did not.
    """
    before = heartbeat.read(path)
    elapsed = before[-1].elapsed_s if before else 0.0
    session = before[-1].session + 1 if before else 1
    restarts = before[-1].restarts if before else 0
    fruitless = 0
    pace = _Pace(plan.beat_s)
    saved = began = time.monotonic()
    try:
        while elapsed < plan.seconds:
            try:
                if interrupted():
                    return _leave(course)
                if course.crew is None:
                    _start(course, say)
                    saved = began = time.monotonic()
                answers = course.demand(course.ask({"do": "steps", "count": pace.steps}, _BEAT_LIMIT))
                if cause := next((answer["cause"] for answer in answers.values() if "cause" in answer), None):
                    if interrupted():
                        return _STOPPED
                    raise CourseLost(f"the ranks left off: {cause}")
                now = time.monotonic()
                elapsed, began = elapsed + now - began, now
                beat = _beat(answers, elapsed, pace.steps, session, restarts)
                heartbeat.append(path, beat)
                pace.learn(beat.step_s)
                fruitless = 0
                say(f"{elapsed:.0f} of {plan.seconds:.0f} s, step {beat.step}, loss {beat.loss:.4f}")
                if now - saved >= plan.save_s:
                    course.save()
                    prune(course.root, course.strategy.ranks)
                    saved = now
            except (CourseLost, CrewLost) as error:
                say(f"restarting: {error}")
                course.end()
                restarts += 1
                fruitless += 1
                if fruitless >= _RESTARTS_WITHOUT_A_BEAT:
                    return f"{fruitless} starts in a row came to nothing; the last one: {error}"
        course.save()
        prune(course.root, course.strategy.ranks)
        return None
    finally:
        course.end()


def _leave(course: Course) -> str:
    """Saves before leaving: the ranks were told between two jobs, and do nothing about it of their own accord."""
    if course.crew is None:
        return "it was told to stop; no ranks were at work"
    course.save()
    return _STOPPED


def _start(course: Course, say: Callable[[str], None]) -> None:
    checkpoint = course.latest()
    say("starting the ranks" if checkpoint is None else f"starting the ranks at step {checkpoint.step}")
    course.start(checkpoint)


def _beat(answers: Mapping[int, Mapping[str, Any]], elapsed: float, steps: int, session: int, restarts: int) -> Beat:
    def most(name: str) -> Any:
        return max(answer[name] for answer in answers.values())

    first = answers[min(answers)]
    return Beat(
        time=time.time(),
        elapsed_s=elapsed,
        step=int(first["step"]),
        loss=float(first["losses"][-1]),
        step_s=float(most("seconds")) / steps,
        device_bytes=int(most("device_bytes")),
        host_bytes=int(most("host_bytes")),
        handles=int(most("handles")),
        session=session,
        restarts=restarts,
    )
