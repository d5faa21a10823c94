"""Every acceptance rule finds what it is for, and a device that only rounds otherwise passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from _simulation import answers, reference_runs, rounding, simulated
from adapter_conform.certification.acceptance import is_inconclusive, judge_measurement, state_of
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import RECIPES
from adapter_conform.states import State

PRETRAIN, LORA, DPO = (RECIPES[f"llama1-13b/{task}"] for task in ("pretrain", "lora", "dpo"))


def judged(run: Measurement, repeats: int = 2) -> dict[str, str]:
    """Gate and output of what did not pass -> "failed" or "inconclusive"."""
    recipe = RECIPES[run.recipe]
    figures = judge_measurement(recipe, run, reference_runs(recipe, run.precision, repeats))
    return {
        f"{item.gate}: {item.output}": "inconclusive" if is_inconclusive(item) else "failed"
        for item in figures
        if not item.passed
    }


TRAININGS = [recipe for recipe in RECIPES.values() if recipe.task != "inference"]


@pytest.mark.parametrize("recipe", TRAININGS, ids=lambda recipe: recipe.id)
def test_a_healthy_device_passes_every_rule(recipe: object) -> None:
    for precision in recipe.precisions:  # type: ignore[attr-defined]
        run = simulated(recipe, precision, "device", seed=7)  # type: ignore[arg-type]
        assert judged(run) == {}
        figures = judge_measurement(recipe, run, reference_runs(recipe, precision))  # type: ignore[arg-type]
        assert state_of(figures) is State.PASSED


def changed(**changes: object) -> Measurement:
    return simulated(PRETRAIN, "float32", "device", 7, **changes)


def executed(**facts: object) -> Measurement:
    return changed(executed={**HEALTHY.executed, **facts})


def scaled(run: Measurement, factor: float) -> list[float]:
    return [value * factor for value in run.losses]


HEALTHY = simulated(PRETRAIN, "float32", "device", 7)
TOO_STEEP = [value * 1.001 for value in HEALTHY.gradient_norms]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (changed(losses=scaled(HEALTHY, 1 + 1e-5)), "early loss: loss, relative"),
        (changed(losses=[HEALTHY.losses[0] * (1 + 1e-4), *HEALTHY.losses[1:]]), "first loss: loss, relative"),
        (changed(gradient_norms=TOO_STEEP), "gradient norm: gradient norm, relative"),
        (changed(validation_losses={"1000": HEALTHY.validation_losses["1000"] + 0.011}), "late loss: validation loss"),
        (changed(losses=HEALTHY.losses[:900]), "complete: steps missing"),
        (changed(error="RuntimeError: out of memory"), "complete: training"),
        (changed(losses=[*HEALTHY.losses[:-1], float("nan")]), "finite: losses"),
        (changed(losses=[*HEALTHY.losses[:-1], HEALTHY.losses[-1] + 1.0]), "stability: spike in training"),
        (changed(items=answers(PRETRAIN, changed=60)), "accuracy: exact match"),
        (executed(fell_back=["softmax/float32"]), "execution: kernels of another device"),
        (executed(off_device=["embed.weight"]), "execution: parameters elsewhere"),
        (executed(kernels={"matmul/bfloat16": 5}), "execution: products not in float32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_fault_fails_its_rule(run: Measurement, expected: str) -> None:
    assert judged(run).get(expected) == "failed"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (changed(recipe_digest="0" * 64), "same work: recipe, data, weights"),
        (changed(digests={**HEALTHY.digests, "weights": "f" * 64}), "same work: recipe, data, weights"),
        (changed(digests={}), "same work: recipe, data, weights"),
        (changed(items=answers(PRETRAIN)[:-1]), "accuracy: exact match"),
        (changed(items=[*answers(PRETRAIN), answers(PRETRAIN)[0]]), "accuracy: exact match"),
        (changed(items=[]), "accuracy: exact match"),
        (changed(executed={}), "execution: dtype of products"),
        (changed(validation_losses={}), "late loss: validation loss after step 1000"),
        (changed(gradient_norms=[]), "gradient norm: gradient norm"),
        (changed(seconds=[]), "performance: tokens per second"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_proves_nothing_is_inconclusive_and_no_pass(run: Measurement, expected: str) -> None:
    assert judged(run).get(expected) == "inconclusive"


def test_too_few_items_are_inconclusive_though_all_are_alike() -> None:
    few = answers(PRETRAIN)[:298]
    references = [replace(run, items=few) for run in reference_runs(PRETRAIN, "float32")]
    figures = judge_measurement(PRETRAIN, changed(items=few), references)
    (found,) = (figure for figure in figures if figure.gate == "accuracy")
    assert is_inconclusive(found)
    assert "298 items" in found.note


def test_without_a_reference_nothing_passes() -> None:
    figures = judge_measurement(PRETRAIN, HEALTHY, [])
    assert state_of(figures) is State.VACUOUS
    (bf16,) = (figure for figure in judge_measurement(PRETRAIN, HEALTHY, reference_runs(PRETRAIN, "bfloat16"))
               if not figure.passed)  # fmt: skip
    assert bf16.gate == "reference"


def test_without_repeats_an_error_above_the_floor_decides_nothing() -> None:
    found = judged(changed(losses=scaled(HEALTHY, 1 + 1e-5)), repeats=0)
    assert found["early loss: loss, relative"] == "inconclusive"
    assert found["bias: loss"] == "inconclusive"


def test_the_limit_follows_the_spread_of_the_reference() -> None:
    """The same device error fails beside a tight reference and passes beside one that spreads as much."""
    wide = [
        replace(run, losses=(np.array(run.losses) * (1 + rounding(place, 1000, 1e-5))).tolist())
        for place, run in enumerate(reference_runs(PRETRAIN, "float32"))
    ]
    run = changed(losses=(np.array(HEALTHY.losses) * (1 + rounding(50, 1000, 1e-5))).tolist())
    gates = {
        figure.output: figure.passed for figure in judge_measurement(PRETRAIN, run, wide) if figure.gate == "early loss"
    }
    assert gates == {"loss, relative": True, "loss, absolute": True}
    assert judged(run)["early loss: loss, relative"] == "failed"


def test_a_relative_error_near_zero_loss_is_not_judged() -> None:
    low = [value * 1e-3 if step > 500 else value for step, value in enumerate(HEALTHY.losses)]
    references = [replace(run, losses=low) for run in reference_runs(PRETRAIN, "float32")]
    off = [value + 1e-7 for value in low]
    assert not [
        f
        for f in judge_measurement(PRETRAIN, changed(losses=off), references)
        if f.gate == "early loss" and not f.passed
    ]


def test_a_lean_of_one_side_is_found_where_the_window_gate_is_silent() -> None:
    """Errors within every window's limit, all of one sign, beside a reference that swings quickly."""
    quick = [
        simulated(PRETRAIN, "float32", name, losses=(curve * (1 + rounding(seed, 1000, 3e-8, 0.0))).tolist())
        for name, seed in (("base", 1), ("repeat0", 2), ("repeat1", 3))
        for curve in [np.array(HEALTHY.losses)]
    ]
    leaning = changed(losses=(np.array(HEALTHY.losses) * (1 + 8e-7)).tolist())
    figures = judge_measurement(PRETRAIN, leaning, quick)
    assert [figure.gate for figure in figures if not figure.passed] == ["bias"]


