"""The ratio to a reference device's error: figures, limits by class, and packs that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from adapter_conform.catalogue.bounds import Tracked
from adapter_conform.catalogue.gates import expect
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.spec import Kind
from adapter_conform.errors import ConformError
from adapter_conform.reference import (
    PACK_VARIABLE,
    ErrorFigures,
    OperatorPack,
    error_figures,
    named_pack,
    ratio_figures,
)
from adapter_conform.states import State
from test_judge import Chip, X, judge

VALUE = np.linspace(1, 2, 100)
EXACT = expect(Tracked(VALUE, Arithmetic.of("float16", "float32"), np.full(100, 1.0)), "float16")
REFERENCE = error_figures(EXACT, VALUE * (1 + 2.0**-10))


def failed(kind: Kind, factor: float) -> set[str]:
    own = error_figures(EXACT, VALUE * (1 + 2.0**-10 * factor))
    return {figure.gate for figure in ratio_figures("out0", kind, "float16", own, REFERENCE) if not figure.passed}


def test_limits_by_class() -> None:
    assert failed(Kind.GEMM, 1.0) == set()
    assert failed(Kind.GEMM, 1.3) == {"ratio_mean_relative", "ratio_rms"}
    assert failed(Kind.GEMM, 2.5) == {"ratio_max_relative", "ratio_mean_relative", "ratio_rms"}
    assert failed(Kind.ATTENTION, 1.4) == set()
    assert failed(Kind.ATTENTION, 1.8) == {"ratio_mean_relative", "ratio_rms"}
    assert failed(Kind.ELEMENTWISE, 1.9) == set()
    assert "ratio_rms" in failed(Kind.ELEMENTWISE, 2.1)


def test_a_reference_without_error_counts_as_the_floor() -> None:
    none = ErrorFigures(0.0, 0.0, 0.0)
    small = ErrorFigures(2.0**-12, 2.0**-12, 2.0**-12)
    assert all(figure.passed for figure in ratio_figures("out0", Kind.GEMM, "float16", small, none))
    assert not ratio_figures("out0", Kind.GEMM, "float64", small, none)


def test_zeroed_elements_raise_the_ratio() -> None:
    broken = VALUE * (1 + 2.0**-10)
    broken[3] = 0
    own = error_figures(EXACT, broken)
    assert not any(figure.passed for figure in ratio_figures("out0", Kind.GEMM, "float16", own, REFERENCE))


def test_packs_travel_and_bad_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pack.json"
    OperatorPack("some GPU", {"abc": {"out0": REFERENCE}}).write(path)
    monkeypatch.setenv(PACK_VARIABLE, str(path))
    assert named_pack() == OperatorPack("some GPU", {"abc": {"out0": REFERENCE}})
    path.write_text(json.dumps({"format": 2}))
    with pytest.raises(ConformError, match="format 2, known is 1"):
        named_pack()
    monkeypatch.delenv(PACK_VARIABLE)
    assert named_pack() is None


def test_the_record_says_which_reference_judged_it() -> None:
    assert judge(Chip()).details["reference"] == "no reference pack"
    chip = Chip()
    chip.references = OperatorPack("some GPU", {})  # type: ignore[attr-defined]
    assert judge(chip).details["reference"] == "not in the pack of some GPU"
    known = Chip()
    digest = OperatorPack.digest("double", "float32", {}, [X])
    known.references = OperatorPack(  # type: ignore[attr-defined]
        "some GPU", {digest: {"out0": ErrorFigures(0.0, 0.0, 0.0)}}
    )
    outcome = judge(known)
    assert outcome.state is State.PASSED
    assert outcome.details["reference"] == "some GPU"
    assert {"ratio_max_relative", "ratio_rms"} <= {figure.gate for figure in outcome.errors}
    assert OperatorPack.digest("double", "float32", {"axis": 1}, [X]) != digest
