"""Stable Diffusion: training by predicting noise, and sampling without chance, both through ppdiffusers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.pictures import (
    Batch,
    probe_of,
    start_of,
    training_batch,
    validation_batches,
)
from adapter_conform.certification.tasks.workplace import Task, Workplace
from adapter_conform.models.diffusion import StableDiffusion
from adapter_conform.models.diffusion_names import diffusion_layout, learning
from adapter_conform.models.paddlenlp_adapter import load_weights
from adapter_conform.models.weights import Weights

__all__ = ["build_stable_diffusion", "diffusion_task"]

Arrays = dict[str, NDArray[np.float32]]


def build_stable_diffusion(paddle: ModuleType, recipe: Recipe, weights: Weights | None = None) -> StableDiffusion:
    """On Paddle's current device; without ``weights`` with whatever the library draws.

    Raises:
        ValueError: the weights are not those of the recipe's model.
    """
    model = StableDiffusion(paddle, recipe.settings)
    if weights is not None:
        load_weights(model.layer, diffusion_layout(weights))
    for name, parameter in model.layer.named_parameters():
        parameter.stop_gradient = not learning(name, recipe.task)
    return model


def diffusion_task(place: Workplace, recipe: Recipe, model: StableDiffusion) -> Task:
    return _Denoising(place, recipe, model).task()


class _Denoising:
    def __init__(self, place: Workplace, recipe: Recipe, model: StableDiffusion) -> None:
        self.place, self.paddle, self.recipe, self.model = place, place.paddle, recipe, model
        self._noising = model.noising()
        self._scale = float(recipe.settings["scaling_factor"])

    def task(self) -> Task:
        return Task(
            self.model.layer,
            lambda step: (self._loss(training_batch(self.recipe, step)), {}),
            validate=self._validation_loss,
            probe=self._probe,
            sample=self._sample,
        )

    def _run(self, network: Callable[..., Any], *inputs: Any) -> Any:
        """float32, whatever ``network`` computed in."""
        with self.place.autocast():
            found = network(*inputs)
        return found.astype("float32")

    def _loss(self, batch: Batch) -> Any:
        tensor = self.place.tensor
        noise, times = tensor(batch.noise), tensor(batch.times)
        with self.paddle.no_grad():
            latents = self._run(self.model.encode, tensor(batch.pictures)) * self._scale
        states = self._run(self.model.states, tensor(batch.captions))
        noisy = self._noising.add_noise(latents, noise, times)
        return self.paddle.nn.functional.mse_loss(self._run(self.model.predict, noisy, times, states), noise)

    def _validation_loss(self) -> float:
        with self.paddle.no_grad():
            return float(np.mean([float(self._loss(batch)) for batch in validation_batches(self.recipe)]))

    def _probe(self) -> Arrays:
        """Each network alone, and the norms of all gradients of the first step."""
        inputs, tensor = probe_of(self.recipe), self.place.tensor
        latents = tensor(inputs.latents)
        with self.paddle.no_grad():
            found = {
                "part text encoder": self._run(self.model.states, tensor(inputs.captions)),
                "part encoder": self._run(self.model.encode, tensor(inputs.pictures)),
                "part decoder": self._run(self.model.decode, latents),
                "part unet": self._run(self.model.predict, latents, tensor(inputs.times), tensor(inputs.states)),
            }
        return {**_read(found), "gradients": self._gradients()}

    def _gradients(self) -> NDArray[np.float32]:
        """Norm of each parameter's gradient in the first step, in the order of Paddle's names."""
        self._loss(training_batch(self.recipe, 0)).backward()
        named = {name: item for name, item in self.model.layer.named_parameters() if not item.stop_gradient}
        norms = [np.linalg.norm(named[name].grad.numpy().astype(np.float64)) for name in sorted(named)]
        self.model.layer.clear_gradients()
        return np.array(norms, dtype=np.float32)

    def _sample(self) -> Arrays:
        """``noise`` that every step predicts, with guidance; the last ``latents``; ``pictures``."""
        guidance, start = self.recipe.option("guidance"), start_of(self.recipe)
        sampler = self.model.sampler(int(self.recipe.option("steps")))
        with self.paddle.no_grad():
            states = self._run(self.model.states, self.place.tensor(np.concatenate([start.empty, start.captions])))
            latents = self.place.tensor(start.noise) * sampler.init_noise_sigma
            noises = []
            for time in sampler.timesteps:
                both = sampler.scale_model_input(self.paddle.concat([latents, latents]), time)
                empty, told = self._run(self.model.predict, both, time, states).chunk(2)
                noise = empty + guidance * (told - empty)
                latents = sampler.step(noise, time, latents).prev_sample
                noises.append(noise.numpy())
            pictures = self._run(self.model.decode, latents / self._scale)
        return {"noise": np.stack(noises), **_read({"latents": latents, "pictures": pictures})}


def _read(tensors: Mapping[str, Any]) -> Arrays:
    return {name: np.asarray(tensor.numpy()) for name, tensor in tensors.items()}
