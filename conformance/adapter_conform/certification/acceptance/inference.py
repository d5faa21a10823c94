"""Inference: logits and answers of every way that the model runs, what executed, and the size of its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.comparison import Comparison
from adapter_conform.certification.acceptance.extras import Extras
from adapter_conform.certification.acceptance.figures import at_most, fulfilled, inconclusive, information
from adapter_conform.certification.acceptance.logits import FACTOR, REPEATS_FACTOR, Distance, distance, logit_figures
from adapter_conform.certification.logits import LogitRecord
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import SCHEMES, SERVED, Scheme
from adapter_conform.certification.standard import Requirement

__all__ = ["WAYS", "inference_execution", "inference_rules", "serving_ratio", "ways_executed", "weight_size"]

WAYS = ("eager", "static")
"""How every model has to run; those that the serving engine knows also "served"."""
_SERVING_CHECKS = ("together", "cached", "seeded", "by_definition", "returned")
_LAYER_LINEARS = {"gpt3": 6, "qwen2_moe": 7}
"""Linear layers of a layer that every token goes through; of a mixture attention and the shared expert."""
_BYTES_SLACK = 1.05
"""Of the size of quantized weights: padding to whole blocks, scales in another dtype."""


def inference_execution(recipe: Recipe, device: Measurement) -> Iterator[GateFigure]:
    """The products of every way ran in the scheme, as often as the model has them; nothing stayed in a wider dtype."""
    scheme = SCHEMES.get(device.precision)
    if scheme is None:
        yield inconclusive("execution", "products", f"there is no scheme {device.precision!r}")
        return
    yield from ways_executed(device, _ways(recipe), lambda way, ran: _products(recipe, scheme, way, ran))


def ways_executed(
    device: Measurement, wanted: Iterable[str], products: Callable[[str, Mapping[str, Any]], Iterator[GateFigure]]
) -> Iterator[GateFigure]:
    """What ``products`` says of each of the ``wanted`` ways; where exported programs and parameters lay."""
    ways = device.executed.get("ways")
    if not isinstance(ways, Mapping):
        yield inconclusive("execution", "products", "the run did not record them")
        return
    for way in wanted:
        if way in ways:
            yield from products(way, ways[way])
        else:
            yield inconclusive("execution", f"products, {way}", "the model did not run this way")
    yield _placement(ways.get("static", {}).get("lowered"))
    names = device.executed.get("off_device")
    if isinstance(names, list):
        yield fulfilled("execution", "parameters elsewhere", ", ".join(map(str, names[:8])))
    else:
        yield inconclusive("execution", "parameters elsewhere", "the run did not record it")


def _placement(lowered: Any) -> GateFigure:
    """Of the exported program. An operator that is called eagerly raises where the device has no kernel; in a program
    it moves to the host in silence."""
    output = "kernels of the exported program elsewhere"
    if not isinstance(lowered, Mapping) or not lowered.get("on_device"):
        return inconclusive("execution", output, "Paddle did not say where it placed the program's kernels")
    words = f"{lowered['on_device']} on the device"
    return fulfilled("execution", output, ", ".join(map(str, lowered["moved"][:8])), words)


def _ways(recipe: Recipe) -> tuple[str, ...]:
    return (*WAYS, "served") if recipe.standard_model.architecture in SERVED else WAYS


def _products(recipe: Recipe, scheme: Scheme, way: str, ran: Mapping[str, Any]) -> Iterator[GateFigure]:
    """From the calls of a way. Of the engine, queries, keys and values are one layer, and so are gate and up; its
    attention is one kernel."""
    architecture, calls, passes = recipe.standard_model.architecture, ran["kernels"], int(ran["passes"])
    layers = int(recipe.settings["num_hidden_layers"])
    linears = layers * (4 if way == "served" else _LAYER_LINEARS.get(architecture, 7))
    others = 1 if way == "served" else 2 * layers + 1
    if architecture == "qwen2_moe":
        others += 2 * layers  # the router, and the gate of the shared expert
    wanted = (linears if scheme.bits else linears + (1 if way == "served" else 2 * layers + 1)) * passes
    count = int(calls.get(scheme.product, 0))
    words = f"{count} calls of {scheme.product} in {passes} passes, at least {wanted} expected"
    yield at_most("execution", f"products missing, {way}", float(max(0, wanted - count)), 0.0, words)
    routed = 2 * layers * passes if architecture == "qwen2_moe" else 0  # it computes its router in float32
    narrow = ("weight_only_linear", "matmul")
    for key, limit in (
        (f"matmul/{scheme.dtype}", others * passes if scheme.bits else math.inf),
        ("matmul/float32", math.inf if scheme.dtype == "float32" else routed),
    ):
        found = int(calls.get(key, 0))
        if math.isfinite(limit):
            note = f"{found} calls of {key}; attention, head and routers are at most {limit}"
            yield at_most("execution", f"products left in {key.partition('/')[2]}, {way}", found, limit, note)
    strange = sorted(
        key for key, number in calls.items()
        if number and key.partition("/")[0] in narrow
        and key not in (scheme.product, f"matmul/{scheme.dtype}", "matmul/float32")
    )  # fmt: skip
    yield fulfilled("execution", f"other products, {way}", ", ".join(strange))


def inference_rules(comparison: Comparison) -> Iterator[GateFigure]:
    """Everything that is held against the reference, apart from the items' scores."""
    yield from weight_size(comparison)
    try:
        base = _model(comparison.base)
        exact = base if comparison.exact is None else _model(comparison.exact)
        own = _own(comparison, base, exact)
        found = {way: LogitRecord.from_json(data) for way, data in comparison.device.logits.items()}
    except ValueError as error:
        yield inconclusive("logits", "records", str(error))
        return
    factor = REPEATS_FACTOR if comparison.exact is None else FACTOR
    for way in _ways(comparison.recipe):
        if way not in found:
            yield inconclusive(f"logits, {way}", "records", "the model did not run this way")
            continue
        try:
            yield from logit_figures(way, found[way], exact, own, factor)
        except ValueError as error:
            yield inconclusive(f"logits, {way}", "records", str(error))
            continue
        yield _perplexity(comparison, way, found[way], base)
        yield from _answers(comparison, way, own, factor)
    yield from _serving(comparison)


