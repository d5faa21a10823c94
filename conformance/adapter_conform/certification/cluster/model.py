"""Sizes of a language model from its configuration in Hugging Face's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter_conform.errors import UsageProblem

__all__ = ["LANGUAGE_MODELS", "LanguageModel", "language_model"]


@dataclass(frozen=True)
class LanguageModel:
    """Counts are parameters; of a layer they are split by what spreads them over cards."""

    architecture: str
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    inner: int
    """Width of the dense feed-forward part of a layer; of a mixture, of what every token passes (the shared expert)."""
    vocabulary: int
    experts: int = 0
    chosen: int = 0
    """Experts that a token passes."""
    expert_inner: int = 0
    gated: bool = True
    """SwiGLU: three matrices in the feed-forward part, not two."""
    tied: bool = False
    """The head is the embedding."""

    @property
    def key_value(self) -> int:
        """Width of keys, and of values."""
        return self.hidden // self.heads * self.key_value_heads

    @property
    def attention(self) -> int:
        return 2 * self.hidden * self.hidden + 2 * self.hidden * self.key_value

    @property
    def dense(self) -> int:
        """Of a layer, without experts; norms and biases are left out, below 0.1 %."""
        return self.attention + (3 if self.gated else 2) * self.hidden * self.inner

    @property
    def expert_layer(self) -> int:
        """All experts of a layer."""
        return self.experts * 3 * self.hidden * self.expert_inner

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def total(self) -> int:
        return self.layers * (self.dense + self.expert_layer) + self.embedding * (1 if self.tied else 2)

    @property
    def active(self) -> int:
        """Parameters that a token is multiplied with, the head included, the look-up of the embedding not."""
        passed = self.chosen * 3 * self.hidden * self.expert_inner
        return self.layers * (self.dense + passed) + self.embedding

    def flops_per_token(self, length: int) -> float:
        """Of a training step: 6 per active parameter, and 12 layers * hidden * length for attention's products.

        Source: Chowdhery et al. 2022, PaLM, appendix B; a causal mask is not counted as saving anything.
        """
        return 6.0 * self.active + 12.0 * self.layers * self.hidden * length


LANGUAGE_MODELS = ("llama", "qwen2", "qwen2_moe", "gpt3")
"""Architectures whose memory and time are modelled."""


def language_model(architecture: str, settings: Mapping[str, Any]) -> LanguageModel:
    """Raises UsageProblem for an architecture that is no language model."""
    if architecture not in LANGUAGE_MODELS:
        raise UsageProblem(
            f"there is no memory model for {architecture}\nplan-cluster knows the language models of the standard."
        )
    moe = "num_experts" in settings
    return LanguageModel(
        architecture=architecture,
        layers=int(settings["num_hidden_layers"]),
        hidden=int(settings["hidden_size"]),
        heads=int(settings["num_attention_heads"]),
        key_value_heads=int(settings.get("num_key_value_heads", settings["num_attention_heads"])),
        inner=int(settings["shared_expert_intermediate_size"] if moe else settings["intermediate_size"]),
        vocabulary=int(settings["vocab_size"]),
        experts=int(settings.get("num_experts", 0)),
        chosen=int(settings.get("num_experts_per_tok", 0)),
        expert_inner=int(settings.get("moe_intermediate_size", 0)),
        gated=architecture != "gpt3",
        tied=architecture == "gpt3",
    )
