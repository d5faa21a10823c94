"""What acceptance says of inference: a device as near as the scheme allows passes, and each other one does not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from _inference import WEIGHTS, device, items, logits, recipe_of, record, reference, references, true_logits
from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance import Extras, Peak, judge_level, judge_measurement, state_of
from adapter_conform.certification.acceptance.figures import is_inconclusive
from adapter_conform.certification.acceptance.logits import FACTOR
from adapter_conform.certification.logits import LogitRecord
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs.schema import measurement_faults
from adapter_conform.certification.recipes import Recipe, recipes_of
from adapter_conform.certification.recipes.inference import SCHEMES, linear_inputs, maxima_of_all
from adapter_conform.certification.standard import load_standard
from adapter_conform.states import State, Verdict
from hypothesis import given, settings
from hypothesis import strategies as st

LLAMA = recipe_of("I", "LLaMA1-13B")
GROUPED = recipe_of("III", "LLaMA3-70B")
MIXTURE = recipe_of("III", "Qwen2-57B-A14B")


def judged(recipe: Recipe, run: Measurement) -> list[GateFigure]:
    return judge_measurement(recipe, run, references(recipe))


def failed(figures: list[GateFigure]) -> set[str]:
    return {figure.gate for figure in figures if not figure.passed and not is_inconclusive(figure)}


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [(recipe, name) for recipe in (LLAMA, GROUPED, MIXTURE) for name in recipe.precisions],
    ids=lambda value: value if isinstance(value, str) else value.model,
)
def test_a_healthy_device_passes(recipe: Recipe, precision: str) -> None:
    figures = judged(recipe, device(recipe, precision))
    assert state_of(figures) is State.PASSED, [figure for figure in figures if not figure.passed]


@pytest.mark.parametrize("precision", [*LLAMA.precisions, "int4"])
def test_a_larger_error_than_the_scheme_s_own_fails_in_the_way_that_has_it(precision: str) -> None:
    recipe = LLAMA if precision in LLAMA.precisions else GROUPED
    run = device(recipe, precision)
    run.logits["static"] = logits(recipe, precision, 8, 100.0 if precision == "float32" else 1.5 * FACTOR)
    figures = judged(recipe, run)
    assert state_of(figures) is State.FAILED
    assert "logits, static" in failed(figures)
    assert not {"logits, eager", "logits, served"} & failed(figures)


def _another_row(run: Measurement, recipe: Recipe) -> None:
    """One text's logits stand at another's place, and none of the few that are kept whole."""
    table = true_logits(recipe).copy()
    table[100:140] = table[200:240]
    run.logits["eager"] = record(recipe, table)


def _changed_answers(run: Measurement, recipe: Recipe) -> None:
    run.answers["served"][:2] = [[3] * 9] * 2


def _dense_products(run: Measurement, recipe: Recipe) -> None:
    calls = run.executed["ways"]["static"]["kernels"]
    calls["matmul/bfloat16"] = calls.pop(SCHEMES[run.precision].product)


def _wide_products(run: Measurement, recipe: Recipe) -> None:
    run.executed["ways"]["eager"]["kernels"]["matmul/float32"] = 10


def _unpacked_weights(run: Measurement, recipe: Recipe) -> None:
    run.executed["weight_bytes"] = 2 * WEIGHTS


def _off_device(run: Measurement, recipe: Recipe) -> None:
    run.executed["off_device"] = ["layer.weight: on cpu"]


def _moved_to_host(run: Measurement, recipe: Recipe) -> None:
    run.executed["ways"]["static"]["lowered"]["moved"] = ["softmax/float32"]


def _mixed_up(run: Measurement, recipe: Recipe) -> None:
    run.checks["serving together"] = "request 3: token 1 is 7, not 9"


def _shifted(run: Measurement, recipe: Recipe) -> None:
    """Logits are the former position's."""
    run.logits["served"] = record(recipe, np.roll(true_logits(recipe), 1, axis=0))


def _wrong_scores(run: Measurement, recipe: Recipe) -> None:
    run.items = items(recipe)
    for place in range(100, 130):
        run.items[place] = type(run.items[place])(str(place), run.items[place].expected, (3,) * 9, {})


@pytest.mark.parametrize(
    ("spoil", "gate"),
    [
        (_another_row, "logits, eager"),
        (_changed_answers, "greedy answers, served"),
        (_dense_products, "execution"),
        (_wide_products, "execution"),
        (_unpacked_weights, "size"),
        (_off_device, "execution"),
        (_moved_to_host, "execution"),
        (_mixed_up, "check"),
        (_shifted, "logits, served"),
        (_wrong_scores, "score"),
    ],
)
def test_a_fault_fails(spoil: Callable[[Measurement, Recipe], None], gate: str) -> None:
    run = device(GROUPED, "a8w8")
    spoil(run, GROUPED)
    figures = judged(GROUPED, run)
    assert state_of(figures) is State.FAILED
    assert gate in failed(figures)


def _without_a_way(run: Measurement) -> None:
    del run.logits["static"], run.answers["static"], run.executed["ways"]["static"]


def _without_a_check(run: Measurement) -> None:
    del run.checks["serving cached"]


def _without_placement(run: Measurement) -> None:
    run.executed["ways"]["static"]["lowered"]["on_device"] = 0


def _without_answers(run: Measurement) -> None:
    del run.answers["static"]


