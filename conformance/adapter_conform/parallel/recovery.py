"""Interruptions of a training, and whether it goes on afterwards as if nothing had been.

Each function interrupts a fresh training in one way and returns what it found: complaints, and the losses of the steps
after the restart, by rank. They have to be those of the training that nothing interrupted: to the last bit where both
ran with Paddle's switches for deterministic kernels, else within what another order of summation explains.
"""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adapter_conform.collectives.crew import Answers
from adapter_conform.parallel.course import Course

__all__ = ["INTERRUPTIONS", "STEPS", "Found", "Interruption", "uninterrupted"]

STEPS = 20
_FIRST_SAVE = 6
_VICTIM = 1
Losses = dict[int, list[float]]
"""By rank."""


@dataclass
class Found:
    complaints: list[str] = field(default_factory=list)
    resumed_at: int = 0
    losses: Losses = field(default_factory=dict)
    answers: list[Answers] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def complain(self, condition: bool, what: str) -> None:
        """Notes ``what`` where the condition does not hold."""
        if not condition:
            self.complaints.append(what)


def _losses(answers: Answers) -> Losses:
    return {rank: list(answer["losses"]) for rank, answer in sorted(answers.items())}


def uninterrupted(course: Course) -> tuple[Losses, dict[int, str]]:
    """The losses of :data:`STEPS` steps, and the digest of what each rank holds in the end."""
    course.start()
    answers = course.steps(STEPS)
    course.save()
    course.end()
    checkpoint = course.latest()
    assert checkpoint is not None, "what has just been saved is whole"
    parts = [json.loads((checkpoint.folder / f"rank-{rank}.json").read_text()) for rank in range(len(answers))]
    return _losses(answers), {part["rank"]: part["sha256"] for part in parts}


def _go_on(course: Course, found: Found) -> Found:
    """Restarts from the last whole checkpoint and trains to the end."""
    checkpoint = course.latest()
    if checkpoint is None:
        found.complaints.append("no whole checkpoint is left")
        return found
    found.resumed_at = checkpoint.step
    course.start(checkpoint)
    answers = course.steps(max(1, STEPS - checkpoint.step))
    found.answers.append(answers)
    found.losses = _losses(answers)
    return found


def _killed(course: Course) -> Found:
    found = Found()
    course.start()
    course.steps(_FIRST_SAVE)
    course.save()
    at = random.Random(course.seed).randrange(_FIRST_SAVE, STEPS)
    answers = course.ask({"do": "steps", "count": STEPS - _FIRST_SAVE, "victim": _VICTIM, "die_at": at})
    found.notes["killed_in_step"] = at
    found.complain(answers.get(_VICTIM, {}).get("ended") == -signal.SIGKILL, "the victim was not killed")
    silent = sorted(set(range(course.strategy.ranks)) - set(answers))
    found.complain(not silent, f"rank(s) {silent} hang since another was killed")
    return _go_on(course, found)


def _killed_while_saving(course: Course) -> Found:
    found = Found()
    course.start()
    course.steps(_FIRST_SAVE)
    course.save()
    course.steps(_FIRST_SAVE)
    part = random.Random(course.seed).uniform(0.05, 0.95)
    answers = course.ask({"do": "save", "victim": _VICTIM, "die_at_part": part})
    found.notes["killed_after_part"] = part
    found.complain(answers.get(_VICTIM, {}).get("ended") == -signal.SIGKILL, "the victim was not killed")
    found = _go_on(course, found)
    found.complain(found.resumed_at == _FIRST_SAVE, f"a half-written checkpoint was taken: step {found.resumed_at}")
    return found


def _terminated(course: Course) -> Found:
    found = Found()
    course.start()
    at = random.Random(course.seed).randrange(2, STEPS - 2)
    job = {"do": "steps", "count": STEPS, "victim": _VICTIM, "terminate_at": at}
    answers = course.demand(course.ask(job))
    stopped = {int(answer["step"]) for answer in answers.values()}
    found.complain(len(stopped) == 1, f"ranks stopped at different steps: {sorted(stopped)}")
    found.complain(all(answer.get("cause") == "SIGTERM" for answer in answers.values()), "not all ranks stopped")
    found = _go_on(course, found)
    found.complain(found.resumed_at in stopped, f"resumed at {found.resumed_at}, not at the emergency checkpoint")
    return found


def _device_error(course: Course) -> Found:
    found = Found()
    course.start()
    at = random.Random(course.seed).randrange(2, STEPS - 2)
    answers = course.demand(course.ask({"do": "steps", "count": STEPS, "fail_at": at}))
    found.notes["causes"] = {str(rank): answer.get("cause", "") for rank, answer in answers.items()}
    found.complain(all("emergency" in answer for answer in answers.values()), "not all ranks saved on the error")
    found = _go_on(course, found)
    found.complain(found.resumed_at == at, f"resumed at {found.resumed_at}, not at the emergency checkpoint of {at}")
    return found


@dataclass(frozen=True)
class Interruption:
    statement: str
    act: Callable[[Course], Found]
    deterministic: bool = True
    """The losses have to go on bit by bit; otherwise without a spike."""


INTERRUPTIONS = {
    "killed_rank": Interruption(
        "after SIGKILL of a rank the losses go on bit by bit from the last checkpoint", _killed
    ),
    "killed_rank_as_users_train": Interruption(
        "after SIGKILL of a rank the losses go on without a spike where kernels need not repeat their bits",
        _killed,
        deterministic=False,
    ),
    "killed_while_saving": Interruption("a checkpoint that was being written is never taken", _killed_while_saving),
    "sigterm": Interruption("SIGTERM to one rank has all save one step and leave", _terminated),
    "device_error": Interruption("an error of the device in a step has all save the step before it", _device_error),
}
