"""Faults under Stable Diffusion, switched on one at a time: what certification has to find; see training_faults.py."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from adapter_conform.certification.tasks import diffusion, measuring
from training_faults import preloaded, replaced

__all__ = ["FAULTS", "OF_NETWORKS", "OF_TRAINING"]

BLOCK = "unet.mid_block."


def group_norm_epsilon(paddle: ModuleType) -> Any:
    """The kernel has an epsilon of its own, 1e-5, and does not look at the one that it is given."""

    def make(original: Any) -> Any:
        def group_norm(x: Any, groups: int, _epsilon: float, *arguments: Any) -> Any:
            return original(x, groups, 1e-5, *arguments)

        return group_norm

    return replaced(paddle.nn.layer.norm, "group_norm", make)


def _embedding(change: Callable[[Any, int, bool, float], tuple[Any, ...]]) -> Any:
    def make(original: Any) -> Any:
        def embedding(times: Any, width: int, flip_sin_to_cos: bool, downscale_freq_shift: float, **named: Any) -> Any:
            return original(*change(times, width, flip_sin_to_cos, downscale_freq_shift), **named)

        return embedding

    return replaced(importlib.import_module("ppdiffusers.models.embeddings"), "get_timestep_embedding", make)


def swapped_time_embedding(_paddle: ModuleType) -> Any:
    """Sines come before cosines."""
    return _embedding(lambda times, width, flip, shift: (times, width, not flip, shift))


def shifted_time_embedding(_paddle: ModuleType) -> Any:
    """Wave lengths are spread over one frequency less, as other models have it."""
    return _embedding(lambda times, width, flip, shift: (times, width, flip, shift + 1))


def next_time_embedding(_paddle: ModuleType) -> Any:
    """The time is that of the next step: off by one."""
    return _embedding(lambda times, width, flip, shift: (times + 1, width, flip, shift))


def padding_on_the_wrong_side(paddle: ModuleType) -> Any:
    """The autoencoder pads above and at the left before it halves a picture."""

    def make(original: Any) -> Any:
        def pad(x: Any, widths: Any, *arguments: Any, **named: Any) -> Any:
            return original(x, (1, 0, 1, 0) if tuple(widths) == (0, 1, 0, 1) else widths, *arguments, **named)

        return pad

    return replaced(paddle.nn.functional, "pad", make)


def bfloat16_convolution(paddle: ModuleType) -> Any:
    """Convolutions of float32 round what they give to bfloat16."""

    def make(original: Any) -> Any:
        def convolution(*arguments: Any, **named: Any) -> Any:
            found = original(*arguments, **named)
            return found + (found.astype("bfloat16").astype(found.dtype) - found).detach()

        return convolution

    return replaced(paddle.nn.functional.conv, "_conv_nd", make)


def _before_training(change: Callable[[str, Any], None]) -> Any:
    """``change`` sees every parameter by name before the first step."""

    def make(original: Any) -> Any:
        def task(place: Any, recipe: Any, model: Any) -> Any:
            for name, parameter in model.layer.named_parameters():
                change(name, parameter)
            return original(place, recipe, model)

        return task

    return replaced(measuring, "diffusion_task", make)


def missing_block_gradient(_paddle: ModuleType) -> Any:
    """No gradient reaches the middle of the denoising network: its parameters get zeros."""

    def change(name: str, parameter: Any) -> None:
        if name.startswith(BLOCK):
            parameter.register_hook(lambda gradient: gradient * 0.0)

    return _before_training(change)


def thawed_text_encoder(_paddle: ModuleType) -> Any:
    """SFT trains the text encoder too, which is to stay as it was."""

    def change(name: str, parameter: Any) -> None:
        if name.startswith("text_encoder."):
            parameter.stop_gradient = False

    return _before_training(change)


def _denoising(change: Callable[[Any], Any]) -> Any:
    def make(original: Any) -> Any:
        return lambda self, batch: change(original(self, batch))

    return replaced(diffusion._Denoising, "_loss", make)


def doubled_gradient(_paddle: ModuleType) -> Any:
    """Gradients keep a factor of two that should have been taken out; the loss is right."""
    return _denoising(lambda loss: loss + (loss - loss.detach()))


def lost_row_gradient(paddle: ModuleType) -> Any:
    """The gradient of half the rows is lost on its way back from the denoising network; the loss knows them all."""

    def make(original: Any) -> Any:
        def predict(self: Any, latents: Any, times: Any, states: Any) -> Any:
            found = original(self, latents, times, states)
            half = found.shape[0] // 2
            return paddle.concat([found[:half], found[half:].detach()]) if half else found

        return predict

    return replaced(diffusion.StableDiffusion, "predict", make)


_OF_NETWORKS = (
    group_norm_epsilon,
    swapped_time_embedding,
    shifted_time_embedding,
    next_time_embedding,
    padding_on_the_wrong_side,
    bfloat16_convolution,
)
_OF_TRAINING = (missing_block_gradient, thawed_text_encoder, doubled_gradient, lost_row_gradient)
OF_NETWORKS, OF_TRAINING = (tuple(fault.__name__ for fault in faults) for faults in (_OF_NETWORKS, _OF_TRAINING))
"""Found in the first step, in the network that has it; and what goes wrong between loss and weights."""

FAULTS: dict[str, Callable[[ModuleType], Any]] = {fault.__name__: fault for fault in (*_OF_NETWORKS, *_OF_TRAINING)}


def __getattr__(name: str) -> Any:
    """``plant_<fault>``: what ADAPTER_CONFORM_PRELOAD calls with a session."""
    fault = FAULTS.get(name.removeprefix("plant_"))
    if fault is None or not name.startswith("plant_"):
        raise AttributeError(name)
    return preloaded(fault)
