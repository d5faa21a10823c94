"""Simulated inference: logits drawn at random, rounded as a scheme might, on a reference and on a device."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from _packs import DEVICE
from adapter_conform.certification.logits import LogitRecord
from adapter_conform.certification.measurement import Item, Measurement
from adapter_conform.certification.recipes import Recipe, recipes_of
from adapter_conform.certification.recipes.corpora import corpus_of
from adapter_conform.certification.recipes.inference import SCHEMES, SERVED, texts_of

OWN = {"float32": 1e-7, "float16": 5e-4, "bfloat16": 5e-3, "int8": 0.01, "a8w8": 0.02}
"""Relative error of a scheme; of the others 0.1."""
DIGESTS = {"training": "aa", "validation": "bb", "questions": "cc"}
WEIGHTS = 100_000
ANSWERED = 64


def recipe_of(level: str, model: str, scale: str = "sample") -> Recipe:
    (found,) = (one for one in recipes_of(level, ("inference",), scale) if one.model == model)
    return found


@cache
def true_logits(recipe: Recipe) -> np.ndarray:
    positions = int(texts_of(recipe).judged.sum())
    return np.random.RandomState(recipe.seed).standard_normal((positions, int(recipe.settings["vocab_size"]))) * 3


@cache
def logits(recipe: Recipe, precision: str, seed: int, factor: float = 1.0) -> dict[str, Any]:
    """A record of the true logits with ``factor`` times the error of the scheme, most of which is the same on every
    device, as the integers are."""
    exact = true_logits(recipe)
    own, shared = (np.random.RandomState(one).standard_normal(exact.shape) for one in (seed, 1))
    mixed = own if precision == "float32" else 0.999 * shared + 0.03 * own
    return record(recipe, exact + mixed * 3 * OWN.get(precision, 0.1) * factor)


def record(recipe: Recipe, table: np.ndarray) -> dict[str, Any]:
    texts = texts_of(recipe)
    return LogitRecord.of(table, texts.labels[texts.judged], int(recipe.option("full_positions"))).to_json()


@cache
def _answers(recipe: Recipe) -> list[list[int]]:
    found: list[list[int]] = corpus_of(recipe).questions(recipe).answers.tolist()
    return found


def items(recipe: Recipe) -> list[Item]:
    """Nine in ten are right, and all are decided."""
    return [
        Item(str(i), tuple(row), tuple(row if i % 10 else row[::-1]), {"margin": 9.0})
        for i, row in enumerate(_answers(recipe))
    ]


def reference(recipe: Recipe, precision: str, variant: str = "base", seed: int = 1) -> Measurement:
    steps = recipe.schedule.steps
    return Measurement(
        recipe.id,
        recipe.digest,
        precision,
        variant,
        losses=[1.0] * steps,
        seconds=[0.5] * steps,
        items=items(recipe) if variant == "base" else [],
        tokens_per_step=recipe.schedule.tokens_per_step,
        digests=dict(DIGESTS),
        executed={"weight_bytes": WEIGHTS if SCHEMES[precision].bits else 0},
        environment={"device": DEVICE},
        logits={"model": dict(logits(recipe, precision, 0 if (precision, variant) == ("float32", "base") else seed))},
    )


@cache
def references(recipe: Recipe) -> list[Measurement]:
    """Not to be changed: every caller gets the same."""
    found = [
        reference(recipe, "float32"),
        reference(recipe, "float32", "sdpa", 2),
        reference(recipe, "float32", "ulp", 3),
    ]
    return found + [reference(recipe, name) for name in recipe.precisions if name != "float32"]


def ways_of(recipe: Recipe) -> tuple[str, ...]:
    return ("eager", "static", *(("served",) if recipe.standard_model.architecture in SERVED else ()))


def device(recipe: Recipe, precision: str, seed: int = 7, factor: float = 1.0) -> Measurement:
    scheme, layers = SCHEMES[precision], int(recipe.settings["num_hidden_layers"])
    ways: dict[str, Any] = {}
    for way in ways_of(recipe):
        kernels = {scheme.product: 10 * (9 * layers + 1)}
        if scheme.bits:
            kernels[f"matmul/{scheme.dtype}"] = 10
        ways[way] = {"passes": 10, "kernels": kernels, "beside": {}, "preparing": {}}
    ways["static"]["lowered"] = {"on_device": 100, "moved": []}
    run = reference(recipe, precision, seed=seed)
    run.answers = {way: [list(item.answer) for item in run.items[:ANSWERED]] for way in ways}
    run.logits = {way: dict(logits(recipe, precision, seed, factor)) for way in ways}
    run.environment = {}
    load = {
        "qps": 50.0, "requests": 64, "first_token_mean": 0.1, "first_token_p99": 0.2, "tokens_per_second": 450.0,
        "within": True,
    }  # fmt: skip
    run.executed |= {"kernels": {scheme.product: 1}, "ways": ways, "fell_back": [], "off_device": [], "load": load}
    if precision == recipe.precisions[0]:
        run.checks = {f"serving {name}": "" for name in ("together", "cached", "seeded", "by_definition", "returned")}
    return run
