"""Which inputs the larger profiles draw, and what an output that proves nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.cases import Case
from adapter_conform.catalogue.bounds import Tracked
from adapter_conform.catalogue.draw import STRESS, draw, stress
from adapter_conform.catalogue.gates import expect, proves_nothing
from adapter_conform.catalogue.precision import Arithmetic, smallest_normal
from adapter_conform.catalogue.values import make_input, make_inputs, tensor
from adapter_conform.further import Further
from adapter_conform.suites.ops import REPEATS
from adapter_conform.tensors import LAYOUTS
from test_draw import SUITE, request


@pytest.fixture(scope="module")
def standard() -> list[Case]:
    return list(SUITE.plan(request("standard")))


def test_standard_draws_every_regime_and_every_layout(standard: list[Case]) -> None:
    labels = {case.id.rsplit("/", 1)[1].rsplit("-", 1)[0] for case in standard}
    assert set(STRESS["normal"]) <= labels
    assert {"repeat", "streams", "threads", "leak", "bias", "static", "eager"} <= labels
    assert {case.payload["example"].get("layout", "plain") for case in standard} == set(LAYOUTS)


@pytest.mark.parametrize("name", ["exp", "softmax", "matmul", "layer_norm", "add", "sum"])
def test_an_operator_gets_all_regimes_that_its_domain_has(name: str, standard: list[Case]) -> None:
    own = {case.id.rsplit("/", 1)[1].rsplit("-", 1)[0] for case in standard if case.operator == name}
    assert set(STRESS["normal"]) - set(catalogue.get(name).left_out) <= own


def test_what_is_left_out_says_why() -> None:
    regimes = {name for names in STRESS.values() for name in names}
    for spec in catalogue.all_specs():
        assert set(spec.left_out) <= regimes, spec.name
        assert all(len(reason) > 20 for reason in spec.left_out.values()), spec.name


def test_smoke_draws_no_stress(standard: list[Case]) -> None:
    assert not [case for case in SUITE.plan(request()) if any(Further.of(case.payload).counts().values())]
    repeats = [case for case in standard if case.id.endswith("/repeat-0")]
    assert all(case.payload["repeats"] == REPEATS["standard"] for case in repeats)
    assert not [case for case in repeats if case.operator == "uniform"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_of_the_regimes(dtype: str) -> None:
    made = {name: make_input(tensor([4096], name), dtype, 3).astype(np.longdouble) for name in STRESS["normal"]}
    tiny = smallest_normal(dtype)
    small = (np.abs(made["denormal"]) < tiny) & (made["denormal"] != 0)
    assert 0.3 < small.mean() < 0.6
    zeros = made["zeros"] == 0
    assert 0.4 < zeros.mean() < 0.6
    assert 0.4 < np.signbit(made["zeros"][zeros]).mean() < 0.6
    assert len(np.unique(made["ties"])) == 5
    assert np.isfinite(made["wide_range"]).all()
    assert np.isfinite(made["wide_range"] ** 2).all()
    ratio = np.abs(made["cancel"]).sum() / np.abs(made["cancel"].sum())
    assert ratio > 20
    assert np.isnan(made["special"]).any()


def test_overlapping_inputs_repeat_their_first_slice() -> None:
    (description,) = draw(catalogue.get("exp"), "float32", 1, 0)[:1]
    (array,) = make_inputs({**description, "layout": "overlapping"}, "float32")
    assert (array == array[:1]).all()


def test_stress_is_for_floating_numbers_alone() -> None:
    spec = catalogue.get("add")
    assert not stress(spec, "int32", draw(spec, "int32", 8, 0), 0, 1)
    some = stress(spec, "float16", draw(spec, "float16", 8, 0), 0, 1, most=3)
    assert len(some) == 3


F32 = Arithmetic.of("float32")


def test_an_output_that_zeros_would_meet_proves_nothing() -> None:
    noise = np.random.default_rng(0).standard_normal(64)
    wide = expect(Tracked(noise, F32, np.full(64, 10.0)), "float32")
    assert proves_nothing(wide, []) == "zeros would be within the limits"
    assert not proves_nothing(expect(Tracked(noise, F32, np.full(64, 1e-6)), "float32"), [])
    assert not proves_nothing(expect(Tracked(np.zeros(4), F32, np.zeros(4)), "float32"), []), "too small to say"


def test_the_copy_of_an_input_proves_nothing() -> None:
    noise = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    same = expect(Tracked(noise, F32, np.full(64, 1e-6)), "float32")
    assert proves_nothing(same, [noise]) == "it is the copy of an input"
    assert not proves_nothing(same, [noise.reshape(8, 8)])
    assert not proves_nothing(expect(Tracked(noise, F32), "float32"), [noise]), "copies are meant to be exact"
