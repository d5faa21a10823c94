"""Stable Diffusion in a scheme of inference: every network by itself, and whole sampling. PyTorch alone.

Sampling here is NumPy's, in float64, from what the denoising network says: see ``sampling_path``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapter_conform.certification.arrays import as_text
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import SCHEMES
from adapter_conform.certification.recipes.pictures import (
    Batch,
    Guide,
    alphas,
    picture_digests,
    sampling_path,
    sampling_times,
    start_of,
    validation_batches,
)
from adapter_conform.certification.recipes.starting import Weights, neighbouring
from adapter_conform.certification.recorder.conditions import VARIANTS, Conditions
from adapter_conform.certification.recorder.diffusion.model import StableDiffusion
from adapter_conform.certification.recorder.inference import rounded_weights
from adapter_conform.certification.recorder.networks import load_weights

__all__ = ["measure_painting"]

Floats = NDArray[np.float32]


def measure_painting(recipe: Recipe, conditions: Conditions, weights: Weights) -> tuple[Measurement, Any]:
    """The measurement of one run, and the network. Every run but float32's first is given what that one sampled."""
    first = (conditions.precision, conditions.variant.name) == ("float32", "base")
    guide = None if first else _guide(recipe, conditions, weights)
    measurement = Measurement(recipe.id, recipe.digest, conditions.precision, conditions.variant.name)
    painter = _Painter(recipe, conditions, weights)
    for batch in validation_batches(recipe):
        start = time.perf_counter()
        measurement.losses.append(painter.loss(batch))
        measurement.seconds.append(round(time.perf_counter() - start, 6))
    states = painter.states()
    path, noise = painter.sampled(states)
    arrays = {"states": states, "noise": noise, "latents": path[-1], "pictures": painter.decoded(path[-1])}
    if guide is None:
        guide = Guide(noise, states)
    else:
        known = guide.path(recipe)
        arrays["noise"] = np.stack(
            [painter.halves(number, known[number], guide.states) for number in range(len(noise))]
        )
        arrays["decoder"] = painter.decoded(known[-1])
    measurement.arrays = {name: as_text(array) for name, array in arrays.items()}
    measurement.tokens_per_step = recipe.schedule.tokens_per_step
    measurement.digests = {**picture_digests(recipe), "guide": guide.digest}
    measurement.executed = {"weight_bytes": painter.weight_bytes}
    return measurement, painter.network


def _guide(recipe: Recipe, conditions: Conditions, weights: Weights) -> Guide:
    exact = Conditions(conditions.device, conditions.threads, "float32", VARIANTS["base"])
    painter = _Painter(recipe, exact, weights)
    states = painter.states()
    return Guide(painter.sampled(states)[1], states)


class _Painter:
    """The networks in a scheme; arrays in, float32 arrays out."""

    def __init__(self, recipe: Recipe, conditions: Conditions, weights: Weights) -> None:
        self._recipe, self._conditions, scheme = recipe, conditions, SCHEMES[conditions.precision]
        self.network, self.weight_bytes = StableDiffusion(recipe, conditions.variant.attention), 0
        if conditions.variant.moved_weights:
            weights = neighbouring(weights)
        if scheme.bits:
            weights, self.weight_bytes = rounded_weights(recipe, weights, scheme)
        load_weights(self.network, weights)
        self._dtype = getattr(torch, scheme.dtype)
        self.network.to(self._dtype).to(conditions.device).eval()
        self._scale = float(recipe.settings["scaling_factor"])
        self._start = start_of(recipe)
        self._times = sampling_times(int(recipe.option("steps")))

    def _run(self, network: Callable[..., Any], *inputs: NDArray[Any]) -> Floats:
        """Rows go in as the variant has them, and come out in their own order."""
        backwards = self._conditions.variant.reversed_rows
        tensors = [self._tensor(rows[::-1] if backwards else rows) for rows in inputs]
        with torch.no_grad():
            found = np.asarray(network(*tensors).float().cpu().numpy())
        return found[::-1] if backwards else found

    def _tensor(self, array: NDArray[Any]) -> Any:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._conditions.device)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def states(self) -> Floats:
        """Of no caption, and of the captions: [2 * items, words, width]."""
        return self._run(self.network.states, np.concatenate([self._start.empty, self._start.captions]))

    def halves(self, number: int, latents: NDArray[Any], states: Floats) -> Floats:
        """What step ``number`` of sampling predicts without the captions, and with them: [2, items, ...]."""
        both = np.concatenate([latents, latents]).astype(np.float32)
        times = np.full(len(both), self._times[number], dtype=np.int64)
        return self._run(self.network.unet, both, times, states).reshape(2, *latents.shape)

    def sampled(self, states: Floats) -> tuple[list[Floats], Floats]:
        """Latents before each step and after the last; what each predicted, [steps, 2, items, ...]."""
        path: list[Floats] = []
        noise: list[Floats] = []

        def predicted() -> Iterator[Floats]:
            for number in range(len(self._times)):
                noise.append(self.halves(number, path[-1], states))
                yield noise[-1]

        for latents in sampling_path(self._recipe, predicted()):
            path.append(latents.astype(np.float32))
        return path, np.stack(noise)

    def decoded(self, latents: Floats) -> Floats:
        return self._run(self.network.vae.decode, latents / np.float32(self._scale))

    def loss(self, batch: Batch) -> float:
        """Mean squared error of the noise that is predicted in held-out pictures."""
        latents = self._run(self.network.vae.encode, batch.pictures) * np.float32(self._scale)
        share = alphas()[batch.times].astype(np.float32)[:, None, None, None]
        noisy = np.sqrt(share) * latents + np.sqrt(1 - share) * batch.noise
        states = self._run(self.network.states, batch.captions)
        found = self._run(self.network.unet, noisy, batch.times, states)
        return float(np.mean((found.astype(np.float64) - batch.noise) ** 2))
