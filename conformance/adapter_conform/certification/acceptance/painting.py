"""Inference of Stable Diffusion: every network by itself, whole sampling, what executed, and the size of its weights.

A network by itself is given what the reference sampled in float32, so that no error of an earlier step or of another
network is taken for its own. The limit of an error is twice what the reference loses in the same scheme, or ten times
the spread of its repeats in float32; see docs/decisions/0029. What surrounds the networks, guidance and sampling, has
no error of a scheme: it is computed again from what the device's own network said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.extras import Extras
from adapter_conform.certification.acceptance.figures import at_most, fulfilled, inconclusive, information
from adapter_conform.certification.acceptance.inference import ways_executed, weight_size
from adapter_conform.certification.acceptance.logits import FACTOR, REPEATS_FACTOR
from adapter_conform.certification.arrays import as_array
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.diffusion_shapes import diffusion_shapes
from adapter_conform.certification.recipes.inference import SCHEMES, linear_inputs
from adapter_conform.certification.recipes.pictures import Guide, guided, sampling_path
from adapter_conform.certification.standard import Requirement

__all__ = ["painting_execution", "painting_ratio", "painting_rules"]

Floats = NDArray[np.float64]

_WAYS = ("eager", "static")
_FLOOR = 2.0**-18
"""Smallest limit of a relative error: 64 roundings of float32."""
_SAMPLER = 2.0**-15
"""Limit of guidance and sampling in float32 beside the same in float64. Fifty steps multiply the rounding of the first
by 15, the root of the ratio of the shares of the picture at both ends."""

_PRODUCT = 2.0**-7
"""Limit of a quantized layer: two roundings to bfloat16, each at most 2^-8."""
_LAYER = "layer "

_NETWORKS = {
    "text_encoder": ("text_encoder.",),
    "unet": ("unet.",),
    "decoder": ("vae.decoder.", "vae.post_quant_conv."),
}
"""Network -> how the names of its weights begin."""
_JUDGED = (
    ("text encoder", "states", "states"),
    ("noise", "noise", "noise"),
    ("decoder", "decoder", "pictures"),
    ("latents", "latents", "latents"),
    ("picture", "pictures", "pictures"),
)
"""Gate, array, and the array of the reference in float32 that it is held against. The first three are networks by
themselves, the others whole sampling."""


@dataclass(frozen=True)
class _Calls:
    """Kernel calls of a pass through a network."""

    quantized: int
    products: int
    """At most: linear layers that are not quantized, and two products of each attention."""
    convolutions: int


def _calls(recipe: Recipe) -> dict[str, _Calls]:
    architecture, shapes = recipe.standard_model.architecture, diffusion_shapes(recipe.settings)
    found = {}
    for network, beginnings in _NETWORKS.items():
        mine = {name: shape for name, shape in shapes.items() if name.startswith(beginnings)}
        quantized = {name for name, shape in mine.items() if linear_inputs(architecture, name, shape) is not None}
        tables = ("_embedding.weight",)
        dense = sum(len(s) == 2 and n not in quantized and not n.endswith(tables) for n, s in mine.items())
        attentions = sum(name.endswith(("to_q.weight", "q_proj.weight")) for name in mine)
        convolutions = sum(len(shape) == 4 for shape in mine.values())
        found[network] = _Calls(len(quantized), dense + 2 * attentions, convolutions)
    return found


def painting_execution(recipe: Recipe, device: Measurement) -> Iterator[GateFigure]:
    """The products and convolutions of every way ran in the scheme, as often as the networks have them."""
    yield from ways_executed(device, _WAYS, lambda way, ran: _executed(recipe, device.precision, way, ran))


def _executed(recipe: Recipe, precision: str, way: str, ran: Mapping[str, Any]) -> Iterator[GateFigure]:
    scheme, kernels, passes = SCHEMES[precision], ran["kernels"], ran["passes"]
    per_pass = _calls(recipe)

    def total(what: str) -> int:
        return sum(int(getattr(calls, what)) * int(passes.get(name, 0)) for name, calls in per_pass.items())

    words = ", ".join(f"{name} {passes.get(name, 0)}" for name in per_pass)
    idle = [name for name in per_pass if not passes.get(name)]
    yield fulfilled("execution", f"networks that did not run, {way}", ", ".join(idle), f"passes: {words}")
    plain, convolution = f"matmul/{scheme.dtype}", f"conv2d/{scheme.dtype}"
    for key, wanted in ((scheme.product, total("quantized")), (convolution, total("convolutions"))):
        count = int(kernels.get(key, 0))
        note = f"{count} calls of {key}, at least {wanted} expected"
        yield at_most("execution", f"{key} missing, {way}", float(max(0, wanted - count)), 0.0, note)
    found, limit = int(kernels.get(plain, 0)), total("products")
    note = f"{found} calls of {plain}; layers that are not quantized, and attention, are at most {limit}"
    yield at_most("execution", f"products left in {scheme.dtype}, {way}", float(found), float(limit), note)
    strange = sorted(
        key
        for key, number in kernels.items()
        if number
        and key.partition("/")[0] in ("weight_only_linear", "matmul", "conv2d")
        and key not in (scheme.product, plain, convolution)
    )
    yield fulfilled("execution", f"other products, {way}", ", ".join(strange))


def painting_rules(comparison: Comparison) -> Iterator[GateFigure]:
    """Everything that is held against the reference."""
    yield from weight_size(comparison)
    if comparison.exact is None:
        yield inconclusive(
            "reference", "float32", "the reference has no run in float32 that errors could be counted from"
        )
        return
    try:
        guide = Guide.of(comparison.exact)
    except ValueError as error:
        yield inconclusive("reference", "float32", str(error))
        return
    given = comparison.device.digests.get("guide")
    if given != guide.digest:
        yield inconclusive("same work", "what networks were given", f"the device went by {given!r}, not the reference")
        return
    yield _layers(comparison)
    for way in _WAYS:
        for gate, name, exact in _JUDGED:
            yield from _judged(comparison, way, gate, name, exact)
        yield from _surroundings(comparison, way)
        yield _held_out(comparison, way)


def _layers(comparison: Comparison) -> GateFigure:
    """Each quantized layer by itself, against the product of integers and scales by definition."""
    gate, output = "quantized layers", "relative error"
    errors = {key: error for key, error in comparison.device.figures.items() if key.startswith(_LAYER)}
    wanted = sum(calls.quantized for calls in _calls(comparison.recipe).values())
    if len(errors) != wanted:
        return inconclusive(gate, output, f"{len(errors)} layers were tried, the model has {wanted}")
    worst = max(errors, key=lambda key: errors[key] if math.isfinite(errors[key]) else math.inf)
    note = f"of {wanted}, each on drawn rows; largest in {worst.removeprefix(_LAYER)}"
    return at_most(gate, output, errors[worst], _PRODUCT, note)


def _judged(comparison: Comparison, way: str, gate: str, name: str, exact: str) -> Iterator[GateFigure]:
    """The relative error; of sampling steps that which is nearest to its limit."""
    gate = f"{gate}, {way}"
    device, base = _array(comparison.device, f"{name}, {way}"), _array(comparison.base, name)
    wanted = None if comparison.exact is None else _array(comparison.exact, exact)
    if device is None or base is None or wanted is None:
        yield inconclusive(gate, "relative error", f"the {'device' if device is None else 'reference'} recorded none")
        return
    if not device.shape == base.shape == wanted.shape or not np.isfinite(device).all():
        words = (
            f"shape {device.shape} on the device, {wanted.shape} on the reference" if np.isfinite(device).all() else ""
        )
        yield at_most(gate, "relative error", math.inf, 0.0, words or "not finite")
        return
    stepwise = name == "noise"
    here, own = _errors(device, wanted, stepwise), _errors(base, wanted, stepwise)
    repeats = [_array(run, name) for run in comparison.exact_repeats]
    spreads = [_errors(one, wanted, stepwise) for one in repeats if one is not None and one.shape == wanted.shape]
    spread = np.max(spreads, axis=0) if spreads else np.zeros_like(own)
    limits = np.maximum(np.maximum(FACTOR * own, REPEATS_FACTOR * spread), _FLOOR)
    worst = int(np.argmax(here / limits))
    note = f"{FACTOR:g} times the reference's own, {own[worst]:.3g}"
    note = f"step {worst} of {len(here)}; {note}" if stepwise else note
    yield at_most(gate, "relative error", float(here[worst]), float(limits[worst]), note)
    if name == "pictures":
        yield from _statistics(gate, device, wanted)


def _errors(found: Floats, wanted: Floats, stepwise: bool) -> Floats:
    """The root of the mean square of the difference over that of what was wanted."""
    axes = tuple(range(1 if stepwise else 0, found.ndim))
    errors: Floats = np.atleast_1d(np.sqrt(((found - wanted) ** 2).sum(axes) / (wanted**2).sum(axes)))
    return errors


def _statistics(gate: str, device: Floats, wanted: Floats) -> Iterator[GateFigure]:
    """None of them can be larger than the error that is judged."""
    extent, distance = float(np.ptp(wanted)), float(np.sqrt(np.mean((device - wanted) ** 2)))
    if distance > 0:
        yield information(gate, "peak signal to noise ratio, dB", 20 * math.log10(extent / distance))
    for name, one, other in (("mean", device.mean(), wanted.mean()), ("deviation", device.std(), wanted.std())):
        note = f"{one:.5g} on the device, {other:.5g} on the reference"
        yield information(gate, f"difference of the {name} over the range", abs(float(one - other)) / extent, note)


def _surroundings(comparison: Comparison, way: str) -> Iterator[GateFigure]:
    """Guidance, and the sampler, from what the device's network said while it sampled."""
    said, taken = (_array(comparison.device, f"{name}, {way}") for name in ("said", "taken"))
    latents, wanted = _array(comparison.device, f"latents, {way}"), _array(comparison.base, "noise")
    if said is None or taken is None or latents is None or wanted is None:
        yield inconclusive(f"sampler, {way}", "relative error", "the run did not record its steps")
        return
    finite = all(bool(np.isfinite(one).all()) for one in (said, taken, latents))
    if said.shape != wanted.shape or taken.shape != said[:, 0].shape or latents.shape != taken.shape[1:] or not finite:
        yield at_most(f"sampler, {way}", "relative error", math.inf, 0.0, "steps are missing, or not finite")
        return
    own = np.stack([guided(comparison.recipe, halves) for halves in said])
    note = "noise with guidance, from what the device's own network said without and with the caption"
    yield at_most(f"guidance, {way}", "relative error", float(_errors(taken, own, True).max()), _SAMPLER, note)
    *_, last = sampling_path(comparison.recipe, said)
    note = "the last latents, from what the device's own network said in each step"
    yield at_most(f"sampler, {way}", "relative error", float(_errors(latents, last, False)[0]), _SAMPLER, note)