def test_lora_that_was_not_reloaded_or_differs_after_it() -> None:
    assert judged(simulated(LORA, "float32", "device", 7, checks={"lora merged": ""})) == {
        "check: lora reloaded": "inconclusive"
    }
    wrong = {"lora reloaded": "", "lora merged": "3 of 512 tokens differ"}
    assert judged(simulated(LORA, "float32", "device", 7, checks=wrong)) == {"check: lora merged": "failed"}


def test_merged_adapters_are_held_against_what_merging_does_to_the_reference() -> None:
    far = simulated(LORA, "float32", "device", 7, figures={"lora merged": 3e-5})
    assert judged(far) == {"merging: logit, relative to the largest": "failed"}
    near = simulated(LORA, "float32", "device", 7, figures={"lora merged": 1.9e-5})
    assert judged(near) == {}
    unmeasured = simulated(LORA, "float32", "device", 7, figures={})
    assert judged(unmeasured) == {"merging: logit, relative to the largest": "inconclusive"}


def test_preferences() -> None:
    flipped = simulated(DPO, "float32", "device", 7, items=answers(DPO, changed=80))
    assert judged(flipped)["score: chosen preferred"] == "failed"
    assert judged(flipped)["score: reward margin, relative"] == "failed"
    healthy = simulated(DPO, "float32", "device", 7)
    off = {"margin": [value * 1.01 for value in healthy.curves["margin"]]}
    assert judged(replace(healthy, curves=off)) == {"curve: margin, absolute": "failed"}
    assert judged(replace(healthy, curves={})) == {"curve: margin": "inconclusive"}
    items = [replace(item, figures={}) for item in healthy.items]
    assert judged(replace(healthy, items=items))["score: chosen preferred"] == "inconclusive"


def test_a_recipe_for_speed_alone_needs_no_reference() -> None:
    recipe = RECIPES["gpt-3-175b/pretrain"]
    assert state_of(judge_measurement(recipe, simulated(recipe, "float32"), [])) is State.PASSED
