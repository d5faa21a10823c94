"""The training suite: its plan, its gates, and that it fails what it should fail."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adapter_conform.cases import Case, Outcome
from adapter_conform.models import LlamaShape, paddlenlp_adapter
from adapter_conform.models.training import lies_on, place_of
from adapter_conform.session import KernelCalls
from adapter_conform.states import State
from adapter_conform.suites import load_suite, training
from adapter_conform.suites.base import PROFILES, PlanRequest
from hypothesis import given
from hypothesis import strategies as st

losses = st.floats(0.1, 10.0)


def plan(profile: str, seed: int = 3) -> list[Case]:
    request = PlanRequest(plugin=SimpleNamespace(), profile=profile, seed=seed)  # type: ignore[arg-type]
    return list(training.SUITE.plan(request))


def test_the_suite_is_found_by_name() -> None:
    assert load_suite("training") is training.SUITE


@pytest.mark.parametrize(("profile", "steps"), [("smoke", 20), ("standard", 100), ("full", 100)])
def test_plan(profile: str, steps: int) -> None:
    train, static, *mixed = plan(profile)
    assert train.id == "training/llama_gqa/float32/train"
    assert static.id == "training/llama_gqa/float32/to_static_forward"
    assert train.payload["steps"] == steps
    for case in (train, static):
        assert (case.suite, case.operator, case.dtype, case.timeout) == ("training", "llama_gqa", "float32", 600.0)
        assert json.loads(json.dumps(case.payload)) == case.payload
        assert case.payload["seed"] == 3
    assert [case.id.removeprefix("training/llama_gqa/") for case in mixed] == [
        f"{dtype}/amp_{level}" for dtype in ("bfloat16", "float16") for level in ("o1", "o2")
    ]
    assert len(mixed) == 4


def test_without_paddlenlp_every_case_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddlenlp_adapter.importlib.util, "find_spec", lambda name: None)
    for profile in PROFILES:
        assert all("pip install 'adapter-sdk[models]'" in (case.not_run or "") for case in plan(profile))


def test_limits_are_those_of_the_requirement() -> None:
    assert training.LOSS_LIMIT == 1e-5
    assert training.STATIC_LIMIT == 1e-6


@given(st.lists(st.tuples(losses, st.floats(-1e-3, 1e-3)), min_size=1, max_size=20))
def test_relative_errors_are_per_step(pairs: list[tuple[float, float]]) -> None:
    reference = [loss for loss, _ in pairs]
    errors = training.relative_errors(reference, [loss * (1 + shift) for loss, shift in pairs])
    np.testing.assert_allclose(errors, [abs(shift) for _, shift in pairs], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("wanted", "got"), [(1.0, math.nan), (math.inf, math.inf), (math.nan, 1.0), (0.0, 0.0)])
def test_losses_that_cannot_be_compared_are_infinitely_wrong(wanted: float, got: float) -> None:
    assert training.relative_errors([1.0, wanted], [1.0, got]) == [0.0, math.inf]


def test_a_missing_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        training.relative_errors([1.0, 2.0], [1.0])


def test_expected_calls_follow_from_the_model() -> None:
    calls = training.expected_calls(LlamaShape(layers=3), parameters=30, steps=10)
    assert calls["matmul/float32"] == calls["matmul_grad/float32"] == (3 * 9 + 1) * 10
    assert calls["softmax_grad/float32"] == 30
    assert calls["embedding_grad/float32"] == 10
    assert calls["adamw/float32"] == 300


@pytest.mark.parametrize(
    ("place", "device", "expected"),
    [
        ("Place(chip:0)", "chip:0", True),
        ("Place(chip:1)", "chip:0", False),
        ("Place(chip:1)", "chip", True),
        ("Place(cpu)", "chip:0", False),
        ("Place(cpu)", "cpu", True),
    ],
)
def test_places(place: str, device: str, expected: bool) -> None:
    tensor = SimpleNamespace(place=place)
    assert place_of(tensor) == place[6:-1]
    assert lies_on(tensor, device) is expected


# Below, Paddle's CPU stands in for a device, so that the suite's verdicts can be tried where no plugin is installed.


@dataclass
class CpuSession:
    paddle: Any
    counted: dict[str, int] = field(default_factory=dict)
    device: str = "cpu"

    @contextmanager
    def watch(self) -> Iterator[KernelCalls]:
        calls = KernelCalls()
        yield calls
        calls.eager.update(self.counted)


def run(session: CpuSession, check: str, **payload: Any) -> Outcome:
    case = Case("x", "training", "llama_gqa", "float32", {"check": check, "seed": 1, **payload})
    return training.SUITE.run(case, session)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def paddle() -> Any:
    pytest.importorskip("paddlenlp")
    return pytest.importorskip("paddle")


def figures(outcome: Outcome) -> dict[str, float]:
    return {figure.gate: figure.value for figure in outcome.errors}


@pytest.mark.paddle
@pytest.mark.slow
def test_equal_losses_without_proof_do_not_pass(paddle: Any) -> None:
    outcome = run(CpuSession(paddle), "train", steps=4)
    assert figures(outcome) == {"relative error per step": 0.0, "placement": 0.0, "own kernels executed": 12.0}
    assert outcome.state is State.FELL_BACK
    assert outcome.executed_on == ""
    assert len(outcome.details["loss"]["cpu"]) == len(outcome.details["loss"]["device"]) == 4


@pytest.mark.paddle
@pytest.mark.slow
def test_a_proved_run_passes_and_one_missing_call_does_not(paddle: Any) -> None:
    calls = training.expected_calls(LlamaShape(), parameters=21, steps=20)
    outcome = run(CpuSession(paddle, calls), "train", steps=20)
    assert outcome.state is State.PASSED, outcome.message
    assert outcome.executed_on == "cpu"
    # 3 first steps and the last: loss, gradients, parameters and two moments each.
    assert outcome.details["tensors_checked"] == 4 * (1 + 21 * 4)
    calls["matmul_grad/float32"] -= 1
    short = run(CpuSession(paddle, calls), "train", steps=20)
    assert short.state is State.FELL_BACK
    assert "matmul_grad/float32" in short.message


@pytest.mark.paddle
@pytest.mark.slow
def test_an_optimizer_that_is_slightly_off_fails(paddle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run, the device's, gets a learning rate that is 1% too high."""
    real, seen = training.train_llama, []

    def train(*arguments: Any) -> Any:
        seen.append(arguments[-1])
        rate = arguments[-1].learning_rate * (1.01 if len(seen) == 2 else 1.0)
        return real(*arguments[:-1], training.AdamWSettings(learning_rate=rate))

    monkeypatch.setattr(training, "train_llama", train)
    calls = training.expected_calls(LlamaShape(), parameters=21, steps=20)
    outcome = run(CpuSession(paddle, calls), "train", steps=20)
    assert outcome.state is State.FAILED
    assert figures(outcome)["relative error per step"] > training.LOSS_LIMIT


