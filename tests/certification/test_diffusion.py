"""Stable Diffusion in certification: its data, its names, its rules; and on refchip, healthy and with faults."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _simulation import simulated
from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance import judge_measurement
from adapter_conform.certification.acceptance.comparison import compared
from adapter_conform.certification.acceptance.diffusion import gradients
from adapter_conform.certification.acceptance.figures import is_inconclusive
from adapter_conform.certification.arrays import as_array, as_text
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import builtin, read_pack
from adapter_conform.certification.packs.schema import measurement_faults
from adapter_conform.certification.recipes import Recipe, all_recipes, recipes_of
from adapter_conform.certification.recipes.diffusion_shapes import diffusion_shapes
from adapter_conform.certification.recipes.pictures import (
    TIMES,
    alphas,
    picture_digests,
    sampling_times,
    start_of,
    training_batch,
)
from adapter_conform.certification.recipes.starting import initial_weights, storable
from adapter_conform.certification.standard import load_standard
from adapter_conform.models.diffusion_names import diffusion_layout, learning, paddle_name
from adapter_conform.models.diffusion_settings import STABLE_DIFFUSION
from conform_harness import conform_environment
from diffusion_faults import OF_NETWORKS, OF_TRAINING

RECIPES = {recipe.id: recipe for recipe in recipes_of("II", (), "sample") if recipe.model == "SD"}
PRETRAIN, SFT = RECIPES["sd/pretrain"], RECIPES["sd/sft"]
NEW_GATES = {"network alone", "gradients", "sampling", "picture"}


def test_level_two_trains_it_and_tunes_it_from_what_it_learned() -> None:
    assert set(RECIPES) == {"sd/pretrain", "sd/sft", "sd/inference"}
    assert (PRETRAIN.level, PRETRAIN.starts_from, SFT.starts_from) == ("II", "", "sd/pretrain")
    assert not [recipe for recipe in all_recipes("sample") if recipe.id == "sd/base"]
    full = next(recipe for recipe in recipes_of("II", (), "full") if recipe.id == "sd/pretrain")
    assert full.settings["unet"]["block_out_channels"] == (320, 640, 1280, 1280)
    assert full.option("guidance") == 7.5


def test_the_true_configuration_has_the_published_number_of_weights() -> None:
    """Stable Diffusion 1.5: 859,520,964 and 83,653,863 and 123,060,480."""
    counts = dict.fromkeys(("unet", "vae", "text_encoder"), 0)
    for name, shape in diffusion_shapes(STABLE_DIFFUSION).items():
        counts[name.partition(".")[0]] += math.prod(shape)
    assert list(counts.values()) == [859_520_964, 83_653_863, 123_060_480]


def test_the_drawn_weights_are_those_that_were_recorded() -> None:
    drawn, recorded = storable(initial_weights(PRETRAIN)), read_pack(builtin("sample")).weights(PRETRAIN.id)
    assert weights_digest(drawn) == weights_digest(recorded)


def test_every_draw_is_the_same_and_every_number_exact() -> None:
    assert picture_digests(PRETRAIN) == picture_digests(PRETRAIN)
    assert picture_digests(PRETRAIN)["training"] != picture_digests(SFT)["training"]
    assert picture_digests(PRETRAIN)["training"] != picture_digests(replace(PRETRAIN, seed=1))["training"]
    batch = training_batch(PRETRAIN, 3)
    assert batch.pictures.shape == (4, 3, 16, 16)
    assert np.abs(batch.pictures).max() <= 1.0
    assert batch.captions[0].tolist()[0] == 62
    assert batch.captions[0].tolist()[-2:] == [63, 63]
    assert start_of(PRETRAIN).empty.tolist() == [[62, *[63] * 7]]
    many = np.concatenate([training_batch(PRETRAIN, step).noise.ravel() for step in range(40)])
    assert abs(many.mean()) < 0.02
    assert many.std() == pytest.approx(1.0, abs=0.02)


def test_times_run_from_noise_to_picture() -> None:
    assert sampling_times(4) == [751, 501, 251, 1]
    left = alphas()
    assert left.shape == (TIMES,)
    assert (np.diff(left) < 0).all()
    assert left[0] == pytest.approx(1 - 0.00085)


def test_weights_get_paddle_s_names_and_layout() -> None:
    old, new = "text_encoder.text_model.encoder.layers.0.mlp.fc1.weight", "text_encoder.encoder.layers.0.mlp.fc1.weight"
    assert paddle_name(old) == paddle_name(new) == "text_encoder.text_model.transformer.layers.0.linear1.weight"
    table = "text_encoder.text_model.embeddings.token_embedding.weight"
    linear, filters = np.zeros((3, 2), np.float32), np.zeros((3, 2, 1, 1), np.float32)
    dense = "unet.time_embedding.linear_1.weight"
    laid = diffusion_layout({table: linear, dense: linear, "unet.conv_in.weight": filters})
    assert laid["text_encoder.text_model.token_embedding.weight"].shape == (3, 2)
    assert laid[dense].shape == (2, 3)
    assert laid["unet.conv_in.weight"].shape == (3, 2, 1, 1)
    names = (table, "unet.conv_in.weight", "vae.quant_conv.bias")
    assert [learning(name, "pretrain") for name in names] == [True, True, False]
    assert [learning(name, "sft") for name in names] == [False, True, False]


def test_arrays_keep_every_bit_and_refuse_what_is_none() -> None:
    array = np.array([[0.1, np.finfo(np.float32).tiny], [3e38, -0.0]], np.float32)
    assert as_array(as_text(array)).tobytes() == array.tobytes()
    text = as_text(array)
    for wrong in (
        None,
        {**text, "more": 1},
        {**text, "shape": [3]},
        {**text, "shape": [-2, -2]},
        {**text, "float32": "?"},
    ):
        with pytest.raises(ValueError, match="array"):
            as_array(wrong)


REFERENCES = [simulated(PRETRAIN, "float32", "base", seed=100), simulated(PRETRAIN, "float32", "sdpa", seed=110)]
DEVICE = simulated(PRETRAIN, "float32", "device", seed=7)


def judged(device: Measurement) -> dict[str, GateFigure]:
    figures = judge_measurement(PRETRAIN, device, REFERENCES)
    return {f"{one.gate}: {one.output}": one for one in figures}


def wrong(device: Measurement) -> set[str]:
    return {name for name, figure in judged(device).items() if not figure.passed}


def test_a_healthy_run_passes_and_each_array_is_judged() -> None:
    assert wrong(DEVICE) == set()
    assert {name.partition(":")[0] for name in judged(DEVICE)} >= NEW_GATES
    for name in DEVICE.arrays:
        changed = replace(DEVICE, arrays={**DEVICE.arrays, name: as_text(1.001 * as_array(DEVICE.arrays[name]))})
        gates = {gate.partition(":")[0] for gate in wrong(changed)}
        assert len(gates) == 1, name
        assert gates <= NEW_GATES


def test_an_array_that_is_missing_misshapen_or_infinite_never_passes() -> None:
    lacking = replace(DEVICE, arrays={name: one for name, one in DEVICE.arrays.items() if name != "latents"})
    assert is_inconclusive(judged(lacking)["sampling: latents"])
    for array in (np.zeros((1, 4, 4, 4)), np.full((1, 4, 8, 8), np.nan)):
        figure = judged(replace(DEVICE, arrays={**DEVICE.arrays, "latents": as_text(array)}))["sampling: latents"]
        assert not figure.passed
        assert not is_inconclusive(figure)


def test_a_step_of_sampling_has_the_limit_of_the_steps_up_to_it() -> None:
    noise = as_array(DEVICE.arrays["noise"]).copy()
    noise[2] *= 1.0001
    figure = judged(replace(DEVICE, arrays={**DEVICE.arrays, "noise": as_text(noise)}))["sampling: noise"]
    assert not figure.passed
    assert "number 2 of 4" in figure.note


@pytest.mark.parametrize("recipe", [PRETRAIN, SFT], ids=["pretrain", "sft"])
def test_a_tenth_of_one_gradient_is_found_in_bfloat16(recipe: Recipe) -> None:
    """Not of all: where rounding moves a small gradient by more than a hundredth, ten times that is allowed."""
    pack = read_pack(builtin("sample"))
    base = pack.of(recipe.id, "bfloat16")[0]

    def found(place: int) -> GateFigure:
        norms = as_array(base.arrays["gradients"]).copy()
        norms[place] *= 1.1
        run = replace(base, arrays={**base.arrays, "gradients": as_text(norms)})
        (figure,) = gradients(compared(recipe, run, pack.measurements, load_standard().limits))
        return figure

    norms = as_array(base.arrays["gradients"])
    large = np.flatnonzero(norms > 0.1 * norms.max())
    seen = [place for place in large if not found(place).passed]
    assert len(seen) > 0.8 * len(large)
    assert f"number {seen[0]} of" in found(seen[0]).note


def test_a_pack_refuses_arrays_that_are_none() -> None:
    run = replace(REFERENCES[0], arrays={"noise": as_text(np.array([np.inf])), "latents": {"shape": [2]}})
    faults = list(measurement_faults(run))
    assert any("'noise' holds something that is no finite number" in fault for fault in faults)
    assert any("'latents': no array" in fault for fault in faults)
    assert not [fault for fault in measurement_faults(REFERENCES[0]) if "array" in fault]


FAULTS = {
    "group_norm_epsilon": {"network alone: encoder", "network alone: decoder", "network alone: unet"},
    "swapped_time_embedding": {"network alone: unet"},
    "shifted_time_embedding": {"network alone: unet"},
    "next_time_embedding": {"network alone: unet"},
    "padding_on_the_wrong_side": {"network alone: encoder"},
    "bfloat16_convolution": {"network alone: encoder", "network alone: decoder", "network alone: unet"},
}
"""Fault -> what at least has to find it in the first step."""


def program(name: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(name)), str(builtin("sample")), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        env={**conform_environment(), "REFCHIP_THREADS": os.environ.get("REFCHIP_THREADS", "1")},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.device
def test_each_fault_is_found_in_the_part_that_it_is_in(tmp_path: Path) -> None:
    found = json.loads(program("diffusion_rounds.py", "sd/pretrain", "healthy", *OF_NETWORKS, folder=tmp_path))
    assert found.pop("healthy") == []
    assert set(found) == set(FAULTS)
    for fault, gates in FAULTS.items():
        assert gates <= set(found[fault]), (fault, found[fault])
    assert "network alone: text encoder" not in {gate for gates in found.values() for gate in gates}


@pytest.mark.device
def test_what_goes_wrong_between_loss_and_weights_of_sft_shows_in_its_gradients_alone(tmp_path: Path) -> None:
    found = json.loads(program("diffusion_rounds.py", "sd/sft", "healthy", *OF_TRAINING, folder=tmp_path))
    assert found == {"healthy": [], **{fault: ["gradients: gradients"] for fault in OF_TRAINING}}


@pytest.mark.device
@pytest.mark.parametrize(("recipe", "precision"), [("sd/pretrain", "float32"), ("sd/sft", "bfloat16")])
def test_a_whole_training_and_its_pictures_pass(recipe: str, precision: str, tmp_path: Path) -> None:
    arguments = (recipe, "sample", "0", "healthy", "--precision", precision)
    assert json.loads(program("fault_rounds.py", *arguments, folder=tmp_path)) == {"healthy": ["passed", []]}
