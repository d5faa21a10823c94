"""The table of faults: what it covers, that it is planted where there is something to break, and the rounds."""

from __future__ import annotations

import re

import adapter_faults
import pytest
from adapter_conform import catalogue
from adapter_conform.runtime import CHECKS
from adapter_conform.selection import select_ids
from adapter_conform.selftest.rounds import expression, rounds
from adapter_faults import Fault, Phase
from adapter_faults.rounding import bfloat16, contract, toward_zero
from hypothesis import given
from hypothesis import strategies as st

FAULTS = adapter_faults.all_faults()
GATES = {
    "form",
    "unwritten",
    "exact",
    "nonfinite",
    "bound",
    "probe",
    "intact",
    "fence",
    "repeat",
    "streams",
    "threads",
    "leak",
    "count",
}
OTHERS = {"canary", "allocation", "check", "crashed", "hung", "fell_back", "vacuous", "notice"}


def test_there_are_enough() -> None:
    assert len(FAULTS) >= 100


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_says_what_it_is(fault: Fault) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", fault.name)
    assert fault.summary.endswith(".")
    assert "\n" not in fault.summary
    assert "|" not in fault.summary, "it goes into a table"
    assert set(fault.sees) <= GATES | OTHERS
    assert (fault.kernel == "") == (fault.phase is Phase.WRAPPED)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_concerns_cases_that_exist(fault: Fault) -> None:
    if fault.suite == "runtime":
        assert fault.operator in CHECKS
        return
    spec = catalogue.get(fault.operator)
    assert fault.dtype in ("", *spec.dtypes, *spec.offered)


def test_an_unknown_name_is_answered_with_a_near_one() -> None:
    with pytest.raises(LookupError, match="did you mean swapped_lanes"):
        adapter_faults.named("swaped_lanes")


@given(st.lists(st.sampled_from(FAULTS), unique=True))
def test_a_case_meets_at_most_one_fault_in_a_round(faults: list[Fault]) -> None:
    dealt = rounds(faults)
    assert sorted(fault.name for members in dealt for fault in members) == sorted(fault.name for fault in faults)
    for members in dealt:
        ids = [f"{fault.cases}/eager-0" for fault in members]
        for fault, own in zip(members, ids, strict=True):
            assert [case for case in ids if fault.concerns(case)] == [own]
        assert len(members) == 1 or not any(fault.alone for fault in members)


@given(st.lists(st.sampled_from(FAULTS), unique=True, min_size=1))
def test_the_expression_selects_the_cases_concerned(faults: list[Fault]) -> None:
    ids = [f"{fault.cases}/eager-0" for fault in FAULTS]
    wanted = {case for case in ids if any(fault.concerns(case) for fault in faults)}
    assert wanted <= select_ids(expression(faults), ids)


@pytest.mark.device
def test_every_broken_kernel_is_one_of_refchips() -> None:
    import adapter_sdk

    kernels = {(row.operator, row.dtype) for row in adapter_sdk.load("refchip").kernels}
    for fault in FAULTS:
        if fault.kernel:
            assert any(fault.breaks(operator, dtype) for operator, dtype in kernels), fault.kernel


def test_toward_zero() -> None:
    import numpy as np

    values = np.array([1.0, 1 + 2**-11, -1 - 2**-10 - 2**-12, 0.0, np.inf])
    assert toward_zero(values, np.float16).tolist() == [1.0, 1.0, -1 - 2**-10, 0.0, np.inf]
    assert toward_zero(np.array(1.0 - 2**-30), np.float32) == np.float32(1 - 2**-24)


def test_contract_rounds_every_partial_sum() -> None:
    import numpy as np

    ones, many = np.ones((1, 512)), np.ones((512, 1))
    assert contract(ones, many, bfloat16).item() == 256  # 257 is no bfloat16
    assert contract(ones, many, np.float32).item() == 512
