"""The table of strategies, parts of weights, scaling, and the verdict on what ranks report."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adapter_conform.parallel.models import MODELS, part_of
from adapter_conform.parallel.scaling import flops_per_token, scaled
from adapter_conform.parallel.strategies import SMOKE, STRATEGIES, Strategy
from adapter_conform.states import State
from adapter_conform.suites import endurance, parallel
from adapter_conform.suites._parallel_gates import judge_ranks, trouble
from adapter_conform.suites.base import PlanRequest

LOSSES = [5.0, 4.5, 4.0, 3.5, 3.0, 2.5]


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=lambda entry: entry.name)
def test_an_entry_is_consistent(strategy: Strategy) -> None:
    assert strategy.ranks in (2, 4)
    assert strategy.batch % strategy.replicas == 0
    assert strategy.model in MODELS
    assert strategy.rows
    assert bool(strategy.stage) == (strategy.sharding > 1)
    assert bool(strategy.attention) == (strategy.segment > 1)


def _request(profile: str, collectives: object = object()) -> Any:
    return PlanRequest(plugin=SimpleNamespace(collectives=collectives), profile=profile, seed=0)  # type: ignore[arg-type]


def test_plans() -> None:
    assert [case.operator for case in parallel.SUITE.plan(_request("smoke"))] == list(SMOKE)
    whole = parallel.SUITE.plan(_request("standard"))
    assert {case.operator for case in whole} == set(STRATEGIES)
    assert {case.dtype for case in whole} == {"float32", "bfloat16"}
    assert len(endurance.SUITE.plan(_request("standard"))) == 12
    assert not endurance.SUITE.plan(_request("smoke"))
    for suite in (parallel.SUITE, endurance.SUITE):
        assert not suite.plan(_request("standard", None)), "a plugin without collectives"


def test_parts_are_blocks_of_one_axis() -> None:
    whole = np.arange(24).reshape(4, 6)
    assert part_of(whole, (4, 6), 1, "w")[1] == "whole"
    array, name = part_of(whole, (4, 3), 1, "w")
    assert name == "1/2 of axis 1"
    assert (array == whole[:, 3:]).all()
    for shape in ((3, 6), (2, 3)):
        with pytest.raises(ValueError, match="does not fit"):
            part_of(whole, shape, 0, "w")


def test_scaling_follows_its_formulas() -> None:
    one, two = Strategy("dp1"), Strategy("dp2", data=2, batch=16)
    alone, both = scaled([one, two], [0.1, 0.125], 1e9)
    assert (alone.tokens_per_s, alone.linearity) == (2560.0, 1.0)
    assert both.linearity == pytest.approx(0.8)
    assert both.mfu == pytest.approx(4096 * flops_per_token("llama") / 2e9)


def _answer(rank: int, **changes: Any) -> dict[str, Any]:
    trained = {
        "losses": LOSSES,
        "replica": rank,
        "digests": {"w, whole": "a"},
        "off_device": [],
        "parameters": 1,
        "gradients": 2,
        "without_gradient": [],
    }
    answer = {"rank": rank, "place": f"chip:{rank}", "calls": {"all_reduce": 3}, "kernels": {"matmul/float32": 5}}
    return {**answer, **{k: v for k, v in changes.items() if k in answer}, "trained": {**trained, **changes}}


def _judge(**changes: Any) -> State:
    answers = [_answer(0), _answer(1, **changes)]
    session: Any = SimpleNamespace(device="chip:0")
    return judge_ranks(session, STRATEGIES["dp2"], "float32", LOSSES, answers).state


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.PASSED),
        ({"losses": [*LOSSES[:-1], 2.5002]}, State.FAILED),
        ({"losses": [*LOSSES[:-1], float("nan")]}, State.FAILED),
        ({"digests": {"w, whole": "b"}}, State.FAILED),
        ({"replica": 0, "losses": [*LOSSES[:-1], 2.500001]}, State.FAILED),
        ({"off_device": ["gradient w: on cpu"]}, State.FELL_BACK),
        ({"without_gradient": ["w"]}, State.FELL_BACK),
        ({"calls": {"all_reduce": 0}}, State.FELL_BACK),
        ({"kernels": {}}, State.FELL_BACK),
    ],
)
def test_what_ranks_report_is_judged(changes: dict[str, Any], state: State) -> None:
    assert _judge(**changes) is state


def test_losses_that_do_not_fall_prove_little() -> None:
    flat = [5.0] * 6
    session: Any = SimpleNamespace(device="chip:0")
    answers = [_answer(rank, losses=flat) for rank in (0, 1)]
    assert judge_ranks(session, STRATEGIES["dp2"], "float32", flat, answers).state is State.VACUOUS


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({0: {}, 1: {"ended": -9}}, State.CRASHED),
        ({0: {}, 1: {"error": "no"}}, State.FAILED),
        ({0: {}}, State.HUNG),
    ],
)
def test_ranks_in_trouble(answers: dict[int, dict[str, Any]], state: State) -> None:
    outcome = trouble(answers, 2, 1.0)
    assert outcome is not None
    assert outcome.state is state


@pytest.mark.parametrize(
    ("again", "passed"),
    [
        ([4.0 * (1 + 1e-7), 3.5, 3.0], True),
        ([4.0, 3.5 * 1.01, 3.0], False),
        ([4.0, math.nan, 3.0], False),
        ([], False),
    ],
)
def test_a_spike_after_a_restart_is_seen(again: list[float], passed: bool) -> None:
    gate = endurance.spike_gate({0: LOSSES}, {0: again}, 2)
    assert gate.passed is passed, gate.note