def _model(run: Measurement) -> LogitRecord:
    return LogitRecord.from_json(run.logits.get("model", {}))


def _own(comparison: Comparison, base: LogitRecord, exact: LogitRecord) -> list[Distance]:
    """What the scheme costs the reference; in float32 the spread of its repeats."""
    if comparison.exact is not None:
        return [distance(base, exact)]
    return [distance(_model(run), base) for run in comparison.repeats]


def _perplexity(comparison: Comparison, way: str, found: LogitRecord, base: LogitRecord) -> GateFigure:
    here, there = (float(one.surprise.mean(dtype=np.float64)) for one in (found, base))
    note = f"perplexity {math.exp(here):.6g} on the device, {math.exp(there):.6g} on the reference"
    limit = comparison.limits.late_loss
    return at_most(f"perplexity, {way}", "difference of its logarithm", abs(here - there), limit, note)


def _answers(comparison: Comparison, way: str, own: Sequence[Distance], factor: float) -> Iterator[GateFigure]:
    """Greedy answers against the reference's, of items where its likeliest token leads by more than errors turn."""
    if not comparison.recipe.evaluation.items:
        return
    gate, output = f"greedy answers, {way}", "decided ones changed"
    given = comparison.device.answers.get(way)
    items = comparison.base.items
    if not given or len(given) > len(items):
        yield inconclusive(gate, output, f"{len(given or [])} answers, {len(items)} of the reference")
        return
    turned = 2 * max(factor * max((one.largest for one in own), default=0.0), _least_turn(comparison))
    decided = [i for i in range(len(given)) if items[i].figures.get("margin", 0.0) > turned]
    changed = [i for i in decided if tuple(given[i]) != items[i].answer]
    alike = sum(tuple(given[i]) == items[i].answer for i in range(len(given)))
    note = f"{alike} of {len(given)} answers are the reference's; {len(decided)} are decided by more than {turned:.3g}"
    if not decided:
        yield information(gate, output, 0.0, note)
        return
    yield at_most(gate, output, len(changed) / len(decided), comparison.limits.score, note)


def _least_turn(comparison: Comparison) -> float:
    """A few roundings of float32 at the size of the logits."""
    return float(np.abs(_model(comparison.base).full).max()) * 2.0**-18


def weight_size(comparison: Comparison) -> Iterator[GateFigure]:
    """Of a scheme with integers."""
    scheme = SCHEMES[comparison.device.precision]
    if not scheme.bits:
        return
    here, there = comparison.device.executed.get("weight_bytes"), comparison.base.executed.get("weight_bytes")
    if not isinstance(here, int) or not isinstance(there, int) or not here or not there:
        yield inconclusive("size", "bytes of quantized weights", "device or reference did not record them")
        return
    note = f"{here} bytes on the device; {there} are {scheme.bits} bits a number and the scales"
    yield at_most("size", "bytes of quantized weights", float(here), _BYTES_SLACK * there, note)


def _serving(comparison: Comparison) -> Iterator[GateFigure]:
    """Checks of the engine; a model's first scheme has them."""
    recipe, device = comparison.recipe, comparison.device
    for name, fault in device.checks.items():
        yield fulfilled("check", name, fault)
    if "served" in _ways(recipe) and device.precision == recipe.precisions[0]:
        for name in _SERVING_CHECKS:
            if f"serving {name}" not in device.checks:
                yield inconclusive("check", f"serving {name}", "it was not made")


def serving_ratio(requirement: Requirement, recipe: Recipe, run: Measurement, extras: Extras) -> GateFigure:
    """Requests a second and TFLOPS, the first token within a second. Smaller would be better elsewhere; here the figure
    informs: no A800 figure of requests a second is published that a share could be counted from."""
    gate, output = "performance", "requests per second and TFLOPS"
    load = run.executed.get("load")
    peak = extras.peak("float32" if run.precision == "float32" else "bfloat16")
    if not isinstance(load, Mapping) or peak is None:
        why = "no load was offered" if peak is not None else "the device declares no peak"
        return information(gate, output, 0.0, why) if recipe.scale != "full" else inconclusive(gate, output, why)
    share = float(load["qps"]) / peak.declared_tflops if load["within"] else 0.0
    first = f"{load['first_token_mean']:.3g} s in the mean, {load['first_token_p99']:.3g} s at 99%"
    late = "" if load["within"] else " (too late)"
    note = (
        f"{run.precision}: {load['qps']:.4g} requests/s of {load['requests']}, first token {first}{late}, "
        f"{load['tokens_per_second']:.4g} tokens/s; asked for: {requirement.min_ratio or 0:g} of an A800, of which no "
        "figure is published"
    )
    if recipe.scale != "full":
        return information(gate, output, share, f"{note}; informative only: this is no run of the true model")
    return inconclusive(gate, output, note, share)
