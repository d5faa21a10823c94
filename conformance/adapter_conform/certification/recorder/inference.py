"""Inference in PyTorch, in every scheme of the standard: a scheme's integers are imitated, so that what it costs by
itself is known. Dequantized weights are multiplied in the scheme's dtype; int8 times int8 is summed exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapter_conform.certification.digests import arrays_digest
from adapter_conform.certification.logits import LogitRecord
from adapter_conform.certification.measurement import Item, Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.corpora import IGNORED, Tokens, corpus_of
from adapter_conform.certification.recipes.inference import (
    LINEARS,
    SCHEMES,
    Scheme,
    calibration_rows,
    linear_inputs,
    maxima_of_all,
    texts_of,
)
from adapter_conform.certification.recipes.starting import Weights
from adapter_conform.certification.recorder.conditions import Conditions
from adapter_conform.certification.recorder.networks import build_network, load_weights
from adapter_conform.quantization.calibration import QuantizedProduct, calibrated
from adapter_conform.quantization.integers import dequantized, quantized

__all__ = ["measure_inference", "rounded_weights"]

_BATCH = 64
"""Questions at a time."""

Maxima = dict[str, NDArray[np.float32]]
"""Linear layer -> largest magnitude of each of its inputs."""


def measure_inference(recipe: Recipe, conditions: Conditions, weights: Weights) -> tuple[Measurement, Any]:
    """The measurement of one run, and the network. Items are answered in the base variant alone.

    Raises:
        ValueError: this release of transformers holds the model's linear layers in a way that cannot be calibrated.
    """
    scheme = SCHEMES[conditions.precision]
    network, size = _network(recipe, conditions, weights, scheme)
    measurement = Measurement(recipe.id, recipe.digest, conditions.precision, conditions.variant.name)
    texts = texts_of(recipe)
    logits = []
    for rows, labels in zip(texts.inputs, texts.labels, strict=True):
        start = time.perf_counter()
        found = _in_order(rows, lambda part: _logits(network, part, conditions), conditions)
        measurement.seconds.append(round(time.perf_counter() - start, 6))
        judged = labels != IGNORED
        record = LogitRecord.of(found[judged], labels[judged], 0)
        measurement.losses.append(float(record.surprise.mean(dtype=np.float64)))
        logits.append(found)
    judged = texts.judged
    whole = LogitRecord.of(np.stack(logits)[judged], texts.labels[judged], int(recipe.option("full_positions")))
    measurement.logits = {"model": whole.to_json()}
    # What no device is held against answers nothing: float32 of a quantized recipe is there for its logits alone.
    asked = conditions.variant.name == "base" and conditions.precision in recipe.precisions
    if recipe.evaluation.items and asked:
        measurement.items = _items(recipe, network, conditions)
    measurement.tokens_per_step = recipe.schedule.tokens_per_step
    measurement.digests = _digests(recipe)
    measurement.executed = {"weight_bytes": size}
    return measurement, network


def _network(recipe: Recipe, conditions: Conditions, weights: Weights, scheme: Scheme) -> tuple[Any, int]:
    """The model ready to run, and the bytes that its quantized layers take on a device (0 without any)."""
    network = build_network(recipe, conditions.variant.attention)
    load_weights(network, weights)
    network.to(conditions.device).eval()
    architecture, size = recipe.standard_model.architecture, 0
    if scheme.calibrated:
        maxima = _maxima(network, recipe, conditions)
        network.to(getattr(torch, scheme.dtype))
        for name, module in list(network.named_modules()):
            if name in maxima:
                axis = linear_inputs(architecture, f"{name}.weight", weights[f"{name}.weight"].shape)
                weight = weights[f"{name}.weight"] if axis == 0 else weights[f"{name}.weight"].T
                product = calibrated(weight, maxima[name][None], "absmax")
                size += product.weight.packed_bytes + 4 * weight.shape[1] + 4
                module.forward = _int8_forward(module, product, conditions.device)
        return network, size
    if scheme.bits:
        rounded, size = rounded_weights(recipe, weights, scheme)
        load_weights(network, rounded)
    network.to(getattr(torch, scheme.dtype))
    return network, size


def rounded_weights(recipe: Recipe, weights: Weights, scheme: Scheme) -> tuple[Weights, int]:
    """``weights`` with those of quantized layers as integers and scales stand for them, and the bytes of these."""
    rounded, size = dict(weights), 0
    for name, array in weights.items():
        axis = linear_inputs(recipe.standard_model.architecture, name, array.shape)
        if axis is not None:
            found, taken = _rounded(array if axis == 0 else array.T, scheme)
            rounded[name] = found if axis == 0 else np.ascontiguousarray(found.T)
            size += taken
    return rounded, size


def _rounded(weight: NDArray[np.float32], scheme: Scheme) -> tuple[NDArray[np.float32], int]:
    """``weight`` [in, out] as integers and scales stand for it, and the bytes of both; scales are in the dtype."""

    def narrowed(array: NDArray[Any]) -> NDArray[np.float32]:
        tensor = torch.from_numpy(np.array(array, np.float32)).to(getattr(torch, scheme.dtype))
        return np.asarray(tensor.float().numpy())

    integers = quantized(narrowed(weight), scheme.bits, scheme.group_of(len(weight)))
    integers = replace(integers, scales=narrowed(integers.scales))
    return dequantized(integers).astype(np.float32), integers.packed_bytes + 2 * integers.scales.size


def _maxima(network: Any, recipe: Recipe, conditions: Conditions) -> Maxima:
    """Of each linear layer's inputs on the calibration rows, by the float32 model."""
    architecture = recipe.standard_model.architecture
    ends = LINEARS.get(architecture, LINEARS[""])
    modules = {name: module for name, module in network.named_modules() if name.endswith(ends)}
    if not all(isinstance(getattr(module, "weight", None), torch.Tensor) for module in modules.values()) or any(
        name.endswith("experts.gate_up_proj") for name, _ in network.named_parameters()
    ):
        raise ValueError("this transformers holds experts in one tensor: record a8w8 with transformers 4.57")
    seen: Maxima = {}
    with _watched(modules, seen):
        for rows in calibration_rows(recipe):
            _logits(network, rows, conditions)
    return maxima_of_all(seen, modules)


