"""Stable Diffusion's networks in a scheme of inference, called eagerly or exported. What goes in and comes out is
float32 (captions and times are int64), so that nothing around them depends on the scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import Scheme, linear_inputs
from adapter_conform.certification.tasks.diffusion import build_stable_diffusion
from adapter_conform.certification.tasks.inference.exporting import Program
from adapter_conform.certification.tasks.inference.layers import quantize_in_place, sublayer
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.diffusion import StableDiffusion
from adapter_conform.models.diffusion_names import paddle_name
from adapter_conform.models.weights import Weights
from adapter_conform.quantization.integers import dequantized, quantized

__all__ = ["NETWORKS", "WAYS", "Networks", "PreparedDiffusion", "prepare_diffusion"]

NETWORKS = ("text_encoder", "unet", "decoder")
"""Those that painting needs. The encoder is for training; here it prepares held-out pictures."""
WAYS = ("eager", "static")
_ROWS = 32
"""Drawn for each quantized layer."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PreparedDiffusion:
    model: StableDiffusion
    """Its weights and integers are on the device."""
    dtype: str
    weight_bytes: int
    """Of the quantized layers' weights and scales on the device."""
    layer_errors: Mapping[str, float]
    """Quantized layer -> relative error of its product, see :func:`_error_of`."""


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
    arrays = {name: (layer.weight.numpy(), layer.bias) for name, layer in layers.items()}
    biases = {name: 0.0 if bias is None else bias.numpy() for name, (_, bias) in arrays.items()}
    size = quantize_in_place(place.paddle, model.layer, layers, scheme, {})
    errors = {
        name: _error_of(place, scheme, sublayer(model.layer, name), weight, biases[name])
        for name, (weight, _) in arrays.items()
    }
    return PreparedDiffusion(model, scheme.dtype, size, errors)


def _error_of(place: Workplace, scheme: Scheme, layer: Any, weight: Floats, bias: Any) -> float:
    """Of what the quantized ``layer`` gives for drawn rows, against the product by definition: integers and scales of
    ``weight`` [in, out] in float64. One layer among many hardly shows in what a network says."""

    def narrowed(array: Any) -> Floats:
        tensor = place.tensor(np.asarray(array, dtype=np.float32)).astype(scheme.dtype)
        return np.asarray(tensor.astype("float32").numpy())

    integers = quantized(narrowed(weight), scheme.bits, scheme.group_of(len(weight)))
    integers = replace(integers, scales=narrowed(integers.scales))
    rows = narrowed(np.random.RandomState(len(weight)).standard_normal((_ROWS, len(weight))))
    wanted = rows @ dequantized(integers) + narrowed(bias)
    with place.paddle.no_grad():
        found = layer(place.tensor(rows).astype(scheme.dtype)).astype("float32").numpy()
    return float(np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)))


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

    found: dict[str, Any] = dict(zip(NETWORKS, (TextEncoder(), Denoiser(), Decoder()), strict=True))
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
