"""The model families of the workloads, scaled down to two layers: PaddleNLP's class names and settings, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["ARCHITECTURES", "Architecture"]

_COMMON = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "use_cache": False,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2}


@dataclass(frozen=True)
class Architecture:
    """``model`` and ``config`` name classes of ``paddlenlp.transformers``."""

    model: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def vocabulary(self) -> int:
        return int(self.settings["vocab_size"])

    def having(self, settings: Mapping[str, Any]) -> Architecture:
        """The same with other settings."""
        return replace(self, settings={**self.settings, **settings})


ARCHITECTURES = {
    "llama_mha": Architecture("LlamaForCausalLM", "LlamaConfig", _COMMON),
    "llama_gqa": Architecture("LlamaForCausalLM", "LlamaConfig", _GROUPED),
    # The base of rotary embeddings is given, since the default of the release has changed.
    "qwen2": Architecture(
        "Qwen2ForCausalLM", "Qwen2Config", {**_GROUPED, "rope_theta": 1e6, "tie_word_embeddings": False}
    ),
    "qwen2_moe": Architecture(
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {
            **_GROUPED,
            "rope_theta": 1e6,
            "moe_intermediate_size": 48,
            "shared_expert_intermediate_size": 64,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "norm_topk_prob": False,
        },
    ),
    "gpt3": Architecture(
        "GPTForCausalLM",
        "GPTConfig",
        {**_COMMON, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    ),
}
