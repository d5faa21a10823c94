"""Stable Diffusion as one module: ``unet``, ``vae``, ``text_encoder``."""

from __future__ import annotations

from typing import Any

import transformers
from torch import nn

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recorder.diffusion.autoencoder import Autoencoder
from adapter_conform.certification.recorder.diffusion.unet import UNet

__all__ = ["StableDiffusion"]


class StableDiffusion(nn.Module):  # type: ignore[misc]  # torch brings no types where this is checked
    def __init__(self, recipe: Recipe, attention: str) -> None:
        super().__init__()
        settings = dict(recipe.settings["text_encoder"])
        ends = {"bos_token_id": settings["vocab_size"] - 2, "eos_token_id": settings["vocab_size"] - 1}
        config = transformers.CLIPTextConfig(**settings, **ends, attn_implementation=attention)
        self.unet = UNet(recipe.settings["unet"], attention)
        self.vae = Autoencoder(recipe.settings["vae"], attention)
        self.text_encoder = transformers.CLIPTextModel(config)

    def states(self, captions: Any) -> Any:
        """What the text encoder says of ``captions`` int64 [rows, words]: [rows, words, width]."""
        return self.text_encoder(captions).last_hidden_state
