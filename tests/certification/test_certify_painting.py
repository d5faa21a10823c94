"""Inference of Stable Diffusion: its rules, and on refchip at the scale of a sample, healthy and with faults."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance import Extras, Peak, judge_level, judge_measurement, state_of
from adapter_conform.certification.acceptance.painting import _calls
from adapter_conform.certification.arrays import as_array, as_text
from adapter_conform.certification.digests import arrays_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import builtin, read_pack
from adapter_conform.certification.packs.schema import measurement_faults
from adapter_conform.certification.recipes import initial_weights, recipes_of
from adapter_conform.certification.recipes.diffusion_shapes import diffusion_shapes
from adapter_conform.certification.recipes.inference import linear_inputs
from adapter_conform.certification.recipes.pictures import Guide, guided, sampling_path, start_of
from adapter_conform.certification.standard import load_standard
from adapter_conform.models.diffusion_settings import STABLE_DIFFUSION
from adapter_conform.states import State
from conform_harness import conform_environment

PACK = read_pack(builtin("sample"))
(RECIPE,) = (one for one in recipes_of("II", ("inference",), "sample") if one.model == "SD")
ROUNDS = Path(__file__).with_name("painting_rounds.py")
FAULTY = {
    "one_wrong_scale:eager": {"quantized layers"},
    "sampler_a_step_late:eager": {"sampler, eager", "latents, eager"},
    "second_picture_of_a_batch:static": {"noise, static"},
}
"""Round -> gates that have to fail."""


def test_the_recipe_starts_from_what_tuning_taught() -> None:
    assert (RECIPE.level, RECIPE.precisions, RECIPE.starts_from) == ("II", ("int8",), "sd/sft")
    for scale in ("sample", "proxy", "full"):
        (one,) = (one for one in recipes_of("II", ("inference",), scale) if one.model == "SD")
        assert one.schedule.rows == 2 * one.evaluation.items  # one exported program for sampling and held-out pictures
        assert one.schedule.steps == one.evaluation.validation_batches


def test_what_is_quantized() -> None:
    """Of the true model every linear layer of attention, feed-forward part and text encoder; no other."""

    def quantized(shapes: dict[str, tuple[int, ...]]) -> set[str]:
        return {name for name, shape in shapes.items() if linear_inputs("stable_diffusion", name, shape) is not None}

    full = diffusion_shapes(STABLE_DIFFUSION)
    found = quantized(full)
    blocks = {name for name, shape in full.items() if ".transformer_blocks." in name and len(shape) == 2}
    text = {name for name, shape in full.items() if ".encoder.layers." in name and len(shape) == 2}
    assert (len(blocks), len(text)) == (160, 72)
    assert found == blocks | text
    small = diffusion_shapes(RECIPE.settings)
    assert len(quantized(small)) == 22
    assert all(size % 16 == 0 for name in quantized(small) for size in small[name])


def test_sampling_takes_guided_noise_step_by_step() -> None:
    """With noise that is always the difference of the latents from one picture, sampling ends at that picture."""
    picture = np.random.RandomState(1).standard_normal(start_of(RECIPE).noise.shape)
    from adapter_conform.certification.recipes.pictures import alphas, sampling_times

    share, path = alphas(), []

    def predicted() -> Iterator[np.ndarray]:
        for time in sampling_times(int(RECIPE.option("steps"))):
            noise = (path[-1] - np.sqrt(share[time]) * picture) / np.sqrt(1 - share[time])
            yield np.stack([noise, noise])

    for latents in sampling_path(RECIPE, predicted()):
        path.append(latents)
    assert len(path) == int(RECIPE.option("steps")) + 1
    clean = (path[-1] - np.sqrt(1 - share[0]) * _last_noise(path, picture, share)) / np.sqrt(share[0])
    np.testing.assert_allclose(clean, picture, rtol=1e-9, atol=1e-9)
    assert guided(RECIPE, (np.float64(1.0), np.float64(3.0))) == 1.0 + RECIPE.option("guidance") * 2.0


def _last_noise(path: list[np.ndarray], picture: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.asarray((path[-2] - np.sqrt(share[1]) * picture) / np.sqrt(1 - share[1]))


def _reference(precision: str) -> Measurement:
    return PACK.of(RECIPE.id, precision)[0]


def _device() -> Measurement:
    """What a device would record that rounds as the reference does."""
    base, exact = copy.deepcopy(_reference("int8")), _reference("float32")
    guide = Guide.of(exact)
    said = as_array(base.arrays["noise"])
    taken = np.stack([guided(RECIPE, halves) for halves in said])
    *_, last = sampling_path(RECIPE, said)
    found = {**base.arrays, "said": as_text(said), "taken": as_text(taken), "latents": as_text(last)}
    base.arrays = {f"{name}, {way}": text for name, text in found.items() for way in ("eager", "static")}
    base.figures = {f"held-out loss, {way}": float(np.mean(base.losses)) for way in ("eager", "static")}
    layers = sum(one.quantized for one in _calls(RECIPE).values())
    base.figures |= {f"layer {number}": 2e-3 for number in range(layers)}
    base.digests["guide"] = guide.digest
    passes = dict.fromkeys(_calls(RECIPE), 3)
    kernels = {
        "weight_only_linear/bfloat16": 3 * layers,
        "conv2d/bfloat16": 3 * sum(one.convolutions for one in _calls(RECIPE).values()),
        "matmul/bfloat16": 30,
    }
    ways: dict[str, Any] = {way: {"passes": passes, "kernels": dict(kernels)} for way in ("eager", "static")}
    ways["static"]["lowered"] = {"on_device": 100, "moved": []}
    rate = {"pictures": 1, "steps": 4, "pictures_per_second": 2.0, "steps_per_second": 8.0}
    base.executed |= {"kernels": kernels, "ways": ways, "off_device": [], "fell_back": [], "painting": {"eager": rate}}
    return base


def _judge(run: Measurement) -> tuple[State, set[str]]:
    figures = judge_measurement(RECIPE, run, PACK.measurements)
    return state_of(figures), {one.gate for one in figures if not one.passed}


def _changed(run: Measurement, name: str, change: Any) -> Measurement:
    run.arrays[name] = as_text(change(as_array(run.arrays[name])))
    return run


def test_a_device_that_rounds_as_the_reference_does_passes() -> None:
    assert _judge(_device()) == (State.PASSED, set())
    figures = judge_measurement(RECIPE, _device(), PACK.measurements)
    assert {one.gate for one in figures if one.output == "relative error"} == {
        "quantized layers",
        *(
            f"{part}, {way}"
            for way in ("eager", "static")
            for part in ("text encoder", "noise", "decoder", "latents", "picture", "guidance", "sampler")
        ),
    }


@pytest.mark.parametrize("step", range(4))
def test_one_step_of_sampling_with_three_times_the_error_is_found(step: int) -> None:
    exact = as_array(_reference("float32").arrays["noise"])

    def thrice(noise: np.ndarray) -> np.ndarray:
        noise = noise.copy()
        noise[step] += 2 * (noise[step] - exact[step])
        return noise

    assert _judge(_changed(_device(), "noise, static", thrice)) == (State.FAILED, {"noise, static"})


@pytest.mark.parametrize(
    ("name", "change", "gate"),
    [
        ("taken, eager", lambda noise: noise * 1.001, "guidance, eager"),
        ("latents, eager", lambda latents: latents * 1.0005, "sampler, eager"),
        ("states, static", lambda states: states[::-1], "text encoder, static"),
        ("decoder, eager", lambda pictures: pictures[..., ::-1], "decoder, eager"),
        ("pictures, static", np.zeros_like, "picture, static"),
        ("noise, eager", lambda noise: noise[1:], "noise, eager"),
    ],
)
def test_each_gate_finds_its_fault(name: str, change: Any, gate: str) -> None:
    assert _judge(_changed(_device(), name, change)) == (State.FAILED, {gate})


def test_what_executed_counts() -> None:
    def of(way: str, key: str, number: int) -> list[GateFigure]:
        run = _device()
        run.executed["ways"][way]["kernels"][key] = number
        figures = judge_measurement(RECIPE, run, PACK.measurements)
        return [one for one in figures if not one.passed]

    (missing,) = of("eager", "weight_only_linear/bfloat16", 65)
    assert (missing.output, missing.value) == ("weight_only_linear/bfloat16 missing, eager", 1.0)
    assert [one.output for one in of("static", "conv2d/bfloat16", 0)] == ["conv2d/bfloat16 missing, static"]
    assert [one.output for one in of("static", "matmul/bfloat16", 10_000)] == ["products left in bfloat16, static"]
    assert [one.note for one in of("eager", "conv2d/float32", 1)] == ["conv2d/float32"]
    run = _device()
    run.executed["weight_bytes"] *= 2
    run.executed["ways"]["static"]["passes"]["decoder"] = 0
    run.executed["ways"]["static"]["lowered"]["moved"] = ["softmax/bfloat16"]
    run.executed["off_device"] = ["unet.conv_in.weight"]
    assert _judge(run) == (State.FAILED, {"execution", "size"})


def test_what_is_missing_proves_nothing() -> None:
    run = _device()
    del run.arrays["noise, static"], run.figures["layer 0"], run.executed["ways"]["eager"]
    assert _judge(run) == (State.VACUOUS, {"execution", "noise, static", "quantized layers"})
    run = _device()
    run.digests["guide"] = arrays_digest(np.zeros(3))
    assert _judge(run)[0] is State.VACUOUS
    without = [one for one in PACK.measurements if one.precision != "float32"]
    assert state_of(judge_measurement(RECIPE, _device(), without)) is State.VACUOUS


def test_speed_informs() -> None:
    extras = Extras(peaks=[Peak("bfloat16", 0.5, 0.4)])
    verdict = judge_level(
        load_standard(), "II", ("inference",), [RECIPE], [_device()], PACK.measurements, extras, PACK.provenance
    )
    (mine,) = (one for one in verdict.tasks if one.model == "SD")
    assert [(one.value, one.output) for one in mine.performance] == [(4.0, "pictures per second and TFLOPS")]
    assert "2 pictures/s, 8 denoising steps/s" in mine.performance[0].note


def test_a_pack_takes_pictures_in_place_of_logits() -> None:
    assert not list(measurement_faults(_reference("int8")))
    run = copy.deepcopy(_reference("int8"))
    run.arrays = {}
    assert "no logits" in "; ".join(measurement_faults(run))
    assert PACK.weights(RECIPE.id).keys() == initial_weights(RECIPE).keys()


@pytest.mark.device
def test_healthy_and_with_faults(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROUNDS), str(builtin("sample")), "healthy", *FAULTY],
        capture_output=True, text=True, timeout=500, env=conform_environment(), cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["healthy"] == ["passed", []], [line for line in done.stdout.splitlines() if ": !" in line]
    for name, gates in FAULTY.items():
        assert found[name][0] == "failed"
        assert gates <= set(found[name][1]), (name, found[name])
