"""A model in a scheme of the standard: its linear layers quantized, everything else in the scheme's dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import Scheme, calibration_rows, maxima_of_all
from adapter_conform.certification.tasks.building import build
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.weights import Weights
from adapter_conform.quantization.calibration import calibrated
from adapter_conform.quantization.linears import Int8, WeightOnly

__all__ = ["Prepared", "linear", "prepare", "quantize_in_place", "sublayer"]

_ROUTERS = ("gate", "shared_expert_gate")
"""Linear layers of a mixture of experts that stay as they are: they choose, and their few weights cost nothing."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    model: Any
    """Ready to run; its parameters and integers are on the device."""
    weight_bytes: int
    """Of the quantized layers' weights and scales on the device; 0 without any."""


def linear(paddle: Any, scheme: Scheme, weight: Array, bias: Array | None, maxima: Array | None) -> WeightOnly | Int8:
    """A linear layer of ``scheme`` for ``weight`` [in, out], quantized by the device, or calibrated on ``maxima``
    [in], the largest magnitude of each input."""
    if scheme.calibrated:
        if maxima is None:
            raise ValueError("int8 times int8 needs calibration: the layer was not reached by the calibration rows")
        return Int8(paddle, calibrated(weight, maxima[None], "absmax"), bias, scheme.dtype)
    group = scheme.group_of(len(weight))
    return WeightOnly.by_device(paddle, weight, bias, scheme.dtype, scheme.bits, group)


def prepare(place: Workplace, recipe: Recipe, weights: Weights, scheme: Scheme) -> Prepared:
    """The recipe's model. Weights are quantized from their float32 values."""
    model = build(place.paddle, recipe, weights)
    model.eval()
    if not scheme.bits:
        if scheme.dtype != "float32":
            model.to(dtype=scheme.dtype)
        return Prepared(model, 0)
    layers = _linears(place.paddle, model)
    maxima = _maxima(place, model, layers, recipe) if scheme.calibrated else {}
    return Prepared(model, quantize_in_place(place.paddle, model, layers, scheme, maxima))


def quantize_in_place(
    paddle: Any, model: Any, layers: Mapping[str, Any], scheme: Scheme, maxima: Mapping[str, Array]
) -> int:
    """Quantizes the linear ``layers`` of ``model``, path -> layer, and brings everything else to the scheme's dtype.

    Returns:
        Bytes of weights and scales on the device.
    """
    arrays = {
        name: (layer.weight.numpy(), None if layer.bias is None else layer.bias.numpy())
        for name, layer in layers.items()
    }
    model.to(dtype=scheme.dtype)
    wrapper, size = _wrapper(paddle), 0
    for name, (weight, bias) in arrays.items():
        made = linear(paddle, scheme, weight, bias, maxima.get(name))
        size += made.weight_bytes
        parent, _, last = name.rpartition(".")
        setattr(sublayer(model, parent), last, wrapper(made))
    return size


def _linears(paddle: Any, model: Any) -> dict[str, Any]:
    """Name -> layer, of those inside the decoder's layers that are quantized."""
    return {
        name: layer
        for name, layer in model.named_sublayers()
        if isinstance(layer, paddle.nn.Linear) and ".layers." in name and name.rpartition(".")[2] not in _ROUTERS
    }


def sublayer(model: Any, path: str) -> Any:
    """E.g. of ``"layers.0.mlp"``."""
    for part in path.split("."):
        model = getattr(model, part)
    return model


def _maxima(place: Workplace, model: Any, layers: Mapping[str, Any], recipe: Recipe) -> dict[str, Array]:
    """Largest magnitude of each input of each layer on the calibration rows: float32 [in]."""
    seen: dict[str, Array] = {}

    def hook(name: str) -> Callable[[Any, Any], None]:
        def note(_layer: Any, inputs: Any) -> None:
            found = inputs[0]
            if found.size:
                most = np.abs(found.numpy()).reshape(-1, found.shape[-1]).max(axis=0)
                seen[name] = np.maximum(seen.get(name, most), most)

        return note

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        with place.paddle.no_grad():
            for rows in calibration_rows(recipe):
                model(input_ids=place.tensor(rows))
    finally:
        for handle in handles:
            handle.remove()
    return maxima_of_all(seen, layers)


def _wrapper(paddle: Any) -> type[Any]:
    class Quantized(paddle.nn.Layer):  # type: ignore[misc]  # the class exists once Paddle is imported
        """A quantized layer as Paddle's models and its export want one: integers and scales are its buffers."""

        def __init__(self, product: WeightOnly | Int8) -> None:
            super().__init__()
            self._product = product
            for name, tensor in vars(product).items():
                if isinstance(tensor, paddle.Tensor):
                    self.register_buffer(name.strip("_"), tensor)

        def forward(self, x: Any, _adapter_scale: float = 1.0) -> Any:
            """ppdiffusers hands the scale of a low-rank adapter to some of its layers, which have none here."""
            return self._product(x)

    return Quantized
