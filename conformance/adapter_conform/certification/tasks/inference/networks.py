"""Stable Diffusion's networks in a scheme of inference, called eagerly or exported. What goes in and comes out is
float32 (captions and times are int64), so that nothing around them depends on the scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import Scheme, linear_inputs
from adapter_conform.certification.tasks.diffusion import build_stable_diffusion
from adapter_conform.certification.tasks.inference.exporting import Program
from adapter_conform.certification.tasks.inference.layers import quantize_in_place, sublayer
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.diffusion import StableDiffusion
from adapter_conform.models.diffusion_names import paddle_name
from adapter_conform.models.weights import Weights

__all__ = ["NETWORKS", "WAYS", "Networks", "PreparedDiffusion", "prepare_diffusion"]

NETWORKS = ("text_encoder", "unet", "decoder")
"""Those that painting needs. The encoder is for training; here it prepares held-out pictures."""
WAYS = ("eager", "static")


@dataclass(frozen=True)
class PreparedDiffusion:
    model: StableDiffusion
    """Its weights and integers are on the device."""
    dtype: str
    weight_bytes: int
    """Of the quantized layers' weights and scales on the device."""


def prepare_diffusion(place: Workplace, recipe: Recipe, weights: Weights, scheme: Scheme) -> PreparedDiffusion:
    """The recipe's model. Weights are quantized by the device, from their float32 values."""
    model = build_stable_diffusion(place.paddle, recipe, weights)
    model.layer.eval()
    names = [
        paddle_name(name).removesuffix(".weight")
        for name, array in weights.items()
        if scheme.bits and linear_inputs(recipe.standard_model.architecture, name, array.shape) is not None
    ]
    layers = {name: sublayer(model.layer, name) for name in names}
    size = quantize_in_place(place.paddle, model.layer, layers, scheme, {})
    return PreparedDiffusion(model, scheme.dtype, size)


class Networks:
    """``way`` is one of :data:`WAYS`; exported programs take as many rows as the recipe's schedule has, the decoder as
    many as pictures are sampled."""

    def __init__(self, place: Workplace, recipe: Recipe, prepared: PreparedDiffusion, way: str) -> None:
        self._paddle = place.paddle
        layers = _layers(place.paddle, prepared)
        self._networks: Mapping[str, Any] = layers
        self.passes = dict.fromkeys(NETWORKS, 0)
        """Of each network, so far."""
        self.lowered: dict[str, Any] = {}
        """Of exported programs: kernels on the device, and those that moved to the host."""
        if way == "static":
            specs = _specs(place.paddle, recipe)
            programs = {name: Program(place, layers[name], specs[name]) for name in NETWORKS}
            self._networks = programs
            self.lowered = {
                "on_device": sum(program.on_device for program in programs.values()),
                "moved": sorted({key for program in programs.values() for key in program.moved}),
            }

    def run(self, name: str, *inputs: Any) -> Any:
        """What the network says, float32: of captions; of latents, times and states; of latents."""
        self.passes[name] += 1
        with self._paddle.no_grad():
            return self._networks[name](*inputs)


def _layers(paddle: Any, prepared: PreparedDiffusion) -> dict[str, Any]:
    dtype, whole = prepared.dtype, prepared.model.layer

    class TextEncoder(paddle.nn.Layer):  # type: ignore[misc]  # the classes exist once Paddle is imported
        def __init__(self) -> None:
            super().__init__()
            self.network = whole.text_encoder

        def forward(self, captions: Any) -> Any:
            return self.network(captions)[0].astype("float32")

    class Denoiser(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = whole.unet

        def forward(self, latents: Any, times: Any, states: Any) -> Any:
            found = self.network(latents.astype(dtype), times, states.astype(dtype), return_dict=False)
            return found[0].astype("float32")

    class Decoder(paddle.nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network, self.before = whole.vae.decoder, whole.vae.post_quant_conv

        def forward(self, latents: Any) -> Any:
            return self.network(self.before(latents.astype(dtype))).astype("float32")

    found = dict(zip(NETWORKS, (TextEncoder(), Denoiser(), Decoder()), strict=True))
    for layer in found.values():
        layer.eval()
    return found


def _specs(paddle: Any, recipe: Recipe) -> dict[str, list[Any]]:
    rows, items, settings = recipe.schedule.rows, recipe.evaluation.items, recipe.settings
    size = int(settings["unet"]["sample_size"])
    latents = [int(settings["unet"]["in_channels"]), size, size]
    words = int(settings["text_encoder"]["max_position_embeddings"])
    spec = paddle.static.InputSpec
    return {
        "text_encoder": [spec([rows, words], "int64", "captions")],
        "unet": [
            spec([rows, *latents], "float32", "latents"),
            spec([rows], "int64", "times"),
            spec([rows, words, int(settings["unet"]["cross_attention_dim"])], "float32", "states"),
        ],
        "decoder": [spec([items, *latents], "float32", "latents")],
    }