@contextmanager
def _watched(modules: dict[str, Any], seen: Maxima) -> Iterator[None]:
    def hook(name: str) -> Callable[[Any, Any], None]:
        def note(_module: Any, inputs: Any) -> None:
            found = inputs[0].detach().abs().flatten(0, -2)
            if len(found):
                most = found.amax(0).float().cpu().numpy()
                seen[name] = np.maximum(seen.get(name, most), most)

        return note

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _int8_forward(module: Any, product: QuantizedProduct, device: str) -> Callable[[Any], Any]:
    numbers = torch.from_numpy(product.weight.numbers.astype(np.float64)).to(device)
    scales = torch.from_numpy(product.weight.scales[0].astype(np.float64) * product.scale).to(device)
    unit = np.float32(127) / product.ranges.astype(np.float32)
    units = torch.from_numpy(unit).to(device)

    def forward(x: Any) -> Any:
        integers = torch.floor((x.float() * units).clamp(-127, 127) + 0.5).double()
        y = ((integers @ numbers) * scales).to(x.dtype)
        return y if module.bias is None else y + module.bias

    return forward


def _logits(network: Any, rows: Tokens, conditions: Conditions) -> NDArray[np.float32]:
    ids = torch.from_numpy(np.ascontiguousarray(rows)).to(conditions.device)
    with torch.no_grad():
        return np.asarray(network(input_ids=ids).logits.float().cpu().numpy())


def _in_order(rows: Tokens, run: Callable[[Tokens], NDArray[Any]], conditions: Conditions) -> NDArray[Any]:
    """Rows go in as the variant has them, and come out in their own order."""
    if not conditions.variant.reversed_rows:
        return run(rows)
    return run(rows[::-1])[::-1]


def _items(recipe: Recipe, network: Any, conditions: Conditions) -> list[Item]:
    """Greedy answers, with the smallest gap between the best logit and the next over the answer."""
    questions = corpus_of(recipe).questions(recipe)
    found: list[Item] = []
    count = questions.answers.shape[1]
    for at in range(0, len(questions.prompts), _BATCH):
        ids = questions.prompts[at : at + _BATCH]
        margins = np.full(len(ids), np.inf)
        for _ in range(count):
            last = _logits(network, ids, conditions)[:, -1]
            best = np.sort(last, axis=-1)[:, -2:]
            margins = np.minimum(margins, best[:, 1] - best[:, 0])
            ids = np.concatenate([ids, last.argmax(-1)[:, None]], axis=1)
        answers = ids[:, -count:].tolist()
        wanted = questions.answers[at : at + _BATCH].tolist()
        for row, answer, margin in zip(wanted, answers, margins.tolist(), strict=True):
            found.append(Item(str(len(found)), tuple(row), tuple(answer), {"margin": float(f"{margin:.3g}")}))
    return found


def _digests(recipe: Recipe) -> dict[str, str]:
    corpus = corpus_of(recipe)
    digests = {"training": arrays_digest(*corpus.training(recipe))}
    digests["validation"] = arrays_digest(*corpus.validation(recipe))
    if recipe.evaluation.items:
        questions = corpus.questions(recipe)
        digests["questions"] = arrays_digest(questions.prompts, questions.answers)
    return digests
