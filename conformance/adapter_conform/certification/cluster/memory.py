"""Bytes on the fullest card; activations are a language model's, those of Stable Diffusion stand with its layers.

States, in mixed precision with Adam (Rajbhandari et al. 2020, ZeRO, section 3.1): 2 bytes a parameter for bfloat16
weights, 2 for gradients, 12 for float32 master weights and two moments; sharding stage 1 divides the 12, stage 2 also
the gradients, stage 3 everything by the degree. Of an adapter only its own parameters are trained; DPO keeps a second,
frozen copy of the weights.

Activations a token and layer, flash attention, no sequence parallelism inside tensor parallelism (the accounting of
Korthikanti et al. 2022, section 4): GPT 10 h + 24 h / t with dropout. A gated layer without dropout: inputs of two
norms, of attention and of the feed-forward part 8 h; queries, attention's result (2 h each) and keys and values (2 each
of their width) / t; gate, up and their product 6 f / t. Recomputed: the layer's input, 2 h, and one layer in full. The
first pipeline stage holds as many micro-batches as there are stages (1F1B). Logits: bfloat16, and float32 twice for the
loss and its gradient, over t.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapter_conform.certification.cluster.model import LanguageModel
from adapter_conform.certification.cluster.strategy import Strategy

__all__ = ["GIB", "Memory", "Training", "memory", "reserved", "states"]

GIB = 2**30
_RESERVE = 0.40
"""Of all tensors: temporaries, fragmentation, communication buffers. Calibrated: against PaddleNLP's published table
the tensors counted here are up to 29 % low (see published.py), and a plan that runs out of memory is worse than a slow
one. Of Stable Diffusion nothing is published that would calibrate it more finely."""
_RUNTIME = 2 * GIB
"""Context, libraries, workspaces; the published table has it as "physical use is 2-3 GB more". Assumed."""


@dataclass(frozen=True)
class Training:
    """What a task trains of a model."""

    trained: int | None = None
    """Parameters of an adapter; None: all of the model."""
    frozen_copies: int = 0
    """Further copies of the weights: the reference policy of DPO."""


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    reserve: float

    @property
    def total(self) -> float:
        return self.allocated + self.reserve

    @property
    def allocated(self) -> float:
        """Tensors alone: what ``max_memory_allocated`` would say."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def memory(model: LanguageModel, strategy: Strategy, length: int, training: Training) -> Memory:
    """Of rows of ``length`` tokens."""
    held = _parameters_of_a_card(model, strategy)
    share = 1.0 if training.trained is None else training.trained / model.total
    tokens = strategy.micro * length / strategy.sep
    logits = tokens * model.vocabulary / strategy.tp * (2 + 4 + 4)
    parts = states(held * (1 + training.frozen_copies), held * share, strategy)
    return reserved(parts, _activations(model, strategy, length), logits)


def states(held: float, trained: float, strategy: Strategy) -> tuple[float, float, float]:
    """Weights, gradients, and master weights with moments, of ``held`` parameters of which ``trained`` are trained."""
    degree, stage = strategy.sharding, strategy.stage
    return (
        2 * held / (degree if stage == 3 else 1),
        2 * trained / (degree if stage >= 2 else 1),
        12 * trained / (degree if stage >= 1 else 1),
    )


def reserved(parts: tuple[float, float, float], activations: float, logits: float = 0.0) -> Memory:
    """With what no tensor accounts for."""
    return Memory(*parts, activations, logits, _RESERVE * (sum(parts) + activations + logits) + _RUNTIME)


def _parameters_of_a_card(model: LanguageModel, strategy: Strategy) -> float:
    """Of the fullest stage: the first has the embedding, the last the head."""
    layers = model.layers / strategy.pp
    experts = model.expert_layer / strategy.ep
    ends = model.embedding * (2 if strategy.pp == 1 and not model.tied else 1)
    return (layers * (model.dense + experts) + ends) / strategy.tp


def _activations(model: LanguageModel, strategy: Strategy, length: int) -> float:
    tokens = strategy.micro * length / strategy.sep
    layers = model.layers / strategy.pp * strategy.pp  # 1F1B: pp micro-batches of layers / pp on the first stage
    full = _layer_bytes(model, strategy.tp) * tokens
    if not strategy.recompute:
        return layers * full
    return layers * 2 * model.hidden * tokens + full


def _layer_bytes(model: LanguageModel, tp: int) -> float:
    """A token and layer."""
    if not model.gated:
        return 10 * model.hidden + 24 * model.hidden / tp
    inner = model.inner + model.chosen * model.expert_inner
    routed = 2 * model.hidden * model.chosen * 2 if model.experts else 0  # sent to experts and back
    return 8 * model.hidden + (4 * model.hidden + 4 * model.key_value + 6 * inner) / tp + routed
