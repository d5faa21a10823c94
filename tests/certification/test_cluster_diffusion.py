"""plan-cluster of Stable Diffusion: counts against published ones, memory, strategies, scripts."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_conform.certification.cluster.diffusion_model import DiffusionModel, diffusion_model
from adapter_conform.certification.cluster.launch import write_scripts
from adapter_conform.certification.cluster.memory import GIB
from adapter_conform.certification.cluster.programs import program_of
from adapter_conform.certification.cluster.search import Cluster, plan_recipe
from adapter_conform.certification.cluster.timing import cost
from adapter_conform.certification.cluster.workloads import DiffusionWorkload, workload_of
from adapter_conform.certification.recipes import recipes_of
from adapter_conform.errors import UsageProblem
from adapter_conform.models.diffusion_settings import STABLE_DIFFUSION
from hypothesis import given, settings
from hypothesis import strategies as st

RECIPES = {recipe.task: recipe for recipe in recipes_of("II", ("pretrain", "sft"), "full") if recipe.model == "SD"}
PRETRAIN, SFT = (diffusion_model(STABLE_DIFFUSION, task) for task in ("pretrain", "sft"))
SIZES = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
CLUSTER = Cluster(8, 80, 312, 0.4)


def norm_numbers(model: DiffusionModel, network: str) -> int:
    """What all layer norms of a network give."""
    found = [layer for layer in model.layers if layer.name.startswith(f"{network}.") and "norm" in layer.name]
    layer_norms = [one for one in found if network == "text_encoder" or "transformer_blocks" in one.name]
    return sum(one.shape[0] * one.places for one in layer_norms)


@pytest.mark.parametrize(("network", "published"), [("unet", 338_749_194_240), ("text_encoder", 6_545_882_112)])
def test_arithmetic_is_what_is_published(network: str, published: int) -> None:
    """One row at 512 x 512, counted by thop (https://github.com/Nota-NetsPresso/BK-SDM/issues/53): it sees no products
    of attention, and takes a layer norm for four multiplications a number."""
    assert SFT.macs(network, attention=False) + 4 * norm_numbers(SFT, network) == published


def test_attention_is_counted_by_hand() -> None:
    """At 64, 32 and 16 places a side five times each, at 8 once: places ask each other, and 77 words."""
    places = {64: (320, 5), 32: (640, 5), 16: (1280, 5), 8: (1280, 1)}
    products = sum(count * 2 * width * side**2 * (side**2 + 77) for side, (width, count) in places.items())
    assert SFT.macs("unet") - SFT.macs("unet", attention=False) == products


def test_what_a_task_trains_costs_three_passes() -> None:
    assert PRETRAIN.trained == SIZES["unet"] + SIZES["text_encoder"]
    assert (SFT.trained, SFT.frozen) == (SIZES["unet"], SIZES["vae"] + SIZES["text_encoder"])
    assert (SFT.side, SFT.words) == (512, 77)
    unet, encoder, text = (SFT.macs(name) for name in ("unet", "vae", "text_encoder"))
    assert SFT.flops_per_row == 6 * unet + 2 * encoder + 2 * text
    assert PRETRAIN.flops_per_row == 6 * unet + 2 * encoder + 6 * text


def test_activations_of_a_residual_block_and_a_transformer_by_hand() -> None:
    """The first of both in the UNet: 320 wide, 4096 places; see the module for what is kept."""
    places, width, words = 4096, 320, 77

    def kept(prefix: str, flash: bool) -> float:
        return sum(layer.kept_bytes(flash) for layer in SFT.layers if layer.name.startswith(f"unet.{prefix}."))

    time = 2 * 1280
    assert kept("down_blocks.0.resnets.0", True) == 2 * 6 * width * places + time
    inner = 2 * (31 * width * places + 2 * width * words)
    assert kept("down_blocks.0.attentions.0", True) == inner + 2 * 4 * 8 * places
    assert kept("down_blocks.0.attentions.0", False) == inner + 2 * 8 * places * (places + words)


def test_forty_gigabytes_are_enough_as_published() -> None:
    """PaddleMIX's README of the program: 64 rows at 256 x 256 in float32, recomputed, train on a card of 40 GB, and on
    one of 32 GB with half the rows. Float32 takes 16 bytes for a trained parameter too, 4 for a frozen one."""
    shape = {**STABLE_DIFFUSION, "unet": {**STABLE_DIFFUSION["unet"], "sample_size": 32}}
    model = diffusion_model(shape, "sft")
    states = 16 * model.trained + 4 * model.frozen

    def total(rows: int) -> float:
        return (1.4 * (states + 2 * rows * model.activation_bytes(recompute=True)) + 2 * GIB) / 1e9

    assert 32 < total(64) < 40
    assert total(32) < 32


def test_each_saving_saves() -> None:
    assert PRETRAIN.activation_bytes(True) < SFT.activation_bytes(False) < PRETRAIN.activation_bytes(False)
    assert SFT.activation_bytes(False) < SFT.activation_bytes(False, flash=False)
    assert SFT.activation_bytes(True, flash=False) < SFT.activation_bytes(False, flash=False)
    workload = DiffusionWorkload(RECIPES["sft"])
    totals = {
        strategy.stage: workload.memory(strategy).total
        for strategy in workload.strategies(8)
        if strategy.micro == 1 and not strategy.recompute
    }
    assert sorted(totals, key=lambda stage: -totals[stage]) == [0, 1, 2, 3]
    need = workload.memory(next(iter(workload.strategies(1))))
    assert (need.weights, need.gradients, need.optimizer) == (
        2 * sum(SIZES.values()),
        2 * SFT.trained,
        12 * SFT.trained,
    )


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(RECIPES)), st.integers(1, 300))
def test_every_strategy_uses_every_card_and_row(task: str, cards: int) -> None:
    recipe = RECIPES[task]
    for strategy in workload_of(recipe).strategies(cards):
        assert strategy.cards == strategy.replicas == cards
        assert recipe.schedule.rows % (cards * strategy.micro) == 0
        assert (strategy.stage > 0) == (strategy.sharding > 1)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(sorted(RECIPES)), st.sampled_from((1, 2, 4, 8, 16, 32)), st.floats(12, 96))
def test_what_is_planned_fits(task: str, cards: int, memory: float) -> None:
    cluster, workload = Cluster(cards, memory, 312, 0.4), workload_of(RECIPES[task])
    if min(workload.memory(strategy).total for strategy in workload.strategies(cards)) > memory * GIB:
        with pytest.raises(UsageProblem, match="no strategy fits"):
            plan_recipe(RECIPES[task], cluster)
        return
    planned = plan_recipe(RECIPES[task], cluster)
    assert planned.memory.total <= memory * GIB
    assert planned.strategy.cards == cards


def test_time_and_disk_are_arithmetic() -> None:
    workload = DiffusionWorkload(RECIPES["sft"])
    found = cost(workload, next(iter(workload.strategies(8))), 312, 0.5)
    assert found.tokens == 1000 * 32
    assert found.seconds == pytest.approx(32_000 * SFT.flops_per_row / (8 * 312e12 * 0.5))
    assert found.checkpoint_bytes == 14 * SFT.trained
    assert found.data_bytes == 32_000 * (3 * 512 * 512 + 4 * 77)
    assert found.start_bytes == 2 * (SFT.trained + SFT.frozen)


def test_the_scripts_start_the_program_with_its_arguments(tmp_path: Path) -> None:
    """With a python that prints its words in the place of the real one."""
    planned = plan_recipe(RECIPES["pretrain"], Cluster(8, 16, 312, 0.4))
    program = program_of(planned, "refchip")
    assert program.arguments["train_text_encoder"] is True
    assert program.arguments["sharding"] == "stage1"
    assert "sharding" not in program_of(plan_recipe(RECIPES["sft"], CLUSTER), "refchip").arguments
    paths = write_scripts(planned, "refchip", tmp_path)
    assert {path.name for path in paths} == {"sd.pretrain.launch.sh", "sd.pretrain.slurm"}
    for path in paths:
        subprocess.run(["bash", "-n", str(path)], check=True, timeout=30)
    assert "Assumed, not run" in paths[0].read_text()
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    variables = {"SD": "sd", "MODEL": "m", "DATA": "d", "OUTPUT": "o", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([str(paths[0])], env=variables, capture_output=True, text=True, check=True, timeout=30)
    words = shlex.split(done.stdout)
    assert "sd/train_txt2img_laion400m_trainer.py" in words
    for name, value in {**program.arguments, "file_list": "d", "output_dir": "o"}.items():
        assert words[words.index(f"--{name}") + 1] == str(value)


def test_command(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "adapter_conform", "plan-cluster", "--level", "II", "--peak", "312"]
    asked = [*line, "--model", "SD", "--cards", "8", "--memory", "40", "--out", str(tmp_path / "plan")]
    good = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert good.returncode == 0, good.stderr
    assert "sd/pretrain" in good.stdout
    assert "Not planned" not in good.stdout
    assert len(list((tmp_path / "plan").iterdir())) == 4
    with pytest.raises(UsageProblem, match="7 cards do not divide 256 rows evenly\nIt fits on 8 cards"):
        plan_recipe(RECIPES["pretrain"], Cluster(7, 80, 312, 0.4))
    with pytest.raises(UsageProblem, match=r"the least that one needs there is .* GiB a card\nIt fits on 2 cards"):
        plan_recipe(RECIPES["sft"], Cluster(1, 16, 312, 0.4))
