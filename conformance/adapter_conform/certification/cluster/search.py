"""The fastest strategy that fits, or what would make one fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapter_conform.certification.cluster.memory import GIB, Memory, Training, memory
from adapter_conform.certification.cluster.model import LanguageModel, language_model
from adapter_conform.certification.cluster.strategy import Strategy, strategies
from adapter_conform.certification.cluster.timing import Cost, cost, efficiency
from adapter_conform.certification.recipes import Recipe
from adapter_conform.errors import UsageProblem

__all__ = ["Cluster", "Planned", "plan_recipe"]

_MOST_CARDS = 8192


@dataclass(frozen=True)
class Cluster:
    cards: int
    memory_gib: float
    """Of a card."""
    peak_tflops: float
    """Of a card, bfloat16."""
    mfu: float


@dataclass(frozen=True)
class Planned:
    recipe: Recipe
    model: LanguageModel
    strategy: Strategy
    memory: Memory
    cost: Cost
    fitting: int
    """Strategies that fit."""


def plan_recipe(recipe: Recipe, cluster: Cluster) -> Planned:
    """Raises UsageProblem where nothing fits; the message says what would."""
    model = language_model(recipe.standard_model.architecture, recipe.settings)
    schedule = recipe.schedule
    training = _training(recipe, model)
    fitting = [
        (strategy, need)
        for strategy, need in _needs(recipe, model, training, cluster.cards)
        if need.total <= cluster.memory_gib * GIB
    ]
    if not fitting:
        raise UsageProblem(_why_none(recipe, model, training, cluster))
    best, need = max(fitting, key=lambda item: (efficiency(item[0], schedule.rows), -item[1].total))
    price = cost(model, recipe, best, cluster.peak_tflops, cluster.mfu)
    return Planned(recipe, model, best, need, price, len(fitting))


def _needs(recipe: Recipe, model: LanguageModel, training: Training, cards: int) -> Iterator[tuple[Strategy, Memory]]:
    schedule = recipe.schedule
    for strategy in strategies(model, cards, schedule.rows, schedule.length):
        yield strategy, memory(model, strategy, schedule.length, training)


def _training(recipe: Recipe, model: LanguageModel) -> Training:
    if recipe.task == "lora":
        rank = recipe.option("rank")
        widths = 4 * model.hidden + 2 * (model.hidden + model.key_value) + 3 * (model.hidden + model.inner)
        return Training(trained=int(model.layers * rank * widths))
    if recipe.task == "prefix":
        return Training(trained=int(model.layers * recipe.option("tokens") * 2 * model.key_value))
    return Training(frozen_copies=1 if recipe.task == "dpo" else 0)


def _why_none(recipe: Recipe, model: LanguageModel, training: Training, cluster: Cluster) -> str:
    words = f"{recipe.id}: no strategy fits {cluster.cards} cards of {cluster.memory_gib:g} GiB"
    here = [need.total for _, need in _needs(recipe, model, training, cluster.cards)]
    if here:
        words += f"; the least that one needs there is {min(here) / GIB:.1f} GiB a card"
    else:
        words += f"; {cluster.cards} cards do not divide layers, heads and {recipe.schedule.rows} rows evenly"
    cards = 1
    while cards <= _MOST_CARDS:
        if cards > cluster.cards:
            least = min((need.total for _, need in _needs(recipe, model, training, cards)), default=float("inf"))
            if least <= cluster.memory_gib * GIB:
                return f"{words}\nIt fits on {cards} cards of this kind ({least / GIB:.1f} GiB a card)."
        cards *= 2
    more = "\nNo number of such cards would do; a card needs more memory."
    return words + (f"{more[:-1]}: at least {min(here) / GIB:.1f} GiB with {cluster.cards} cards." if here else more)
