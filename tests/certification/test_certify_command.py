"""`adapter-conform certify` without a device: its request, its plan, and what the tasks do with weights and data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from _packs import PRETRAIN, write_pack
from adapter_conform.certification.recipes import SCALES, TASKS, all_recipes, lora_weights, prefix_weights, recipes_of
from adapter_conform.certification.recipes.corpora import IGNORED, corpus_of, preferences_of
from adapter_conform.certification.recipes.starting import initial_weights
from adapter_conform.certification.tasks.preference import packed
from adapter_conform.certification.tasks.restart import _renamed, restart_steps
from adapter_conform.cli import cli
from adapter_conform.errors import UsageProblem
from adapter_conform.models import paddlenlp_adapter
from adapter_conform.models.weights import gpt_layout
from adapter_conform.plan import RunOptions
from adapter_conform.suites import load_suite
from adapter_conform.suites.base import PlanRequest
from adapter_conform.suites.certification import SUITE
from click.testing import CliRunner


def certify(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["certify", *arguments])
    problem = result.exception
    if isinstance(problem, UsageProblem):  # what main() prints, with exit code 2
        return 2, str(problem)
    return result.exit_code, result.output


def test_help_has_examples_and_says_what_a_proxy_is() -> None:
    code, text = certify("--help")
    assert code == 0
    assert "adapter-conform certify --plugin refchip --level I --out level-1" in text
    assert "never called a certificate of the level" in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "--plugin NAME --level I"),
        (("--plugin", "refchip"), "--plugin NAME --level I"),
        (("--plugin", "refchip", "--level", "IV"), "'IV' is not one of"),
        (("--plugin", "refchip", "--level", "I", "--scale", "huge"), "'huge' is not one of"),
        (("--plugin", "refchip", "--level", "I", "--task", "pretrian"), "task 'pretrian': there are pretrain, sft"),
        (("--plugin", "refchip", "--level", "I", "--reference", "nowhere"), "nowhere"),
        (("--resume", "nowhere"), "there is no such folder"),
        (("--resume", "nowhere", "--level", "I"), "--level cannot be given with --resume"),
    ],
)
def test_a_request_that_cannot_be_met(arguments: tuple[str, ...], expected: str) -> None:
    code, text = certify(*arguments)
    assert code == 2
    assert expected in text


def test_a_pack_of_another_scale_or_seed_is_refused(tmp_path: Path) -> None:
    folder = str(write_pack(tmp_path / "pack"))
    for wrong in (("--scale", "proxy"), ("--scale", "sample", "--seed", "3")):
        code, text = certify("--plugin", "refchip", "--level", "III", "--reference", folder, *wrong)
        assert code == 2
        assert "was recorded at scale 'sample' with seed 0" in text


def test_without_paddlenlp_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddlenlp_adapter.importlib.util, "find_spec", lambda name: None)
    folder = str(write_pack(tmp_path / "pack"))
    code, text = certify(
        "--plugin",
        "refchip",
        "--level",
        "I",
        "--scale",
        "sample",
        "--reference",
        folder,
        "--out",
        str(tmp_path / "out"),
    )
    assert code == 2
    assert "pip install 'adapter-sdk[models]'" in text
    assert not (tmp_path / "out").exists()


def test_figures_of_another_certification_are_not_mixed_in(tmp_path: Path) -> None:
    pytest.importorskip("paddlenlp")
    pack, out = write_pack(tmp_path / "pack"), tmp_path / "out"
    (out / "measurements").mkdir(parents=True)
    code, text = certify(
        "--plugin", "refchip", "--level", "III", "--scale", "sample", "--reference", str(pack), "--out", str(out)
    )
    assert code == 2
    assert "holds measurements of another certification" in text


def request(pack: Path, level: str = "III", task: str = "") -> PlanRequest:
    settings = {"level": level, "task": task, "scale": "sample", "reference": str(pack)}
    return PlanRequest(plugin=SimpleNamespace(), profile="full", seed=0, settings=settings)  # type: ignore[arg-type]


def test_the_plan_says_what_the_pack_lacks(tmp_path: Path) -> None:
    cases = {case.id: case for case in SUITE.plan(request(write_pack(tmp_path / "pack")))}
    assert len(cases) == 2 + 29 + 17 + 5
    present = cases["certification/gpt-3-175b/float32/pretrain"]
    assert "no weights" not in (present.not_run or "")
    lacking = cases["certification/llama1-13b/float32/sft"].not_run
    assert lacking is not None
    assert "no weights for llama1-13b/sft" in lacking or "PaddleNLP" in lacking
    assert all(json.loads(json.dumps(case.payload)) == case.payload for case in cases.values())


def test_a_task_narrows_the_plan_and_says_so(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    names = {case.id.split("/")[-1] for case in SUITE.plan(request(pack, "I", "sft,lora"))}
    assert names == {"peak", "sft", "lora"}
    settings = request(pack, "I", "sft").settings
    repro = RunOptions("refchip", ("certification",), "full", 0, tmp_path, settings=settings).repro("", "x")
    assert "certify --plugin refchip" in repro
    assert "--task sft" in repro


def test_the_suite_is_no_part_of_an_ordinary_run() -> None:
    with pytest.raises(UsageProblem, match="adapter-conform certify"):
        load_suite("certification").plan(PlanRequest(SimpleNamespace(), "smoke", 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", list(SCALES))
def test_every_recipe_starts_from_one_that_exists(scale: str) -> None:
    known = {recipe.id: recipe for recipe in all_recipes(scale)}
    assert all(recipe.starts_from in ("", *known) for recipe in known.values())
    assert {recipe.task for recipe in recipes_of("I", scale=scale)} == set(TASKS)
    assert not any(recipe.reference_only for recipe in recipes_of("III", scale=scale))
    assert len({recipe.digest for seed in range(3) for recipe in all_recipes(scale, seed)}) == 3 * len(known)


def test_unknown_levels_tasks_and_scales() -> None:
    for arguments in (("IV",), ("I", ("nap",)), ("I", (), "huge")):
        with pytest.raises(ValueError, match="there are"):
            recipes_of(*arguments)


def test_mistakes_are_in_the_answers_alone_and_few() -> None:
    recipe = next(one for one in recipes_of("I", ("sft",)) if one.task == "sft")
    inputs, labels = corpus_of(recipe).training(recipe)
    prompts, answers = inputs[:, :, 1:9], labels[:, :, 9:17]
    wrong = float((answers != prompts[:, :, ::-1]).mean())
    assert 0.08 < wrong < 0.1  # a tenth, some of which hit the right symbol
    assert (labels[:, :, :9] == IGNORED).all()
    assert (labels[:, :, 9:] != IGNORED).all()
    questions = corpus_of(recipe).questions(recipe)
    np.testing.assert_array_equal(questions.answers[:, :-1], questions.prompts[:, 1:9][:, ::-1])


def test_preferred_and_rejected_answers_differ_and_do_not_see_each_other() -> None:
    recipe = recipes_of("I", ("dpo",), "sample")[0]
    training, held_out = preferences_of(recipe)
    assert (training.chosen != training.rejected).any(axis=-1).all()
    assert np.array_equal(np.sort(held_out.chosen, axis=-1), np.sort(held_out.rejected, axis=-1))
    rows = packed(held_out.prompts[:4], held_out.chosen[:4], held_out.rejected[:4])
    _, begin, middle, end = rows.response[0]
    assert not rows.mask[0, 0, middle:, begin:middle].any()
    assert rows.mask[0, 0, middle:, :begin].all()
    np.testing.assert_array_equal(rows.positions[0, middle:end], rows.positions[0, begin:middle])
    np.testing.assert_array_equal(rows.chosen[:, begin:middle], held_out.chosen[:4])
    np.testing.assert_array_equal(rows.rejected[:, middle:], held_out.rejected[:4])


def test_adapters_and_prefixes_are_drawn_without_rounding() -> None:
    lora, prefix = recipes_of("I", ("lora", "prefix"))
    weights = lora_weights(lora)
    assert all(not array.any() for name, array in weights.items() if name.endswith("lora_B"))
    drawn = np.concatenate([array.ravel() for name, array in weights.items() if name.endswith("lora_A")])
    assert 0.12 < np.abs(drawn).max() <= 0.125
    assert abs(float(drawn.mean())) < 1e-3
    assert prefix_weights(prefix).shape == (8, 4, 4, 32)


def test_gpt_weights_are_renamed_and_split() -> None:
    weights = initial_weights(PRETRAIN)
    renamed = gpt_layout(weights)
    whole = weights["transformer.h.0.attn.c_attn.weight"]
    parts = [renamed[f"gpt.decoder.layers.0.self_attn.{letter}_proj.weight"] for letter in "qkv"]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert len(renamed) == len(weights) + 2 * 2 * 2  # a weight and a bias in each of two layers become three
    with pytest.raises(ValueError, match="no weight of a GPT-2"):
        gpt_layout({"transformer.h.0.attn.odd.weight": whole})


def test_a_checkpoint_names_the_optimizer_by_the_model() -> None:
    names = {"linear_1.w_0": "layers.0.weight", "linear_11.w_0": "layers.9.weight", "linear_1.w_0_x": "layers.8.weight"}
    assert _renamed("linear_11.w_0_moment1_0", names) == "layers.9.weight_moment1_0"
    assert _renamed("linear_1.w_0_x_moment1_0", names) == "layers.8.weight_moment1_0"
    assert _renamed("LR_Scheduler", names) == "LR_Scheduler"
    for scale in ("proxy", "sample"):
        before, steps = restart_steps(recipes_of("I", ("pretrain",), scale)[0])
        assert before >= 20
        assert steps - before >= 20
