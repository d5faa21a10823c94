"""Stable Diffusion's three networks: version 1.5 as published, and a small one with every part of it.

Settings have the names of diffusers (``unet``, ``vae``) and transformers (``text_encoder``); source of the true ones:
the ``config.json`` files of the published model. ``attention_head_dim`` is a number of heads there, whatever it says.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SMALL_STABLE_DIFFUSION", "STABLE_DIFFUSION"]

STABLE_DIFFUSION: dict[str, Any] = {
    "unet": {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 2,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "norm_num_groups": 32,
    },
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
    },
    "text_encoder": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
    },
    "scaling_factor": 0.18215,
}

SMALL_STABLE_DIFFUSION: dict[str, Any] = {
    "unet": {
        **STABLE_DIFFUSION["unet"],
        "sample_size": 8,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
    "vae": {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
    },
    "text_encoder": {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "hidden_act": "quick_gelu",
    },
    "scaling_factor": 5.0,
}
"""Its autoencoder is drawn and never trained; scaled so, its latent numbers are near one, as the true model's are."""
