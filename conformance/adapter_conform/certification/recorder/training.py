"""The training loop: AdamW, gradients clipped by their global norm, one figure a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from adapter_conform.certification.recipes import Schedule

__all__ = ["Curves", "NotFinite", "shortest", "train"]


class NotFinite(Exception):
    """A loss or a gradient norm that is no number."""


@dataclass
class Curves:
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def shortest(value: float) -> float:
    """The same float32, written with the fewest digits."""
    return float(f"{value:.9g}")


def train(
    parameters: Sequence[Any],
    loss_of: Callable[[int], Any],
    schedule: Schedule,
    after: Callable[[int, float], None],
) -> Curves:
    """Trains ``parameters`` for the steps of ``schedule``.

    ``loss_of`` gives the scalar loss of a step, counted from 0; ``after`` is called with the number of steps done and
    the loss, outside the time that is measured.

    Raises:
        NotFinite: with the step, counted from 1.
    """
    optimizer = torch.optim.AdamW(
        parameters,
        lr=schedule.learning_rate,
        betas=(schedule.beta1, schedule.beta2),
        eps=schedule.epsilon,
        weight_decay=schedule.weight_decay,
    )
    curves = Curves()
    for step in range(schedule.steps):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate_at(step)
        loss = loss_of(step)
        loss.backward()
        norm = _clip(parameters, schedule.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        figures = shortest(loss.item()), shortest(norm)  # item() waits for the device
        if not all(map(math.isfinite, figures)):
            raise NotFinite(f"step {step + 1}: loss {figures[0]}, gradient norm {figures[1]}")
        curves.seconds.append(round(time.perf_counter() - start, 6))
        curves.losses.append(figures[0])
        curves.gradient_norms.append(figures[1])
        after(step + 1, figures[0])
    return curves


def _clip(parameters: Sequence[Any], limit: float) -> float:
    """Scales all gradients by ``limit / max(norm, limit)``, as Paddle does; returns the norm before."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    scale = limit / torch.clamp(norm, min=limit)
    for gradient in gradients:
        gradient.mul_(scale)
    return float(norm)
