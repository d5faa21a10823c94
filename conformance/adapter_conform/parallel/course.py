"""The supervisor's side of a training that may be interrupted: starts ranks, has them step and save, and starts again
from the last whole checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.collectives.crew import Answers, Crew
from adapter_conform.parallel.checkpoint import Checkpoint, latest
from adapter_conform.parallel.strategies import Strategy

__all__ = ["Course", "CourseLost"]

_DETERMINISTIC = {"FLAGS_cudnn_deterministic": "1", "FLAGS_embedding_deterministic": "1"}
"""Paddle's switches; a device that offers a faster, unrepeatable kernel reads them."""
_LIMIT = 300.0
"""Seconds for a job."""


class CourseLost(RuntimeError):
    """A rank did not do its job; the message says which, and what it said."""


@dataclass
class Course:
    """A training of ``strategy`` on ``plugin``, its checkpoints in ``root``."""

    plugin: str
    strategy: Strategy
    dtype: str
    seed: int
    weights: Path
    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further environment of the ranks."""
    deterministic: bool = True
    """With Paddle's switches for kernels that repeat their bits; otherwise as users train."""
    crew: Crew | None = None

    def start(self, checkpoint: Checkpoint | None = None) -> Answers:
        """Starts the ranks afresh, from a checkpoint where one is given.

        Raises:
            CourseLost: a rank could not begin.
            CrewLost: the ranks could not be started.
        """
        self.end()
        switches = _DETERMINISTIC if self.deterministic else {}
        self.crew = Crew(self.plugin, self.strategy.ranks, self.seed, {**os.environ, **switches, **self.settings})
        job = {"do": "begin", "strategy": asdict(self.strategy), "dtype": self.dtype, "seed": self.seed}
        job.update(weights=str(self.weights), root=str(self.root))
        if checkpoint is not None:
            job.update(checkpoint=str(checkpoint.folder), step=checkpoint.step)
        return self.demand(self.ask(job))

    def ask(self, job: Mapping[str, Any], limit: float = _LIMIT) -> Answers:
        """What the ranks answer to a job of :mod:`adapter_conform.parallel.enduring`, whatever befell them."""
        assert self.crew is not None, "start() comes first"
        return self.crew.run({"type": "endure", **job}, limit)

    def demand(self, answers: Answers) -> Answers:
        """The same answers.

        Raises:
            CourseLost: one is missing, or is an error.
        """
        silent = sorted(set(range(self.strategy.ranks)) - set(answers))
        faults = [f"rank {rank} gave no answer" for rank in silent]
        for rank, answer in sorted(answers.items()):
            if "ended" in answer:
                faults.append(f"rank {rank} ended with {answer['ended']}")
            elif "error" in answer:
                faults.append(f"rank {rank}: {answer['error']}")
        if faults:
            logs = "" if self.crew is None else self.crew.logs()[-3000:]
            raise CourseLost("; ".join(faults) + (f"\n{logs}" if logs else ""))
        return answers

    def steps(self, count: int) -> Answers:
        return self.demand(self.ask({"do": "steps", "count": count}))

    def save(self) -> Answers:
        return self.demand(self.ask({"do": "save"}))

    def latest(self) -> Checkpoint | None:
        return latest(self.root, self.strategy.ranks)

    def end(self) -> None:
        """Dismisses the ranks."""
        if self.crew is not None:
            self.crew.dismiss()
            self.crew = None