@pytest.mark.paddle
@pytest.mark.slow
def test_a_static_graph_on_the_cpu_is_seen(paddle: Any) -> None:
    outcome = run(CpuSession(paddle), "to_static_forward")
    assert outcome.state is State.FELL_BACK
    assert figures(outcome)["static against eager"] <= training.STATIC_LIMIT
    assert "matmul/float32" in outcome.message
    assert outcome.details["program"]["CPU"]["matmul/float32"] == 19


@pytest.mark.paddle
@pytest.mark.slow
def test_weights_that_do_not_fit_are_named(paddle: Any) -> None:
    paddle.set_device("cpu")
    model = paddlenlp_adapter.build_llama(paddle, LlamaShape(layers=1))
    weights = training.llama_weights(LlamaShape(layers=1, intermediate=96), 0)
    del weights["lm_head.weight"]
    with pytest.raises(ValueError, match="do not fit") as caught:
        paddlenlp_adapter.load_llama_weights(model, weights)
    assert "lm_head.weight: only in the model" in str(caught.value)
    assert "llama.layers.0.mlp.up_proj.weight: (128, 352) in the model, (128, 96) in the weights" in str(caught.value)


@pytest.mark.device
@pytest.mark.slow
def test_refchip_trains_a_llama() -> None:
    """In a process of its own: a device type must be mounted before Paddle is imported."""
    import subprocess
    import sys

    program = (
        "import json\n"
        "from adapter_conform.session import open_session\n"
        "from adapter_conform.suites.base import PlanRequest\n"
        "from adapter_conform.suites.training import SUITE\n"
        "session = open_session('refchip', seed=0)\n"
        "for case in SUITE.plan(PlanRequest(plugin=session.plugin, profile='standard', seed=0)):\n"
        "    outcome = SUITE.run(case, session)\n"
        "    print(json.dumps([case.id, outcome.state.value, outcome.executed_on, outcome.message]))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=900, check=False)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('["training/')]
    assert len(lines) == 6, result.stdout + result.stderr
    for name, state, executed_on, message in lines:
        assert (state, executed_on) == ("passed", "refchip:0"), f"{name}: {message}"
