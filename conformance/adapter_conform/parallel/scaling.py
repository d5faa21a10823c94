"""How training scales: tokens a second, linearity, and the share of the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapter_conform.parallel.models import LENGTH, MODELS
from adapter_conform.parallel.strategies import Strategy

__all__ = ["Scaling", "flops_per_token", "scaled"]


@dataclass(frozen=True)
class Scaling:
    cards: int
    step_s: float
    tokens_per_s: float
    linearity: float
    """Tokens a second and card, over those of the smallest number of cards; 1 is perfect."""
    mfu: float | None
    """Model FLOPs utilization; ``None`` without a peak."""


def flops_per_token(model: str) -> float:
    """Of forward and backward: 6 N + 12 L H Q T (PaLM, appendix B), N without the embedding table."""
    settings = MODELS[model].settings
    hidden, layers = settings["hidden_size"], settings["num_hidden_layers"]
    heads = settings["num_attention_heads"]
    size = hidden // heads
    key_value = settings.get("num_key_value_heads", heads) * size
    layer = 2 * hidden * hidden + 2 * hidden * key_value + 3 * hidden * settings["intermediate_size"] + 2 * hidden
    parameters = layers * layer + hidden + hidden * settings["vocab_size"]
    return float(6 * parameters + 12 * layers * heads * size * LENGTH)


def scaled(strategies: Sequence[Strategy], seconds: Sequence[float], peak: float | None) -> list[Scaling]:
    """``seconds`` of a step under each strategy; ``peak`` in FLOP/s of one card. The first is the yardstick."""
    rates = [strategy.batch * LENGTH / step for strategy, step in zip(strategies, seconds, strict=True)]
    share = rates[0] / strategies[0].ranks
    return [
        Scaling(
            strategy.ranks,
            step,
            rate,
            rate / strategy.ranks / share,
            None if peak is None else rate * flops_per_token(strategy.model) / (strategy.ranks * peak),
        )
        for strategy, step, rate in zip(strategies, seconds, rates, strict=True)
    ]
