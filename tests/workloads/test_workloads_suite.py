"""Workloads and mixed precision: the plan, the mends of the model library, and that wrong runs fail."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from adapter_conform.models.workloads import LENGTH, WORKLOADS, _packed
from adapter_conform.suites import load_suite
from adapter_conform.suites._mixed_precision import loss_limit, mean_loss_gate
from adapter_conform.suites.base import PROFILES, PlanRequest
from adapter_conform.suites.workloads import SUITE


def plan(profile: str) -> list[str]:
    request = PlanRequest(plugin=SimpleNamespace(), profile=profile, seed=3)  # type: ignore[arg-type]
    return [case.id for case in SUITE.plan(request)]


def test_the_suite_is_found_by_name() -> None:
    assert load_suite("workloads") is SUITE


def test_plan() -> None:
    assert set(plan("smoke")) < set(plan("standard")) == set(plan("full"))
    standard = plan("standard")
    assert len(standard) == len(set(standard)) == len(WORKLOADS) + 16
    assert {name.split("/")[1] for name in standard} == set(WORKLOADS)
    for profile in PROFILES:
        request = PlanRequest(plugin=SimpleNamespace(), profile=profile, seed=3)  # type: ignore[arg-type]
        assert all(json.loads(json.dumps(case.payload)) == case.payload for case in SUITE.plan(request))


def test_preference_rows_hide_one_answer_from_the_other() -> None:
    rows = np.arange(2 * LENGTH).reshape(2, LENGTH) + 1
    packed = _packed(rows)
    _, begin, middle, end = packed.response[0]
    assert packed.ids.shape == packed.chosen.shape == packed.rejected.shape == (2, end)
    np.testing.assert_array_equal(packed.ids[:, begin], packed.ids[:, middle])  # both answers follow the prompt's end
    np.testing.assert_array_equal(packed.ids[:, begin + 1 : middle], packed.chosen[:, begin : middle - 1])
    np.testing.assert_array_equal(packed.ids[:, middle + 1 :], packed.rejected[:, middle : end - 1])
    assert not packed.mask[0, 0, middle:, begin:middle].any()
    assert packed.mask[0, 0, middle:, :begin].all()
    np.testing.assert_array_equal(packed.positions[0, middle:], packed.positions[0, begin:middle])
    assert not (packed.chosen * packed.rejected).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_losses_off_by_more_than_the_spread_fail(dtype: str) -> None:
    reference = list(np.linspace(5.0, 4.0, 20))
    limit = loss_limit(dtype)
    assert 0 < limit < 1e-3, "low precision costs little; a wide limit would let anything pass"
    near = [loss * (1 + 0.9 * limit) for loss in reference]
    far = [loss * (1 + (1.1 * limit if step >= 15 else 0)) for step, loss in enumerate(reference)]
    assert mean_loss_gate(reference, near, dtype).passed
    assert not mean_loss_gate(reference, far, dtype).passed
    assert not mean_loss_gate(reference, [*reference[:-1], float("nan")], dtype).passed


def run(body: str) -> list[str]:
    head = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        import numpy as np
    """
    script = textwrap.dedent(head) + textwrap.dedent(body) + "\nsys.stdout.flush(); os._exit(0)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line for line in done.stdout.split("\n") if line.startswith("=> ")]


ROUTER = """
    import paddle
    paddle.set_device("cpu")
    from adapter_conform.models import paddlenlp_adapter as adapter
    from adapter_conform.models.architectures import ARCHITECTURES
    from adapter_conform.models.workloads import drawn_weights
    if {unmended}:
        def only_cumsum(paddle, gate):
            from adapter_conform.models.paddlenlp_mends import _CumsumKeepsDtype
            gate.paddle = _CumsumKeepsDtype(paddle)
        adapter.mend_moe_gate = only_cumsum
    model = adapter.build_model(paddle, ARCHITECTURES["qwen2_moe"])
    weights = drawn_weights(model, 0)
    for name, tensor in model.state_dict().items():
        tensor.set_value(weights[name].astype(str(tensor.dtype).split(".")[-1]))
    model.train()
    draw = np.random.RandomState(1)
    ids = paddle.to_tensor(draw.randint(3, 128, (2, 17)))
    def loss():
        return adapter.forward_loss(model, ids[:, :-1], ids[:, 1:])
    loss().backward()
    router = next(p for n, p in model.named_parameters() if n.endswith("gate.weight") and "shared" not in n)
    got, start = router.grad.numpy().astype("float64"), router.numpy()
    worst = 0.0
    STEP = 2e-3  # short enough that no token changes its expert, long enough for a float32 loss
    for place in [(5, 1), (40, 3), (3, 0)]:
        values = []
        for step in (STEP, -STEP):
            moved = start.copy()
            moved[place] += step
            router.set_value(moved)
            values.append(float(loss()))
        slope = (values[0] - values[1]) / (2 * STEP)
        worst = max(worst, abs(got[place] - slope) / max(abs(slope), 1e-3))
    print("=>", worst < 0.1, worst)
"""


@pytest.mark.slow
@pytest.mark.parametrize("unmended", [False, True])
def test_the_router_gradient_is_that_of_finite_differences_only_when_mended(unmended: bool) -> None:
    (line,) = run(ROUTER.format(unmended=unmended))
    assert line.startswith(f"=> {not unmended}"), line


FAULTY = """
    from adapter_conform.session import open_session
    session = open_session("refchip", seed=0)
    import paddle.amp.auto_cast as auto_cast_module
    from adapter_conform.suites import training
    {fault}
    payload = {{"check": "amp", "level": "O1", "dtype": "bfloat16", "steps": 5, "seed": 0}}
    outcome = training._check_mixed(session, payload)
    print("=>", outcome.state.value, outcome.message.replace(chr(10), " | "))
"""


@pytest.mark.device
@pytest.mark.slow
def test_a_bfloat16_run_whose_products_are_float32_fails() -> None:
    fault = "sys.modules['paddle.amp.auto_cast']._is_custom_device_bfloat16_supported = lambda: False"
    (line,) = run(FAULTY.format(fault=fault))
    assert line.startswith("=> failed")
    assert "executed dtype" in line
    assert "matmul/bfloat16: 0 calls" in line


@pytest.mark.device
@pytest.mark.slow
def test_a_device_without_bfloat16_products_is_unsupported() -> None:
    fault = "type(session.plugin).kernel_supported = lambda self, operator, dtype: dtype != 'bfloat16'"
    (line,) = run(FAULTY.format(fault=fault))
    assert line.startswith("=> unsupported")
    assert "matmul/bfloat16" in line
