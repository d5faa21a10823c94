"""Training by predicting noise (Ho et al., 2020), and sampling without chance (Song et al., DDIM, 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapter_conform.certification.measurement import Item
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.pictures import (
    Batch,
    alphas,
    picture_digests,
    probe_of,
    sampling_times,
    start_of,
    training_batch,
    validation_batches,
)
from adapter_conform.certification.recorder.conditions import Conditions, autocast
from adapter_conform.models.diffusion_names import learning, paddle_name

__all__ = ["Denoising"]


class Denoising:
    def __init__(self, recipe: Recipe, network: Any, conditions: Conditions) -> None:
        self.recipe, self.network, self.conditions = recipe, network, conditions
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(learning(name, recipe.task))
        self.learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.digests = picture_digests(recipe)
        self.curves: dict[str, list[float]] = {}
        self.tokens_per_step = recipe.schedule.tokens_per_step
        self._scale = float(recipe.settings["scaling_factor"])
        self._alphas = self._tensor(alphas().astype(np.float32))

    def _tensor(self, array: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.conditions.device)

    def _run(self, network: Callable[..., Any], *inputs: Any) -> Any:
        """float32, whatever ``network`` computed in."""
        with autocast(self.conditions):
            found = network(*inputs)
        return found.float()

    def _loss(self, batch: Batch) -> Any:
        noise, times = self._tensor(batch.noise), self._tensor(batch.times)
        with torch.no_grad():
            latents = self._run(self.network.vae.encode, self._tensor(batch.pictures)) * self._scale
        states = self._run(self.network.states, self._tensor(batch.captions))
        share = self._alphas[times][:, None, None, None]
        noisy = share.sqrt() * latents + (1.0 - share).sqrt() * noise
        return torch.nn.functional.mse_loss(self._run(self.network.unet, noisy, times, states), noise)

    def loss(self, step: int) -> Any:
        batch = training_batch(self.recipe, step)
        return self._loss(batch.rows_reversed() if self.conditions.variant.reversed_rows else batch)

    def validation_loss(self) -> float | None:
        with torch.no_grad():
            return float(np.mean([float(self._loss(batch)) for batch in validation_batches(self.recipe)]))

    def items(self) -> list[Item]:
        return []

    def figures(self) -> dict[str, float]:
        return {}

    def probe(self) -> dict[str, NDArray[np.float32]]:
        """Each network alone, and the norms of all gradients of the first step."""
        inputs, network = probe_of(self.recipe), self.network
        latents = self._tensor(inputs.latents)
        with torch.no_grad():
            found = {
                "part text encoder": self._run(network.states, self._tensor(inputs.captions)),
                "part encoder": self._run(network.vae.encode, self._tensor(inputs.pictures)),
                "part decoder": self._run(network.vae.decode, latents),
                "part unet": self._run(network.unet, latents, self._tensor(inputs.times), self._tensor(inputs.states)),
            }
        arrays = {name: tensor.cpu().numpy() for name, tensor in found.items()}
        return {**arrays, "gradients": self._gradients()}

    def _gradients(self) -> NDArray[np.float32]:
        """Norm of each parameter's gradient in the first step, in the order of Paddle's names."""
        self.loss(0).backward()
        named = {paddle_name(name): item for name, item in self.network.named_parameters() if item.requires_grad}
        norms = [np.linalg.norm(named[name].grad.double().cpu().numpy()) for name in sorted(named)]
        self.network.zero_grad()
        return np.array(norms, dtype=np.float32)

    def sample(self) -> dict[str, NDArray[np.float32]]:
        """``noise`` that every step predicts, with guidance; the last ``latents``; ``pictures``."""
        steps, guidance = int(self.recipe.option("steps")), self.recipe.option("guidance")
        share, start = alphas(), start_of(self.recipe)
        with torch.no_grad():
            states = self._run(self.network.states, self._tensor(np.concatenate([start.empty, start.captions])))
            latents = self._tensor(start.noise)
            noises = []
            for time in sampling_times(steps):
                times = torch.full((len(states),), time, device=latents.device)
                empty, told = self._run(self.network.unet, torch.cat([latents, latents]), times, states).chunk(2)
                noise = empty + guidance * (told - empty)
                now, then = share[time], share[max(time - 1000 // steps, 0)]
                picture = (latents - (1.0 - now) ** 0.5 * noise) / now**0.5
                latents = then**0.5 * picture + (1.0 - then) ** 0.5 * noise
                noises.append(noise)
            pictures = self._run(self.network.vae.decode, latents / self._scale)
        found = {"noise": torch.stack(noises), "latents": latents, "pictures": pictures}
        return {name: tensor.cpu().numpy() for name, tensor in found.items()}
