"""The best strategy that fits, or what would make one fit."""

from __future__ import annotations

from dataclasses import dataclass

from adapter_conform.certification.cluster.memory import GIB, Memory
from adapter_conform.certification.cluster.strategy import Strategy
from adapter_conform.certification.cluster.timing import Cost, cost
from adapter_conform.certification.cluster.workloads import Workload, workload_of
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
    workload: Workload
    strategy: Strategy
    memory: Memory
    cost: Cost
    fitting: int
    """Strategies that fit."""

    @property
    def recipe(self) -> Recipe:
        return self.workload.recipe


def plan_recipe(recipe: Recipe, cluster: Cluster) -> Planned:
    """Raises UsageProblem where nothing fits; the message says what would."""
    workload = workload_of(recipe)
    fitting = [
        (strategy, need) for strategy, need in _needs(workload, cluster.cards) if need.total <= cluster.memory_gib * GIB
    ]
    if not fitting:
        raise UsageProblem(_why_none(workload, cluster))
    best, need = max(fitting, key=lambda item: workload.rank(*item))
    price = cost(workload, best, cluster.peak_tflops, cluster.mfu)
    return Planned(workload, best, need, price, len(fitting))


def _needs(workload: Workload, cards: int) -> list[tuple[Strategy, Memory]]:
    return [(strategy, workload.memory(strategy)) for strategy in workload.strategies(cards)]


def _why_none(workload: Workload, cluster: Cluster) -> str:
    recipe = workload.recipe
    words = f"{recipe.id}: no strategy fits {cluster.cards} cards of {cluster.memory_gib:g} GiB"
    here = [need.total for _, need in _needs(workload, cluster.cards)]
    if here:
        words += f"; the least that one needs there is {min(here) / GIB:.1f} GiB a card"
    else:
        words += f"; {cluster.cards} cards do not divide {workload.divides.format(rows=recipe.schedule.rows)} evenly"
    cards = 1
    while cards <= _MOST_CARDS:
        if cards > cluster.cards:
            least = min((need.total for _, need in _needs(workload, cards)), default=float("inf"))
            if least <= cluster.memory_gib * GIB:
                return f"{words}\nIt fits on {cards} cards of this kind ({least / GIB:.1f} GiB a card)."
        cards *= 2
    more = "\nNo number of such cards would do; a card needs more memory."
    return words + (f"{more[:-1]}: at least {min(here) / GIB:.1f} GiB with {cluster.cards} cards." if here else more)
