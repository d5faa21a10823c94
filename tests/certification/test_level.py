"""The verdict on a level: cumulative, with tuning, with what is missing, and never more than was shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from _simulation import simulated, whole
from adapter_conform.certification.acceptance import Extras, LevelVerdict, Peak, Resume, judge_level, soak_of
from adapter_conform.certification.acceptance.soaking import GAP
from adapter_conform.certification.acceptance.stability import resumed
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import RECIPES, Recipe, recipes_of
from adapter_conform.certification.standard import load_baselines, load_standard, read_standard
from adapter_conform.errors import ConformError
from adapter_conform.soak.heartbeat import Beat
from adapter_conform.states import Verdict

STANDARD = load_standard()
CPU = {"device": {"kind": "cpu", "name": "a processor"}}
GPU = {"device": {"kind": "cuda", "name": "A100"}}
LEVEL = recipes_of("I")
DEVICE, REFERENCES = whole(LEVEL)


def judged(
    device: list[Measurement] = DEVICE,
    extras: Extras | None = None,
    level: str = "I",
    recipes: list[Recipe] | None = None,
    tasks: tuple[str, ...] = (),
    provenance: dict[str, object] = CPU,
) -> LevelVerdict:
    return judge_level(
        STANDARD,
        level,
        tasks,
        LEVEL if recipes is None else recipes,
        device,
        REFERENCES,
        extras or Extras(),
        provenance,
    )


def verdicts(found: LevelVerdict) -> dict[str, Verdict]:
    return {f"{task.model} {task.task}": task.verdict for task in found.tasks}


def test_the_standard_is_data() -> None:
    assert STANDARD.levels == ("I", "II", "III")
    cells = [(item.model, item.task) for item in STANDARD.required("II")]
    assert ("LLaMA1-13B", "lora") in cells
    assert ("SD", "sft") in cells
    assert ("SD", "lora") not in cells
    assert ("LLaMA3-70B", "sft") not in cells
    (gpt,) = (item for item in STANDARD.required("III") if item.model == "GPT-3-175B")
    assert (gpt.performance_only, gpt.min_ratio) == (True, 0.6)
    assert STANDARD.baselines["LLaMA1-13B"].tokens_per_tflops == pytest.approx(1969.64 / 312)
    assert len(load_baselines()) == 2
    for text in ("[limits]", "not toml [", ""):
        with pytest.raises(ConformError, match="the standard cannot be read"):
            read_standard(text)
    with pytest.raises(ConformError, match="the standard has"):
        STANDARD.required("IV")


def test_a_healthy_level() -> None:
    found = judged()
    assert set(verdicts(found).values()) == {Verdict.CONFORMANT}
    assert found.verdict is Verdict.CONFORMANT
    assert found.title == "proxy of level I: conformant"
    assert found.reference == "reference: PyTorch on CPU"
    assert any("human-evaluation" in line for line in found.missing)
    assert any("GPU" in line for line in found.missing)
    assert not any("GPU:" in line for line in judged(provenance=GPU).missing)
    assert not any("human" in line for line in judged(extras=Extras(attachments=["human-evaluation-tuning"])).missing)


def test_a_bad_tuning_takes_the_pretraining_with_it() -> None:
    bad = [replace(run, error="out of memory") if run.recipe.endswith("/sft") else run for run in DEVICE]
    found = verdicts(judged(bad))
    assert found["LLaMA1-13B sft"] is Verdict.NOT_CONFORMANT
    assert found["LLaMA1-13B pretrain"] is Verdict.INCONCLUSIVE
    assert judged(bad).verdict is Verdict.NOT_CONFORMANT


def test_pretraining_alone_shows_no_level() -> None:
    only = [recipe for recipe in LEVEL if recipe.task == "pretrain"]
    found = judged(recipes=only, tasks=("pretrain",))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert any("lora, sft" in line for line in found.reasons)
    assert "a part of it" in found.title


def test_a_missing_precision_and_a_double_record() -> None:
    assert verdicts(judged(DEVICE[1:]))["LLaMA1-13B pretrain"] is Verdict.INCONCLUSIVE
    assert verdicts(judged([*DEVICE, DEVICE[0]]))["LLaMA1-13B pretrain"] is Verdict.INCONCLUSIVE


def test_a_higher_level_needs_the_lower_one_and_what_has_no_recipe() -> None:
    found = judged(level="II")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert verdicts(found)["SD sft"] is Verdict.INCONCLUSIVE
    assert verdicts(found)["LLaMA1-13B sft"] is Verdict.CONFORMANT


def test_an_understated_peak_is_found_out() -> None:
    honest = Extras(peaks=[Peak("float32", 2.0, 1.5)])
    assert judged(extras=honest).verdict is Verdict.CONFORMANT
    liar = judged(extras=Extras(peaks=[Peak("float32", 1.0, 1.5)]))
    assert liar.verdict is Verdict.NOT_CONFORMANT
    assert any(line.startswith("peak, measured / declared, float32") for line in liar.reasons)


def full(cards: int, peak: float) -> LevelVerdict:
    """The true scale, each run at its simulated 2 to 5 thousand tokens a second a step of 0.1 s."""
    recipes = [replace(recipe, scale="full") for recipe in LEVEL]
    device, references = whole(recipes)
    extras = Extras(cards=cards, peaks=[Peak("float32", peak, peak / 2), Peak("bfloat16", peak, peak / 2)])
    return judge_level(STANDARD, "I", (), recipes, device, references, extras, GPU)


def test_performance_counts_at_the_true_scale_alone() -> None:
    """2.4 thousand tokens a second: 0.2 of the published 6.31 a TFLOPS needs fewer than 1930 TFLOPS."""
    fast, slow = verdicts(full(1, 1000.0)), verdicts(full(8, 1000.0))
    assert fast["LLaMA1-13B pretrain"] is Verdict.CONFORMANT
    assert slow["LLaMA1-13B pretrain"] is Verdict.NOT_CONFORMANT
    assert full(1, 1000.0).verdict is Verdict.INCONCLUSIVE  # attachments and the soak are missing
    peaks = [Peak("float32", 1e9, 1.0)]
    assert judged(extras=Extras(peaks=peaks)).verdict is Verdict.CONFORMANT


PRETRAIN = RECIPES["llama1-13b/pretrain"]
RUNS = [run for run in REFERENCES if run.recipe == PRETRAIN.id and run.precision == "float32"]


def gates(losses: list[float]) -> dict[str, bool]:
    figures = resumed(Resume(PRETRAIN.id, "float32", 500, losses), RUNS, STANDARD.limits)
    return {figure.output.split(":")[0]: figure.passed for figure in figures}


def test_restart() -> None:
    losses = simulated(PRETRAIN, "float32", seed=7).losses
    assert gates(losses) == {"spike": True, "falling": True}
    assert gates([*losses[:500], losses[500] + 1.0, *losses[501:]]) == {"spike": False, "falling": True}
    assert gates([*losses[:500], *(loss + 1.0 for loss in losses[500:])]) == {"spike": False, "falling": False}
    assert gates(losses[:510])["falling"] is False
    spiked = [*losses[:400], losses[400] + 1.0, *losses[401:]]
    assert gates(spiked)["spike"] is True  # before the restart: not its business


TRAINING = {"plugin": "acme", "strategy": "dp2"}
DAY = 1440
"""Beats."""


def beats(days: float) -> list[Beat]:
    """A heartbeat a minute."""
    return [Beat(60.0 * n, 60.0 * n, n + 1, 2.0, 0.1, 0, 0, 0, 1, 0) for n in range(int(days * DAY))]


def test_fourteen_days_of_heartbeats_are_enough_and_less_is_missing() -> None:
    whole_ = judged(extras=Extras(soak=soak_of(beats(14.1), TRAINING)))
    assert not any("soak" in words for words in whole_.missing)
    assert any(figure.output == "days short of 14" and figure.passed for figure in whole_.general)
    (words,) = (
        words for words in judged(extras=Extras(soak=soak_of(beats(13.9), TRAINING))).missing if "soak" in words
    )
    assert "13.9 days" in words
    assert any("soak" in words for words in judged(extras=Extras()).missing)


@pytest.mark.parametrize(
    ("field", "more", "name"),
    [("time", 2 * GAP, "gaps"), ("session", 1, "stops"), ("restarts", 1, "restarts")],
)
def test_what_interrupts_a_soak_is_counted_and_ends_a_stretch(field: str, more: float, name: str) -> None:
    log = beats(15)
    rest = [replace(beat, **{field: getattr(beat, field) + more}) for beat in log[8 * DAY :]]
    soak = soak_of([*log[: 8 * DAY], *rest], TRAINING)
    assert getattr(soak, name) == 1
    assert soak.longest_s == pytest.approx(8 * 86400.0, abs=121.0)
    assert any("soak" in words for words in judged(extras=Extras(soak=soak)).missing)


def test_a_soak_that_stands_still_or_loses_its_loss_shows_nothing() -> None:
    still = [replace(beat, step=1) for beat in beats(15)]
    assert soak_of(still, TRAINING).longest_s == 0.0
    lost = [replace(beat, loss=float("nan")) for beat in beats(15)]
    verdict = judged(extras=Extras(soak=soak_of(lost, TRAINING)))
    assert verdict.verdict is Verdict.NOT_CONFORMANT
    with pytest.raises(ValueError, match="no heartbeat"):
        soak_of([], TRAINING)


def test_extras_survive_the_round_trip_and_refuse_others() -> None:
    soak = soak_of(beats(0.1), TRAINING)
    extras = Extras(2, [Peak("float32", 1.0, 0.5)], [Resume("a/b", "float32", 3, [1.0])], soak, ["x"])
    assert Extras.from_json(extras.to_json()) == extras
    for text in ("[]", "{}", '{"format": 2}', "null"):
        with pytest.raises(ValueError, match=r"extras|format"):
            Extras.from_json(text)
