"""One recording: every recipe asked for, in every precision and variant; the pack is whole after each training."""

from __future__ import annotations

import copy
import datetime
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adapter_conform.certification.arrays import as_text
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.packs.manifest import OPERATORS_FILE, PackManifest
from adapter_conform.certification.packs.pack import learned_weights, read_pack
from adapter_conform.certification.packs.writing import PackWriter
from adapter_conform.certification.recipes import Recipe, all_recipes, initial_weights
from adapter_conform.certification.recipes.starting import Weights, neighbouring, storable
from adapter_conform.certification.recorder import provenance
from adapter_conform.certification.recorder.conditions import VARIANTS, Conditions, Variant, make_repeatable
from adapter_conform.certification.recorder.diffusion.inference import measure_painting
from adapter_conform.certification.recorder.inference import measure_inference
from adapter_conform.certification.recorder.networks import build_network, exported_weights, load_weights
from adapter_conform.certification.recorder.operators import record_operators
from adapter_conform.certification.recorder.routing import other_experts
from adapter_conform.certification.recorder.tasks import task_of
from adapter_conform.certification.recorder.training import train

__all__ = ["RecordingError", "Request", "in_order", "record"]

_EVERY = 10.0
"""Seconds between two lines about one training."""

Say = Callable[[str], None]


