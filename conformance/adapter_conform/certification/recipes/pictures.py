"""Pictures with captions, noise and times: what Stable Diffusion is trained and asked with. NumPy only.

Every number comes from ``random_sample`` and ``randint`` by sums and products in a fixed order, so that every machine
draws the same bits: noise is the sum of twelve even numbers less six (mean 0, variance 1), not a logarithm of one.
A batch is drawn when it is asked for; at full scale they would not fit in memory together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.arrays import as_array
from adapter_conform.certification.digests import arrays_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes.recipe import Recipe

__all__ = [
    "TIMES",
    "Batch",
    "Guide",
    "Probe",
    "Start",
    "alphas",
    "guided",
    "picture_digests",
    "probe_of",
    "sampling_path",
    "sampling_times",
    "start_of",
    "training_batch",
    "validation_batches",
]

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]

TIMES = 1000
"""Steps from a picture to noise."""
_BETAS = (0.00085, 0.012)
"""First and last share of noise; between them their square roots rise evenly (Stable Diffusion's "scaled linear")."""

_TRAINING, _VALIDATION, _SAMPLING, _PROBE = 11, 12, 13, 14
_TUNING = 100
"""Added to the purpose of draws for SFT, whose pictures are others."""


@dataclass(frozen=True)
class Batch:
    """Rows of one step; pictures lie between -1 and 1."""

    pictures: Floats
    """[rows, 3, height, width]"""
    captions: Tokens
    """[rows, words]"""
    noise: Floats
    """[rows, 4, height, width] of the latent numbers"""
    times: Tokens
    """[rows], 0 .. TIMES - 1"""

    def rows_reversed(self) -> Batch:
        return Batch(self.pictures[::-1], self.captions[::-1], self.noise[::-1], self.times[::-1])


@dataclass(frozen=True)
class Start:
    """What sampling starts from."""

    captions: Tokens
    """[items, words]"""
    empty: Tokens
    """[items, words]: the caption without a word, for guidance"""
    noise: Floats
    """[items, 4, height, width]"""


@dataclass(frozen=True)
class Probe:
    """Inputs of each network alone, so that a fault of one is not taken for one of another."""

    pictures: Floats
    captions: Tokens
    latents: Floats
    """[1, 4, height, width]"""
    states: Floats
    """[1, words, width]: what the text encoder might have said"""
    times: Tokens


def alphas() -> NDArray[np.float64]:
    """Share of the picture that is left at each time, as a product: float64 [TIMES].

    sqrt(alpha) x + sqrt(1 - alpha) noise is the noisy picture (Ho et al., Denoising Diffusion, 2020, equation 4).
    """
    betas = np.linspace(_BETAS[0] ** 0.5, _BETAS[1] ** 0.5, TIMES) ** 2
    product: NDArray[np.float64] = np.cumprod(1.0 - betas)
    return product


def sampling_times(steps: int) -> list[int]:
    """From noise to picture; the last is 1, as Stable Diffusion's scheduler has it (``steps_offset``)."""
    return [(TIMES // steps) * step + 1 for step in reversed(range(steps))]


def guided(recipe: Recipe, halves: Any) -> Any:
    """The noise that a step of sampling takes, of ``halves`` [2, items, ...]: what the network predicts without the
    caption, and with it (Ho and Salimans, Classifier-Free Diffusion Guidance, 2022)."""
    empty, told = halves
    return empty + recipe.option("guidance") * (told - empty)


def sampling_path(recipe: Recipe, halves: Iterable[Any]) -> Iterator[NDArray[np.float64]]:
    """Latent numbers before each step and after the last, float64 [items, 4, height, width].

    ``halves``: what the network predicted in each step, see :func:`guided`; a step's are asked for when its latents
    were given. Without chance: Song et al., Denoising Diffusion Implicit Models, 2021, equation 12 with sigma 0.
    """
    share, steps = alphas(), int(recipe.option("steps"))
    latents = start_of(recipe).noise.astype(np.float64)
    yield latents
    for time, half in zip(sampling_times(steps), halves, strict=True):
        noise = guided(recipe, np.asarray(half, dtype=np.float64))
        now, then = share[time], share[max(time - TIMES // steps, 0)]
        picture = (latents - np.sqrt(1.0 - now) * noise) / np.sqrt(now)
        latents = np.sqrt(then) * picture + np.sqrt(1.0 - then) * noise
        yield latents


@dataclass(frozen=True)
class Guide:
    """What a reference in float32 sampled, which every network is given, so that no error of an earlier step or of
    another network is taken for its own."""

    noise: Floats
    """What each step predicted: [steps, 2, items, 4, height, width], see :func:`guided`"""
    states: Floats
    """What the text encoder said of no caption and of the captions: [2 * items, words, width]"""

    @classmethod
    def of(cls, run: Measurement) -> Guide:
        """Raises ValueError where ``run``, a reference in float32, did not record it."""
        if not {"noise", "states"} <= run.arrays.keys():
            raise ValueError(f"the reference's run of {run.recipe} recorded no noise and states to go by")
        return cls(as_array(run.arrays["noise"]), as_array(run.arrays["states"]))

    def path(self, recipe: Recipe) -> list[Floats]:
        """Latents before each step and after the last."""
        return [latents.astype(np.float32) for latents in sampling_path(recipe, self.noise)]

    @property
    def digest(self) -> str:
        return arrays_digest(self.noise, self.states)


def training_batch(recipe: Recipe, step: int) -> Batch:
    """Of ``step``, counted from 0."""
    return _batch(recipe, _state(recipe, _TRAINING, step))


def validation_batches(recipe: Recipe) -> Iterator[Batch]:
    for number in range(recipe.evaluation.validation_batches):
        yield _batch(recipe, _state(recipe, _VALIDATION, number))


def start_of(recipe: Recipe) -> Start:
    state = _state(recipe, _SAMPLING, 0)
    _, captions = _pictures(recipe, state, recipe.evaluation.items)
    empty = np.tile(_caption(recipe, np.zeros((1, 0), np.int64)), (recipe.evaluation.items, 1))
    return Start(captions, empty, _noise(state, (recipe.evaluation.items, *_latent_shape(recipe))))


def probe_of(recipe: Recipe) -> Probe:
    state = _state(recipe, _PROBE, 0)
    pictures, captions = _pictures(recipe, state, 1)
    width = int(recipe.settings["unet"]["cross_attention_dim"])
    return Probe(
        pictures,
        captions,
        _noise(state, (1, *_latent_shape(recipe))),
        _noise(state, (1, captions.shape[1], width)),
        state.randint(0, TIMES, 1).astype(np.int64),
    )


def picture_digests(recipe: Recipe) -> dict[str, str]:
    """sha256 of ``training``, ``validation`` and ``questions``."""

    def of(batches: Iterator[Batch]) -> str:
        found = hashlib.sha256()
        for batch in batches:
            found.update(arrays_digest(batch.pictures, batch.captions, batch.noise, batch.times).encode())
        return found.hexdigest()

    start, probe = start_of(recipe), probe_of(recipe)
    return {
        "training": of(training_batch(recipe, step) for step in range(recipe.schedule.steps)),
        "validation": of(validation_batches(recipe)),
        "questions": arrays_digest(
            *(start.captions, start.noise, probe.pictures, probe.captions, probe.latents, probe.states, probe.times)
        ),
    }


def _state(recipe: Recipe, purpose: int, number: int) -> np.random.RandomState:
    tuning = _TUNING if recipe.task == "sft" else 0
    return np.random.RandomState([recipe.seed, purpose + tuning, number])


def _batch(recipe: Recipe, state: np.random.RandomState) -> Batch:
    rows = recipe.schedule.rows
    pictures, captions = _pictures(recipe, state, rows)
    noise = _noise(state, (rows, *_latent_shape(recipe)))
    return Batch(pictures, captions, noise, state.randint(0, TIMES, rows).astype(np.int64))


def _latent_shape(recipe: Recipe) -> tuple[int, int, int]:
    settings = recipe.settings["unet"]
    return int(settings["in_channels"]), int(settings["sample_size"]), int(settings["sample_size"])


def _noise(state: np.random.RandomState, shape: tuple[int, ...]) -> Floats:
    total: NDArray[Any] = np.full(shape, -6.0)
    for _ in range(12):
        total += state.random_sample(shape)
    return total.astype(np.float32)


def _pictures(recipe: Recipe, state: np.random.RandomState, rows: int) -> tuple[Floats, Tokens]:
    """A square of one colour on a ground of another, a little grain, and the five words that tell it all."""
    size = int(recipe.settings["unet"]["sample_size"]) << (len(recipe.settings["vae"]["block_out_channels"]) - 1)
    words = state.randint(0, 8, (rows, 5))
    pictures = (state.random_sample((rows, 3, size, size)) - 0.5) * 0.25
    for picture, (ground, colour, top, left, extent) in zip(pictures, words, strict=True):
        picture += _colour(ground) * 0.5
        first, second = size * top // 16, size * left // 16
        side = size * (extent + 4) // 16
        picture[:, first : first + side, second : second + side] += _colour(colour) * 0.375
    return pictures.astype(np.float32), _caption(recipe, words + 8 * np.arange(5) + 1)


def _colour(number: int) -> NDArray[np.float64]:
    """Red, green, blue: each -1 or 1, float64 [3, 1, 1]."""
    return np.array([[[2.0 * (number >> bit & 1) - 1.0]] for bit in range(3)])


def _caption(recipe: Recipe, words: NDArray[Any]) -> Tokens:
    """Begin, words, and ends until the row is full, as CLIP's tokenizer does."""
    settings = recipe.settings["text_encoder"]
    end = int(settings["vocab_size"]) - 1
    captions = np.full((len(words), int(settings["max_position_embeddings"])), end, np.int64)
    captions[:, 0] = end - 1
    captions[:, 1 : 1 + words.shape[1]] = words
    return captions
