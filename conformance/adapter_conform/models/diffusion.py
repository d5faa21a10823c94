"""Stable Diffusion: the denoising network, the image autoencoder and the text encoder.

The only module that imports ppdiffusers. :func:`build_diffusion` gives the small one of :mod:`diffusion_settings`, its
weights drawn by NumPy; :class:`StableDiffusion` one of any size, for certification.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.diffusion_settings import SMALL_STABLE_DIFFUSION

__all__ = [
    "Diffusion",
    "StableDiffusion",
    "build_diffusion",
    "noise_loss",
    "sampled_image",
    "why_no_diffusion",
]

_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
"""Of Stable Diffusion v1."""

_STEPS_OF_TRAINING = 100
_STEPS_OF_SAMPLING = 5
_SCALE = float(SMALL_STABLE_DIFFUSION["scaling_factor"])
_LATENT = int(SMALL_STABLE_DIFFUSION["unet"]["sample_size"])
_IMAGE = _LATENT << (len(SMALL_STABLE_DIFFUSION["vae"]["block_out_channels"]) - 1)
_WORDS = int(SMALL_STABLE_DIFFUSION["text_encoder"]["max_position_embeddings"])
_VOCABULARY = int(SMALL_STABLE_DIFFUSION["text_encoder"]["vocab_size"])


def why_no_diffusion() -> str | None:
    """Why the models cannot be built here, and what to do; ``None`` where they can. Imports nothing."""
    if importlib.util.find_spec("ppdiffusers") is not None:
        return None
    return "ppdiffusers is not installed; install adapter-sdk[diffusion]: pip install 'adapter-sdk[diffusion]'"


@dataclass(frozen=True)
class Diffusion:
    denoiser: Any
    autoencoder: Any
    text_encoder: Any
    library: ModuleType


def build_diffusion(paddle: ModuleType, seed: int) -> Diffusion:
    """The three models on Paddle's current device: latents 4 x 8 x 8, images 3 x 16 x 16, texts of 8 words."""
    models = _networks(SMALL_STABLE_DIFFUSION)
    for number, model in enumerate((models.denoiser, models.autoencoder, models.text_encoder)):
        _draw_weights(model, seed + number)
    models.autoencoder.eval()
    models.text_encoder.eval()
    return models


def _networks(settings: Mapping[str, Any]) -> Diffusion:
    library = importlib.import_module("ppdiffusers")
    transformers = importlib.import_module("paddlenlp.transformers")
    return Diffusion(
        library.UNet2DConditionModel(**settings["unet"]),
        library.AutoencoderKL(**settings["vae"]),
        transformers.CLIPTextModel(transformers.CLIPTextConfig(**settings["text_encoder"])),
        library,
    )


class StableDiffusion:
    """A whole Stable Diffusion on Paddle's current device, its weights to come from a file.

    ``layer`` holds its networks as ``unet``, ``vae`` and ``text_encoder``; it has no forward pass of its own.
    """

    def __init__(self, paddle: ModuleType, settings: Mapping[str, Any]) -> None:
        models = _networks(settings)
        self.layer = paddle.nn.Layer()
        self.layer.unet, self.layer.vae = models.denoiser, models.autoencoder
        self.layer.text_encoder = models.text_encoder
        self._library = models.library

    def encode(self, pictures: Any) -> Any:
        """The mean of the latent distribution, without chance."""
        return self.layer.vae.encode(pictures).latent_dist.mode()

    def decode(self, latents: Any) -> Any:
        return self.layer.vae.decode(latents).sample

    def states(self, captions: Any) -> Any:
        """What the text encoder says of ``captions`` int64 [rows, words]: [rows, words, width]."""
        return self.layer.text_encoder(captions)[0]

    def predict(self, latents: Any, times: Any, states: Any) -> Any:
        """The noise in ``latents`` at ``times`` int64 [rows]."""
        return self.layer.unet(latents, times, states).sample

    def noising(self) -> Any:
        """What mixes latents and noise in training: ``add_noise(latents, noise, times)``."""
        return self._library.DDPMScheduler(**_BETAS)

    def sampler(self, steps: int) -> Any:
        """DDIM with ``steps`` steps: ``timesteps``, and ``step(noise, time, latents).prev_sample``."""
        scheduler = self._library.DDIMScheduler(**_BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        scheduler.set_timesteps(steps)
        return scheduler


def _draw_weights(model: Any, seed: int) -> None:
    draw = np.random.RandomState(seed)
    for name, tensor in sorted(model.state_dict().items()):
        if "float" in str(tensor.dtype):
            noise = draw.standard_normal(tuple(tensor.shape)) * 0.05
            is_scale = "norm" in name and name.endswith("weight")
            tensor.set_value((noise + 1.0 if is_scale else noise).astype(np.float32))


def _texts(paddle: ModuleType, models: Diffusion, draw: np.random.RandomState) -> Any:
    return models.text_encoder(paddle.to_tensor(draw.randint(0, _VOCABULARY, (2, _WORDS))))[0]


def noise_loss(paddle: ModuleType, models: Diffusion, seed: int) -> Any:
    """The loss of one training step on drawn images and texts: how well the noise in their latents is predicted."""
    draw = np.random.RandomState(seed)
    scheduler = models.library.DDPMScheduler(num_train_timesteps=_STEPS_OF_TRAINING)
    images = paddle.to_tensor(draw.standard_normal((2, 3, _IMAGE, _IMAGE)).astype(np.float32))
    with paddle.no_grad():
        latents = models.autoencoder.encode(images).latent_dist.mean * _SCALE
        texts = _texts(paddle, models, draw)
    noise = paddle.to_tensor(draw.standard_normal(latents.shape).astype(np.float32))
    times = paddle.to_tensor(draw.randint(0, _STEPS_OF_TRAINING, (2,)))
    predicted = models.denoiser(scheduler.add_noise(latents, noise, times), times, texts).sample
    return paddle.nn.functional.mse_loss(predicted, noise)


def sampled_image(paddle: ModuleType, models: Diffusion, seed: int) -> NDArray[Any]:
    """Images that deterministic sampling (DDIM, five steps) makes of drawn noise and texts."""
    draw = np.random.RandomState(seed)
    scheduler = models.library.DDIMScheduler(num_train_timesteps=_STEPS_OF_TRAINING)
    scheduler.set_timesteps(_STEPS_OF_SAMPLING)
    models.denoiser.eval()
    with paddle.no_grad():
        x = paddle.to_tensor(draw.standard_normal((2, 4, _LATENT, _LATENT)).astype(np.float32))
        texts = _texts(paddle, models, draw)
        for time in scheduler.timesteps:
            x = scheduler.step(models.denoiser(x, time, texts).sample, time, x).prev_sample
        return np.asarray(models.autoencoder.decode(x / _SCALE).sample.numpy())
