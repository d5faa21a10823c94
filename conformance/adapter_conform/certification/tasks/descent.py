"""The training loop, and what it measures of each step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe, Schedule
from adapter_conform.certification.tasks.workplace import Task, Workplace
from adapter_conform.models.training import Placement, inspect, trained_state

__all__ = ["Trainer"]

_INSPECTED_AT_START = 3
"""Placement is looked at in each of this many first steps, and in the last."""


def _silent(_done: int) -> None:
    return


@dataclass
class Trainer:
    """AdamW on what is trainable in ``task``. What it measures is appended to ``measurement``, step by step, so that a
    run which ends early leaves its figures."""

    place: Workplace
    recipe: Recipe
    task: Task
    measurement: Measurement
    placement: Placement = field(default_factory=Placement)
    progress: Callable[[int], None] = _silent
    """Called with the number of steps done."""

    def __post_init__(self) -> None:
        schedule = self.recipe.schedule
        self.optimizer = self.place.paddle.optimizer.AdamW(
            learning_rate=schedule.learning_rate,
            beta1=schedule.beta1,
            beta2=schedule.beta2,
            epsilon=schedule.epsilon,
            weight_decay=schedule.weight_decay,
            parameters=[parameter for _, parameter in self.task.trainable],
            grad_clip=self.place.paddle.nn.ClipGradByGlobalNorm(schedule.clip_norm),
        )

    def run(self, steps: Iterable[int] | None = None) -> None:
        """Does ``steps``, counted from 0; all of the recipe's without."""
        self.task.model.train()
        for step in range(self.recipe.schedule.steps) if steps is None else steps:
            self._step(step)
            done = step + 1
            if self._validated(done) and self.task.validate is not None:
                self.task.model.eval()
                self.measurement.validation_losses[str(done)] = self.task.validate()
                self.task.model.train()
            self.progress(done)
        self.task.model.eval()

    def _validated(self, done: int) -> bool:
        every = self.recipe.evaluation.every
        return done == self.recipe.schedule.steps or (every > 0 and done % every == 0)

    def _step(self, step: int) -> None:
        schedule: Schedule = self.recipe.schedule
        inspected = step < _INSPECTED_AT_START or step == schedule.steps - 1
        start = time.perf_counter()
        self.optimizer.set_lr(schedule.learning_rate_at(step))
        with self.place.autocast():
            loss, figures = self.task.loss(step)
        loss.backward()
        norm = self._gradient_norm()
        if inspected:  # before the optimizer, whose kernel may move what reaches it
            inspect(self._gradients(loss), self.place.device, step, self.placement)
        self.optimizer.step()
        if inspected:
            inspect(trained_state(self.task.model, self.optimizer), self.place.device, step, self.placement)
        self.optimizer.clear_grad()
        self.measurement.losses.append(self.place.mean(loss))
        self.measurement.seconds.append(time.perf_counter() - start)
        self.measurement.gradient_norms.append(norm)
        for name, figure in figures.items():
            self.measurement.curves.setdefault(name, []).append(figure)

    def _gradient_norm(self) -> float:
        """Of all gradients together, before clipping."""
        paddle = self.place.paddle
        squares = [
            paddle._C_ops.squared_l2_norm(parameter.grad).reshape([1])
            for _, parameter in self.task.trainable
            if parameter.grad is not None
        ]
        return math.sqrt(float(paddle.concat(squares).sum()))

    def _gradients(self, loss: Any) -> list[tuple[str, Any]]:
        found = [("loss", loss)]
        for name, parameter in self.task.trainable:
            if parameter.grad is not None or not any(part in name for part in self.task.may_lack_gradients):
                found.append((f"gradient {name}", parameter.grad))
        return found