def _held_out(comparison: Comparison, way: str) -> GateFigure:
    """How well noise in held-out pictures is predicted: what a scheme may cost is the standard's late loss."""
    gate, output = f"held-out noise, {way}", "difference of the mean squared error"
    here = comparison.device.figures.get(f"held-out loss, {way}")
    if here is None:
        return inconclusive(gate, output, "the run did not record it")
    there = float(np.mean(comparison.base.losses))
    note = f"{here:.6g} on the device, {there:.6g} on the reference"
    return at_most(gate, output, abs(here - there), comparison.limits.late_loss, note)


def _array(run: Measurement, name: str) -> Floats | None:
    return as_array(run.arrays[name]).astype(np.float64) if name in run.arrays else None


def painting_ratio(requirement: Requirement, recipe: Recipe, run: Measurement, extras: Extras) -> GateFigure:
    """Pictures a second and TFLOPS. It informs: no A800 figure is published that a share could be counted from."""
    gate, output, peak = "performance", "pictures per second and TFLOPS", extras.peak("bfloat16")
    painted = run.executed.get("painting")
    if not isinstance(painted, Mapping) or not painted or peak is None:
        why = "nothing was painted" if peak is not None else "the device declares no peak"
        return information(gate, output, 0.0, why) if recipe.scale != "full" else inconclusive(gate, output, why)
    words = "; ".join(
        f"{way}: {one['pictures_per_second']:.4g} pictures/s, {one['steps_per_second']:.4g} denoising steps/s"
        for way, one in painted.items()
    )
    share = max(float(one["pictures_per_second"]) for one in painted.values()) / peak.declared_tflops
    asked = f"asked for: {requirement.min_ratio or 0:g} of an A800, of which no figure is published"
    note = f"{run.precision}: {words}; {asked}"
    if recipe.scale != "full":
        return information(gate, output, share, f"{note}; informative only: this is no run of the true model")
    return inconclusive(gate, output, note, share)
