"""Time and disk of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapter_conform.certification.cluster.strategy import CARDS_A_NODE, Strategy

if TYPE_CHECKING:
    from adapter_conform.certification.cluster.workloads import Workload

__all__ = ["CHECKPOINTS", "MFU", "Cost", "cost", "efficiency"]

MFU = 0.40
"""Model FLOPs utilisation without pipeline bubble and recomputation. Assumed; PaddleNLP's published LLaMA-13B figure
on A100 is 0.53."""
CHECKPOINTS = 3
"""Kept at a time."""
_TENSOR = 0.04
"""Lost for each doubling of tensor parallelism. Assumed, to rank strategies."""
_GATHER = 0.10
"""Lost by stage 3, which gathers parameters for every layer. Assumed, to rank strategies."""
_SEQUENCE = 0.04


@dataclass(frozen=True)
class Cost:
    tokens: int
    """Or pictures."""
    flops: float
    """Of the model; recomputation not counted."""
    seconds: float
    checkpoint_bytes: float
    """Of one: bfloat16 weights, float32 master weights and moments."""
    data_bytes: float
    start_bytes: float
    """Of the weights that training starts from, in bfloat16."""

    @property
    def disk_bytes(self) -> float:
        return CHECKPOINTS * self.checkpoint_bytes + self.data_bytes + self.start_bytes


def efficiency(strategy: Strategy, rows: int) -> float:
    """Share of MFU that a strategy keeps.

    Pipeline bubble (p - 1) / m (Narayanan et al. 2021); recomputation costs a second forward pass, a third more.
    """
    batches = rows // (strategy.replicas * strategy.micro)
    bubble = (strategy.pp - 1) / batches
    kept = (1 - _TENSOR) ** _doublings(strategy.tp) * (1 - _SEQUENCE) ** _doublings(strategy.sep)
    kept *= 1 - (_GATHER if strategy.stage == 3 else 0.0)
    return kept / (1 + bubble) / (4 / 3 if strategy.recompute else 1)


def cost(workload: Workload, strategy: Strategy, peak_tflops: float, mfu: float) -> Cost:
    schedule = workload.recipe.schedule
    flops = schedule.steps * workload.flops_per_step
    rate = strategy.cards * peak_tflops * 1e12 * mfu * efficiency(strategy, schedule.rows)
    data = schedule.steps * workload.bytes_per_step
    tokens = schedule.steps * schedule.tokens_per_step
    return Cost(tokens, flops, flops / rate, 14.0 * workload.saved, data, 2.0 * workload.starts)


def _doublings(degree: int) -> int:
    return degree.bit_length() - 1


def nodes(strategy: Strategy) -> int:
    return -(-strategy.cards // CARDS_A_NODE)