def _of_other_texts(run: Measurement) -> None:
    run.logits["eager"] = record(GROUPED, true_logits(GROUPED)) | {"surprise": run.logits["eager"]["top_logprobs"]}


@pytest.mark.parametrize(
    "spoil", [_without_a_way, _without_a_check, _without_placement, _without_answers, _of_other_texts]
)
def test_what_was_not_measured_is_inconclusive(spoil: Callable[[Measurement], None]) -> None:
    run = device(GROUPED, "a8w8")
    spoil(run)
    assert state_of(judged(GROUPED, run)) is State.VACUOUS


def test_without_repeats_float32_has_no_limit() -> None:
    figures = judge_measurement(LLAMA, device(LLAMA, "float32"), [reference(LLAMA, "float32")])
    assert state_of(figures) is State.VACUOUS


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 40), st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_a_record_survives_its_file(vocabulary: int, positions: int, seed: int) -> None:
    draw = np.random.RandomState(seed)
    table = draw.standard_normal((positions, vocabulary)).astype(np.float32)
    following = draw.randint(0, vocabulary, positions)
    before = LogitRecord.of(table, following, 3)
    after = LogitRecord.from_json(json.loads(json.dumps(before.to_json())))
    for name in ("top_ids", "top_logprobs", "surprise", "full"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    power = np.exp(table.astype(np.float64))
    wanted = -np.log(power[np.arange(positions), following] / power.sum(-1))
    assert after.surprise == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    assert (after.top_ids[:, 0] == table.argmax(-1)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"top_ids": {"shape": [1, 5], "base64": "AAAA"}},
        {"surprise": {"shape": [1], "base64": "AADAfw=="}},
        {"full": {"shape": [2], "base64": "AAAAAAAAAAA="}},
        {"full": None},
    ],
)
def test_a_record_that_is_none_is_refused(change: dict[str, object]) -> None:
    run = reference(LLAMA, "float32")
    run.logits["model"] = {**run.logits["model"], **change}
    assert any("logits" in fault for fault in measurement_faults(run))
    with pytest.raises(ValueError, match=r"logits|base64|reshape|buffer"):
        LogitRecord.from_json(run.logits["model"])


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        LogitRecord.of(np.array([[0.0, math.inf, 0, 0, 0, 0]]), np.array([1]), 1)


def test_the_references_are_sound_and_a_training_has_no_logits() -> None:
    run = reference(LLAMA, "float16")
    assert not list(measurement_faults(run))
    run.precision = "fp8"
    assert any("fp8" in fault for fault in measurement_faults(run))
    run.precision, run.logits = "float16", {}
    assert any("no logits" in fault for fault in measurement_faults(run))


def test_a_level_asks_for_inference_and_says_what_is_missing() -> None:
    recipes = recipes_of("I", ("inference",), "sample")
    runs = [device(LLAMA, name) for name in LLAMA.precisions]
    extras = Extras(peaks=[Peak("float32", 1.0, 0.5), Peak("bfloat16", 16.0, 0.5)])
    verdict = judge_level(load_standard(), "I", ("inference",), recipes, runs, references(LLAMA), extras)
    (task,) = verdict.tasks
    assert (task.model, task.task, task.verdict) == ("LLaMA1-13B", "inference", Verdict.CONFORMANT), task.reasons
    assert any("requests/s" in figure.note and "informative only" in figure.note for figure in task.performance)
    assert any(line.startswith("human-evaluation-inference") for line in verdict.missing)
    assert not any("soak" in line or "restart" in line or "tuning" in line for line in verdict.missing)
    partly = judge_level(load_standard(), "I", ("inference",), recipes, runs[:1], references(LLAMA), extras)
    assert partly.tasks[0].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("architecture", "name", "axis"),
    [
        ("llama", "model.layers.0.mlp.down_proj.weight", 1),
        ("llama", "lm_head.weight", None),
        ("llama", "model.embed_tokens.weight", None),
        ("qwen2_moe", "model.layers.0.mlp.experts.3.up_proj.weight", 1),
        ("qwen2_moe", "model.layers.0.mlp.gate.weight", None),
        ("qwen2_moe", "model.layers.0.mlp.shared_expert_gate.weight", None),
        ("gpt3", "transformer.h.0.attn.c_attn.weight", 0),
        ("gpt3", "transformer.wpe.weight", None),
    ],
)
def test_what_is_quantized(architecture: str, name: str, axis: int | None) -> None:
    assert linear_inputs(architecture, name, (64, 64)) == axis


def test_a_group_that_does_not_divide_a_layer_is_a_channel() -> None:
    scheme = SCHEMES["int4-g128"]
    assert [scheme.group_of(size) for size in (128, 352, 96)] == [128, -1, -1]


def test_an_expert_that_calibration_did_not_reach_takes_what_the_others_saw() -> None:
    names = [f"layers.{layer}.mlp.experts.{expert}.up_proj" for layer in (0, 1) for expert in (0, 1, 2)]
    rows = [[1.0, 5.0], [3.0, 2.0], [0.0, 0.0], [7.0, 7.0]]
    seen = {name: np.array(row) for name, row in zip(names, rows, strict=False)}
    found = {name: most.tolist() for name, most in maxima_of_all(seen, [*names, "layers.0.mlp.down_proj"]).items()}
    assert found == dict(zip(names, [[1, 5], [3, 2], [3, 5], [7, 7], [7, 7], [7, 7]], strict=True))
