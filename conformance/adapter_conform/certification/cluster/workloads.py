"""What is planned, by one interface: a training of a language model, or of Stable Diffusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Protocol

from adapter_conform.certification.cluster.diffusion_model import diffusion_model
from adapter_conform.certification.cluster.memory import Memory, Training, memory, reserved, states
from adapter_conform.certification.cluster.model import LANGUAGE_MODELS, language_model
from adapter_conform.certification.cluster.strategy import Strategy, strategies
from adapter_conform.certification.cluster.timing import efficiency
from adapter_conform.certification.recipes import Recipe
from adapter_conform.errors import UsageProblem

__all__ = ["DiffusionWorkload", "LanguageWorkload", "Workload", "workload_of"]

_BYTES_A_TOKEN = 4
"""int32"""


class Workload(Protocol):
    """A recipe with the model of its memory and arithmetic."""

    recipe: Recipe
    flops_per_step: float
    """Of the model; recomputation not counted."""
    bytes_per_step: float
    """Of data."""
    saved: int
    """Parameters in a checkpoint: those that are trained."""
    starts: int
    """Parameters read at the start."""
    divides: str
    """What the number of cards has to divide, in words."""

    def strategies(self, cards: int) -> Iterator[Strategy]:
        """All that use every card."""

    def memory(self, strategy: Strategy) -> Memory:
        """On the fullest card."""

    def rank(self, strategy: Strategy, need: Memory) -> tuple[float, ...]:
        """The greatest is the best of those that fit."""


class LanguageWorkload:
    divides = "layers, heads and {rows} rows"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.schedule = recipe, recipe.schedule
        self.model = language_model(recipe.standard_model.architecture, recipe.settings)
        self.training = self._training()
        tokens = self.schedule.tokens_per_step
        self.flops_per_step = tokens * self.model.flops_per_token(self.schedule.length)
        self.bytes_per_step = float(_BYTES_A_TOKEN * tokens)
        self.saved = self.model.total if self.training.trained is None else self.training.trained
        self.starts = self.model.total if recipe.starts_from else 0

    def strategies(self, cards: int) -> Iterator[Strategy]:
        return strategies(self.model, cards, self.schedule.rows, self.schedule.length)

    def memory(self, strategy: Strategy) -> Memory:
        return memory(self.model, strategy, self.schedule.length, self.training)

    def rank(self, strategy: Strategy, need: Memory) -> tuple[float, ...]:
        return efficiency(strategy, self.schedule.rows), -need.total

    def _training(self) -> Training:
        recipe, model = self.recipe, self.model
        if recipe.task == "lora":
            rank = recipe.option("rank")
            widths = 4 * model.hidden + 2 * (model.hidden + model.key_value) + 3 * (model.hidden + model.inner)
            return Training(trained=int(model.layers * rank * widths))
        if recipe.task == "prefix":
            return Training(trained=int(model.layers * recipe.option("tokens") * 2 * model.key_value))
        return Training(frozen_copies=1 if recipe.task == "dpo" else 0)


class DiffusionWorkload:
    """One card holds all of it: replicas share the rows, and split the states where that is asked for.

    Text encoder and autoencoder are bfloat16 as all else is. Data are pictures of one byte a colour and their captions.
    """

    divides = "{rows} rows"

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, rows = recipe, recipe.schedule.rows
        self.model = diffusion_model(recipe.settings, recipe.task)
        self._row = {recompute: self.model.activation_bytes(recompute) for recompute in (False, True)}
        self.flops_per_step = rows * self.model.flops_per_row
        self.bytes_per_step = rows * (3.0 * self.model.side**2 + _BYTES_A_TOKEN * self.model.words)
        self.saved = self.model.trained
        self.starts = self.model.frozen + (self.model.trained if recipe.starts_from else 0)

    def strategies(self, cards: int) -> Iterator[Strategy]:
        """Plain data parallelism, and every stage of sharding."""
        rows = self.recipe.schedule.rows
        if rows % cards:
            return
        for stage, micro, recompute in product(
            (0, 1, 2, 3) if cards > 1 else (0,), _powers_of_two(rows // cards), (False, True)
        ):
            sharding, replicas = (cards, 1) if stage else (1, cards)
            yield Strategy(1, 1, sharding, stage, replicas, 1, 1, micro, recompute)

    def memory(self, strategy: Strategy) -> Memory:
        model = self.model
        activations = strategy.micro * self._row[strategy.recompute]
        return reserved(states(model.trained + model.frozen, model.trained, strategy), activations)

    def rank(self, strategy: Strategy, need: Memory) -> tuple[float, ...]:
        """Equally fast: more rows at a time, which keeps a card busy, and then the simpler stage."""
        return efficiency(strategy, self.recipe.schedule.rows), strategy.micro, -strategy.stage


def _powers_of_two(number: int) -> list[int]:
    """Those that divide ``number``."""
    return [1 << place for place in range(number.bit_length()) if number % (1 << place) == 0]


_WORKLOADS: Mapping[str, Callable[[Recipe], Any]] = {
    **dict.fromkeys(LANGUAGE_MODELS, LanguageWorkload),
    "stable_diffusion": DiffusionWorkload,
}


def workload_of(recipe: Recipe) -> Workload:
    """Raises UsageProblem for a model whose memory is not modelled."""
    architecture = recipe.standard_model.architecture
    if architecture not in _WORKLOADS:
        raise UsageProblem(f"there is no memory model for {architecture}; there are {', '.join(_WORKLOADS)}")
    workload: Workload = _WORKLOADS[architecture](recipe)
    return workload
