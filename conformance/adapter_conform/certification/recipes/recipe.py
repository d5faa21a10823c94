"""One thing that certification does: a task on a model, with all that has to be equal on device and reference."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from adapter_conform.certification.recipes.models import MODELS, StandardModel

__all__ = ["Evaluation", "Recipe", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay; gradients are clipped by their global norm."""

    steps: int
    rows: int
    length: int
    """Tokens of a row that are fed, the shifted label not counted; 1 where a row is a picture, which counts as one."""
    learning_rate: float = 1e-3
    warmup: int = 20
    """Steps."""
    floor: float = 0.1
    """Learning rate at the end, as a share of the largest."""
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 1.0

    def learning_rate_at(self, step: int) -> float:
        """Of ``step``, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress)))

    @property
    def tokens_per_step(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class Evaluation:
    """What is scored on data that was not trained on."""

    validation_batches: int = 8
    """Their mean loss is the validation loss."""
    items: int = 256
    """Scored one by one, so that device and reference can be compared in pairs; of diffusion: pictures sampled."""
    every: int = 0
    """Steps between validation losses; 0: at the end alone."""


@dataclass(frozen=True)
class Recipe:
    """``id`` is ``"<model>/<task>"`` in lower case, e.g. ``"llama1-13b/pretrain"``."""

    model: str
    """A key of :data:`MODELS`."""
    task: str
    """pretrain, sft, lora, prefix, dpo, inference; base: what SFT starts from"""
    level: str
    """I, II, III: the level of the standard that asks for it."""
    corpus: str
    """A key of :data:`corpora.CORPORA`."""
    schedule: Schedule
    evaluation: Evaluation = Evaluation()
    starts_from: str = ""
    """Id of the recipe whose recorded final weights this one starts from; empty: from the recorded initial weights."""
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    performance_only: bool = False
    """The standard asks for speed alone."""
    reference_only: bool = False
    """Trained by the recorder alone, so that others can start from what it learned."""
    options: tuple[tuple[str, float], ...] = ()
    """Of the task: rank and alpha of LoRA, beta of DPO, tokens of a prefix, positions of inference with all logits,
    steps and guidance of sampling."""
    scale: str = "proxy"
    """proxy, sample, full: see :mod:`table`."""
    seed: int = 0

    @property
    def id(self) -> str:
        return f"{self.model}/{self.task}".lower()

    @property
    def standard_model(self) -> StandardModel:
        return MODELS[self.model]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The model's configuration at this scale."""
        return self.standard_model.full if self.scale == "full" else self.standard_model.proxy

    def option(self, name: str) -> float:
        """Raises KeyError for an option that the task has not."""
        return dict(self.options)[name]

    @property
    def digest(self) -> str:
        """sha256 of everything above: measurements with other digests cannot be compared."""
        data = {**asdict(self), "settings": dict(self.settings)}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