class RecordingError(Exception):
    """The recording cannot begin or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Request:
    recipes: tuple[Recipe, ...]
    """In the order of recording: a recipe stands behind the one that it starts from."""
    device: str
    precisions: tuple[str, ...]
    variants: tuple[str, ...]
    """The first is the base."""
    threads: int
    out: Path
    resume: bool
    operators: Path | None = None
    """Cases of operators, whose errors are recorded too."""
    weights: Path | None = None
    """Another pack, of the same conditions: what was learned there is taken over."""
    keep_drawn: bool = True
    """Whether drawn weights are stored; without, whoever reads the pack draws them again and holds them to a digest."""


@dataclass(frozen=True)
class _Run:
    recipe: Recipe
    precision: str
    variant: Variant

    @property
    def key(self) -> tuple[str, str, str]:
        return self.recipe.id, self.precision, self.variant.name


def _runs(request: Request) -> Iterator[_Run]:
    for recipe in request.recipes:
        if recipe.task == "inference":
            yield from _inference_runs(recipe, request.variants)
            continue
        for precision in recipe.precisions:
            # What the device is not held against needs no spread.
            variants = request.variants[:1] if recipe.reference_only or recipe.performance_only else request.variants
            if precision in request.precisions or recipe.reference_only:
                fitting = (VARIANTS[name] for name in variants if VARIANTS[name].fits(recipe, precision))
                yield from (_Run(recipe, precision, variant) for variant in fitting)


def _inference_runs(recipe: Recipe, variants: Sequence[str]) -> Iterator[_Run]:
    """Every scheme once, and float32, which the others' error is counted from, with its repetitions. Of a model that
    counts for speed alone nothing is held against a reference, which then shows what it starts from."""
    if recipe.performance_only:
        yield _Run(recipe, "float32", VARIANTS[variants[0]])
        return
    for precision in dict.fromkeys(("float32", *recipe.precisions)):
        for name in variants if precision == "float32" else variants[:1]:
            if VARIANTS[name].fits(recipe, precision):
                yield _Run(recipe, precision, VARIANTS[name])


def record(request: Request, say: Say) -> None:
    """Raises RecordingError."""
    import torch

    make_repeatable(request.device)
    torch.set_num_threads(request.threads)
    writer = _writer(request)
    if request.weights is not None:
        _take_over(request.weights, request.recipes, writer)
    done = writer.recorded()
    runs = list(_runs(request))
    left = [run for run in runs if run.key not in done]
    known = len(runs) - len(left)
    say(f"{len(runs)} trainings, {known} of them recorded before; on {writer.provenance['device']['name']}")
    if request.operators is not None:
        _record_operators(request.operators, request.device, writer, say)
    clock = time.monotonic()
    for number, run in enumerate(left):
        place = f"[{known + number + 1}/{len(runs)}] {' '.join(run.key)}"
        _record_one(request, run, writer, partial(_say_of, say, place))
        spent = time.monotonic() - clock
        rest = spent / (number + 1) * (len(left) - number - 1)
        say(f"{place}: done; {_minutes(spent)} spent, about {_minutes(rest)} left")
    writer.finish(_now())
    pack = read_pack(request.out)
    say(f"{request.out}: pack {pack.name}, {len(pack.measurements)} measurements, digest {pack.digest}")


def _take_over(folder: Path, recipes: Sequence[Recipe], writer: PackWriter) -> None:
    """The weights that ``recipes`` start from, out of the pack in ``folder``."""
    try:
        for start in dict.fromkeys(recipe.starts_from for recipe in recipes if recipe.starts_from):
            if writer.final_weights(start) is None:
                writer.add_final_weights(start, learned_weights(folder, start, writer.provenance))
    except PackError as error:
        raise RecordingError(f"--weights {folder}: {error}") from error


def _record_operators(cases: Path, device: str, writer: PackWriter, say: Say) -> None:
    try:
        figures, left_out = record_operators(cases, device)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RecordingError(f"--operators {cases}: {type(error).__name__}: {error}") from error
    for reason, count in left_out.most_common():
        say(f"operators: left out {count}: {reason}")
    writer.copy(OPERATORS_FILE, json.dumps(figures, sort_keys=True).encode())
    say(f"operators: errors of {len(figures['entries'])} cases recorded")


def _say_of(say: Say, place: str, words: str) -> None:
    say(f"{place}: {words}")


def _writer(request: Request) -> PackWriter:
    first = request.recipes[0]
    found: dict[str, Any] = {
        "device": provenance.device_of(request.device),
        "versions": provenance.versions(),
        "settings": {
            "threads": request.threads,
            "tf32": False,
            "deterministic_algorithms": True,
            "bfloat16": "torch.autocast, parameters and optimizer float32",
        },
        "started": _now(),
        "finished": "",
        "scale": first.scale,
        "seed": first.seed,
    }
    device = found["device"]["name"].lower().replace("(r)", "").replace("(tm)", "")
    words = "-".join("".join(letter if letter.isalnum() else " " for letter in device).split()[:6])
    name = f"{request.device}-{first.scale}-{words}-torch-{found['versions']['torch'].partition('+')[0]}"
    try:
        return PackWriter.open(request.out, PackManifest(name, found), request.resume)
    except ValueError as error:
        raise RecordingError(str(error)) from error


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _record_one(request: Request, run: _Run, writer: PackWriter, say: Say) -> None:
    import torch

    torch.set_num_threads(request.threads * (2 if run.variant.more_threads else 1))
    conditions = Conditions(request.device, request.threads, run.precision, run.variant)
    weights = _starting_weights(run.recipe, writer, request.keep_drawn)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if run.recipe.task == "inference":
                measurement, network = _inferred(run.recipe, conditions, weights, say)
            else:
                measurement, network = _measure(run.recipe, conditions, weights, say)
        except (RuntimeError, ValueError, ArithmeticError) as error:
            raise RecordingError(f"{' '.join(run.key)}: {type(error).__name__}: {error}") from error
    measurement.environment = {
        "device": writer.provenance["device"],
        "versions": writer.provenance["versions"],
        "threads": torch.get_num_threads(),
        "attention": run.variant.attention,
        "recorder": provenance.sources_digest(),
        "date": _now(),
        "nondeterministic": sorted({str(one.message) for one in caught if "deterministic" in str(one.message)}),
    }
    if run.precision == "float32" and run.variant.name == "base" and _is_start(run.recipe):
        writer.add_final_weights(run.recipe.id, storable(exported_weights(network)))
    writer.add(measurement)


def _is_start(recipe: Recipe) -> bool:
    """Whether another recipe starts from what this one learns."""
    return any(other.starts_from == recipe.id for other in all_recipes(recipe.scale, recipe.seed))


def _starting_weights(recipe: Recipe, writer: PackWriter, keep_drawn: bool) -> Weights:
    """Recorded, so that every machine starts from the same bits."""
    if recipe.starts_from:
        weights = writer.final_weights(recipe.starts_from)
        if weights is None:
            raise RecordingError(
                f"{recipe.id} starts from the weights that {recipe.starts_from} learns in float32, which are not "
                f"recorded in {writer.folder}: record that recipe too (--recipe {recipe.starts_from})"
            )
        writer.start_from(recipe.id, recipe.starts_from)
        return weights
    if not keep_drawn:
        return storable(initial_weights(recipe))
    return writer.initial_weights(recipe.id, lambda: storable(initial_weights(recipe)))


def _measure(recipe: Recipe, conditions: Conditions, weights: Weights, say: Say) -> tuple[Measurement, Any]:
    network = build_network(recipe, conditions.variant.attention)
    load_weights(network, neighbouring(weights) if conditions.variant.moved_weights else weights)
    network.to(conditions.device)
    network.train()
    task = task_of(recipe, network, conditions)
    measurement = Measurement(recipe.id, recipe.digest, conditions.precision, conditions.variant.name)
    every = recipe.evaluation.every
    spoken = time.monotonic()

    def score(steps: int) -> None:
        network.eval()
        loss = task.validation_loss()
        if loss is not None:
            measurement.validation_losses[str(steps)] = loss
        network.train()

    def after(step: int, loss: float) -> None:
        nonlocal spoken
        if every and step % every == 0 and step < recipe.schedule.steps:
            score(step)
        if time.monotonic() - spoken > _EVERY:
            spoken = time.monotonic()
            say(f"step {step} of {recipe.schedule.steps}, loss {loss:.4f}")

    arrays = task.probe()
    with _routed(recipe, conditions.variant, say):
        curves = train(task.learning, task.loss, recipe.schedule, after)
        score(recipe.schedule.steps)
    network.eval()
    if conditions.variant.name == "base" and not recipe.reference_only:  # what a device's answers are held against
        measurement.items = task.items()
    measurement.arrays = {name: as_text(array) for name, array in {**arrays, **task.sample()}.items()}
    measurement.figures = task.figures()
    measurement.curves = copy.deepcopy(task.curves)
    measurement.losses, measurement.gradient_norms = curves.losses, curves.gradient_norms
    measurement.seconds, measurement.tokens_per_step = curves.seconds, task.tokens_per_step
    measurement.digests = {**task.digests, "weights": weights_digest(weights)}
    say(_summary(measurement))
    return measurement, network


def _inferred(recipe: Recipe, conditions: Conditions, weights: Weights, say: Say) -> tuple[Measurement, Any]:
    if recipe.standard_model.architecture == "stable_diffusion":
        measurement, network = measure_painting(recipe, conditions, weights)
    else:
        with _routed(recipe, conditions.variant, say):
            moved = neighbouring(weights) if conditions.variant.moved_weights else weights
            measurement, network = measure_inference(recipe, conditions, moved)
    measurement.digests["weights"] = weights_digest(weights)
    say(_summary(measurement))
    return measurement, network


@contextmanager
def _routed(recipe: Recipe, variant: Variant, say: Say) -> Iterator[None]:
    if not variant.other_experts:
        yield
        return
    with other_experts(int(recipe.settings["num_experts_per_tok"])) as decided:
        yield
    say(f"{decided[0]} ties between experts, decided the other way")


def _summary(measurement: Measurement) -> str:
    words = [f"loss {measurement.losses[0]:.4f} to {measurement.losses[-1]:.4f}"]
    words += [f"validation {loss:.4f}" for loss in list(measurement.validation_losses.values())[-1:]]
    answered = [item for item in measurement.items if item.expected]
    if answered:
        words.append(f"exact match {np.mean([item.expected == item.answer for item in answered]):.4f}")
    elif measurement.items:
        ahead = [item.figures["chosen"] > item.figures["rejected"] for item in measurement.items]
        words.append(f"chosen preferred {np.mean(ahead):.4f}")
    return ", ".join([*words, f"{sum(measurement.seconds):.1f} s"])


def in_order(recipes: Sequence[Recipe], alone: bool = False) -> tuple[Recipe, ...]:
    """``recipes`` with what they start from, and that first; or ``alone``, where another pack has what they need."""
    if alone:
        return tuple(recipes)
    known = {recipe.id: recipe for recipe in all_recipes(recipes[0].scale, recipes[0].seed)}
    ordered: dict[str, Recipe] = {}

    def put(recipe: Recipe) -> None:
        if recipe.starts_from:
            put(known[recipe.starts_from])
        ordered.setdefault(recipe.id, recipe)

    for recipe in recipes:
        put(recipe)
    return tuple(ordered.values())
