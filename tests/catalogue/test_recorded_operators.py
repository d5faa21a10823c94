"""Figures that PyTorch recorded for the suite's own cases, where an interpreter with torch is named."""

from __future__ import annotations

import json
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from adapter_conform.certification.recorder import operators
from adapter_conform.certification.recorder.operator_cases import recorded_cases, write_cases
from adapter_conform.reference import OperatorPack
from test_draw import request as plan_request
from test_torch import PYTHON, has_torch


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "cases.npz"
    assert write_cases(path, recorded_cases(plan_request().plugin, "smoke", 0)) > 60
    return path


def record(cases: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, str(operators.__file__), str(cases), "--device", "cpu", "--out", str(out), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=out.parent)


def test_cases_are_those_that_a_judge_looks_up(cases: Path) -> None:
    with np.load(cases) as archive:
        index = json.loads(str(archive["index"]))
        assert {case["operator"] for case in index} >= {"add", "softmax", "matmul", "sum", "layer_norm"}
        assert len({case["digest"] for case in index}) == len(index)
    first = next(islice(recorded_cases(plan_request().plugin, "smoke", 0), 1))
    again = OperatorPack.digest(first.operator, first.dtype, first.attributes, first.inputs)
    assert first.digest == again == index[0]["digest"]


@pytest.mark.skipif(not has_torch(), reason="no torch; name an interpreter in ADAPTER_TORCH_PYTHON")
def test_pytorch_records_a_pack_that_the_suite_reads(cases: Path, tmp_path: Path) -> None:
    out = tmp_path / "operators.json"
    done = record(cases, out)
    assert done.returncode == 0, done.stderr
    pack = OperatorPack.read(out)
    assert "stands for no GPU" in pack.device
    recorded = [case for case in recorded_cases(plan_request().plugin, "smoke", 0) if case.digest in pack.entries]
    with np.load(cases) as archive:
        assert len(recorded) > 0.8 * len(json.loads(str(archive["index"]))), done.stderr
    for case in recorded:
        for name, figures in pack.entries[case.digest].items():
            wanted = case.outputs[name]
            assert wanted.limit is not None
            finite = np.isfinite(wanted.value)
            assert figures.rms <= 4 * float(np.max(wanted.limit[finite], initial=0.0)), (case.operator, case.dtype)


@pytest.mark.skipif(not has_torch(), reason="no torch; name an interpreter in ADAPTER_TORCH_PYTHON")
def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "cases.npz"
    wrong.write_text("no archive")
    done = record(wrong, tmp_path / "out.json")
    assert done.returncode == 2
    assert "cases.npz on cpu" in done.stderr
