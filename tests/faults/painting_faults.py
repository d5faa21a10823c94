"""Faults of a device that paints with Stable Diffusion; switched on by inference_faults.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from adapter_conform.certification.tasks.inference import painting
from adapter_conform.certification.tasks.inference.networks import Networks
from adapter_conform.models.diffusion import StableDiffusion

__all__ = ["PAINTING"]


@contextmanager
def second_picture_of_a_batch(paddle: ModuleType) -> Iterator[None]:
    """The exported denoising network gives the last row of a batch the noise of the first."""
    right = Networks.run

    def run(networks: Networks, name: str, *inputs: Any) -> Any:
        found = right(networks, name, *inputs)
        if networks.lowered and name == "unet":
            found = paddle.concat([found[:-1], found[:1]])
        return found

    with mock.patch.object(Networks, "run", run):
        yield


@contextmanager
def guidance_left_out(_paddle: ModuleType) -> Iterator[None]:
    """Sampling takes what the network says of the caption, and does not lead away from what it says without."""
    with mock.patch.object(painting, "guided", lambda _recipe, halves: halves[1]):
        yield


class _Late:
    """A sampler whose every step but the first is taken at the time of the step before."""

    def __init__(self, right: Any) -> None:
        self._right, self._before = right, None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._right, name)

    def step(self, noise: Any, time: Any, latents: Any) -> Any:
        late = time if self._before is None else self._before
        self._before = time
        return self._right.step(noise, late, latents)


@contextmanager
def sampler_a_step_late(_paddle: ModuleType) -> Iterator[None]:
    """The sampler looks up its shares of picture and noise one step late."""
    right = StableDiffusion.sampler
    with mock.patch.object(StableDiffusion, "sampler", lambda model, steps: _Late(right(model, steps))):
        yield


@contextmanager
def one_wrong_scale(paddle: ModuleType) -> Iterator[None]:
    """One layer, the only one with 64 inputs in a proxy (in the middle of the denoising network), takes the scale of
    each channel from another one; all others are right."""
    right = paddle.nn.quant.weight_quantize

    def quantize(x: Any, *arguments: Any, **named: Any) -> Any:
        numbers, scales = right(x, *arguments, **named)
        return numbers, paddle.flip(scales, axis=[-1]) if x.shape[0] == 64 else scales

    with mock.patch.object(paddle.nn.quant, "weight_quantize", quantize):
        yield


PAINTING = (second_picture_of_a_batch, guidance_left_out, sampler_a_step_late, one_wrong_scale)
