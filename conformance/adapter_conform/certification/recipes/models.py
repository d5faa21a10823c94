"""The models that the standard names: their true configurations, and proxies of the same architecture.

Settings have Hugging Face's names. Sources of the true ones: the ``config.json`` of the published models; GPT-3 from
Brown et al., Language Models are Few-Shot Learners, table 2.1. A proxy keeps what makes the architecture: grouped
heads, biases, experts, rotary base, normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter_conform.models.diffusion_settings import SMALL_STABLE_DIFFUSION, STABLE_DIFFUSION

__all__ = ["MODELS", "StandardModel"]


@dataclass(frozen=True)
class StandardModel:
    name: str
    """As in the standard."""
    architecture: str
    """llama, qwen2, qwen2_moe, gpt3, stable_diffusion"""
    full: Mapping[str, Any]
    proxy: Mapping[str, Any]
    stands_for: str = ""
    """Why another model's configuration is used, where it is."""


_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
_SMALL = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    **_TOKENS,
}

MODELS = {
    model.name: model
    for model in (
        StandardModel(
            "LLaMA1-13B",
            "llama",
            {
                "vocab_size": 32000,
                "hidden_size": 5120,
                "intermediate_size": 13824,
                "num_hidden_layers": 40,
                "num_attention_heads": 40,
                "num_key_value_heads": 40,
                "max_position_embeddings": 2048,
                "rms_norm_eps": 1e-6,
                "rope_theta": 10000.0,
                **_TOKENS,
            },
            {**_SMALL, "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 10000.0},
        ),
        StandardModel(
            "Qwen2-14B",
            "qwen2",
            {
                "vocab_size": 152064,
                "hidden_size": 5120,
                "intermediate_size": 13824,
                "num_hidden_layers": 48,
                "num_attention_heads": 40,
                "num_key_value_heads": 8,
                "max_position_embeddings": 32768,
                "rms_norm_eps": 1e-6,
                "rope_theta": 1e6,
                **_TOKENS,
            },
            {**_SMALL, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1e6},
            stands_for="no model of that name was published; the configuration is Qwen2.5-14B's",
        ),
        StandardModel("SD", "stable_diffusion", STABLE_DIFFUSION, SMALL_STABLE_DIFFUSION),
        StandardModel(
            "LLaMA3-70B",
            "llama",
            {
                "vocab_size": 128256,
                "hidden_size": 8192,
                "intermediate_size": 28672,
                "num_hidden_layers": 80,
                "num_attention_heads": 64,
                "num_key_value_heads": 8,
                "max_position_embeddings": 8192,
                "rms_norm_eps": 1e-5,
                "rope_theta": 500000.0,
                **_TOKENS,
            },
            {**_SMALL, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 500000.0},
        ),
        StandardModel(
            "Qwen2-57B-A14B",
            "qwen2_moe",
            {
                "vocab_size": 151936,
                "hidden_size": 3584,
                "intermediate_size": 18944,
                "num_hidden_layers": 28,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
                "max_position_embeddings": 131072,
                "rms_norm_eps": 1e-6,
                "rope_theta": 1e6,
                "num_experts": 64,
                "num_experts_per_tok": 8,
                "moe_intermediate_size": 2560,
                "shared_expert_intermediate_size": 20480,
                "norm_topk_prob": False,
                "decoder_sparse_step": 1,
                **_TOKENS,
            },
            {
                **_SMALL,
                "hidden_size": 64,
                "intermediate_size": 176,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-6,
                "rope_theta": 1e6,
                "num_experts": 8,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 96,
                "shared_expert_intermediate_size": 192,
                "norm_topk_prob": False,
                "decoder_sparse_step": 1,
            },
        ),
        StandardModel(
            "GPT-3-175B",
            "gpt3",
            {
                "vocab_size": 50304,
                "hidden_size": 12288,
                "intermediate_size": 49152,
                "num_hidden_layers": 96,
                "num_attention_heads": 96,
                "max_position_embeddings": 2048,
            },
            {**{key: value for key, value in _SMALL.items() if key not in _TOKENS}, "intermediate_size": 512},
        ),
    )
}
