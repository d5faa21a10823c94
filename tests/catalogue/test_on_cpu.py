"""The catalogue itself, held against Paddle's CPU kernels: calls, oracles, gradients, limits, names of kernels.

Where the two disagree and Paddle is at fault, the entry stands in ``KNOWN`` with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.catalogue.values import make_inputs

pytestmark = pytest.mark.paddle

LOGGING = {"GLOG_logtostderr": "1", "GLOG_vmodule": "*api*=6,data_transform=3"}
"""What the fake session reads: kernels as Paddle calls them."""
HERE = Path(__file__).parent
Row = dict[str, Any]


def sweep(count: int, mode: str, folder: Path) -> dict[str, list[Row]]:
    """Rows by operator. No custom device is visible to the process."""
    environment = {**os.environ, **LOGGING, "CUSTOM_DEVICE_ROOT": str(folder)}
    done = subprocess.run(
        [sys.executable, str(HERE / "cpu_sweep.py"), str(count), "11", mode],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows: dict[str, list[Row]] = defaultdict(list)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            rows[row["operator"]].append(row)
    return rows


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    return sweep(9, "eager", tmp_path_factory.mktemp("no_device"))


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    return sweep(1, "static", tmp_path_factory.mktemp("no_device"))


NO_CPU_KERNEL = (
    "rms_norm",
    "flash_attn",
    "flash_attn_mask",
    "flash_attn_unpadded",
    "flashmask_attention",
    "memory_efficient_attention",
    "fused_rotary_position_embedding",
    "fused_dropout_add",
    "fused_dropout_add_train",
)


def clipped(row: Row) -> bool:
    """Whether a score lies 64 or more below the largest one."""
    scores = make_inputs(row["example"], row["dtype"])[0].astype(float)
    with np.errstate(invalid="ignore"):  # a row of nothing but -inf
        apart = scores - scores.max(axis=row["example"]["attributes"]["axis"], keepdims=True)
    return bool((apart <= -64).any())


def known(row: Row) -> str:
    """Why Paddle's CPU build cannot meet this expectation; empty if it should."""
    name, inputs = row["operator"], row["example"]["inputs"]
    if name in ("softmax", "log_softmax") and clipped(row):
        return "the CPU kernels clip x - max at -64, so that masked scores give 1e-28 instead of 0"
    if name == "matmul" and len(inputs[0]["shape"]) > len(inputs[1]["shape"]) > 2:
        return "the CPU's matmul_grad cannot reduce two broadcast batch axes"
    if name in ("strided_copy", "quantize_linear", "dequantize_linear"):
        return "called below the API layer: not in the log that stands in for call counters"
    if name in NO_CPU_KERNEL:
        return "no CPU kernel"
    if name == "erf" and "grad0" in row["message"]:
        return "the CPU's vectorised exponential does not fall below exp(-88)"
    if name == "index_elementwise_put_with_tensor_grad" and row["dtype"] == "float64":
        return "the CPU kernel fills the value's gradient with garbage in float64"
    if name == "uniform_calls":
        return "a CPU has no streams"
    if name == "dropout" and len(inputs[0]["shape"]) == 1 and "num_col_dims" in row["message"]:
        return "in evaluation the CPU kernel views its input as a matrix, which it refuses for one axis"
    return ""


@pytest.mark.parametrize("name", [spec.name for spec in catalogue.all_specs()])
def test_entry_agrees_with_paddle(name: str, eager: dict[str, list[Row]]) -> None:
    if not catalogue.get(name).dtypes and not eager[name]:  # offered only where a plugin declares it
        return
    assert eager[name], "nothing was run"
    wrong = [row for row in eager[name] if row["state"] != "passed" and not known(row)]
    assert not wrong, f"{len(wrong)} of {len(eager[name])}: {wrong[0]}"


def test_values_of_the_entry_below_the_api_layer(eager: dict[str, list[Row]]) -> None:
    for name, state in (
        ("strided_copy", "vacuous"),
        ("quantize_linear", "fell_back"),
        ("dequantize_linear", "fell_back"),
    ):
        assert {row["state"] for row in eager[name]} == {state}
        assert not any(row["failed"] for row in eager[name])


def test_known_deviations_still_exist(eager: dict[str, list[Row]]) -> None:
    """A deviation that is gone must leave the list."""
    softmax = [row for row in eager["softmax"] if row["example"]["inputs"][0]["regime"] == "masked"]
    assert any("bound" in row["failed"] for row in softmax)
    broadcast = [row for row in eager["matmul"] if known(row)]
    assert all("InvalidArgument" in row["message"] for row in broadcast)
    assert any(known(row) for row in eager["dropout"])


def test_every_family_was_judged_by_its_gates(eager: dict[str, list[Row]]) -> None:
    gates = {name: {gate for row in rows for gate in row["gates"]} for name, rows in eager.items()}
    assert "probe" in gates["matmul"]
    assert "probe" in gates["sum"]
    assert {"form", "unwritten", "nonfinite", "bound"} <= gates["softmax"]
    assert "exact" in gates["gather"]


def test_static_graph_gives_the_same(static: dict[str, list[Row]]) -> None:
    """The fake session cannot count kernels of a static graph, so only the values are judged here."""
    wrong = [row for rows in static.values() for row in rows if row["state"] == "failed" and not known(row)]
    assert not wrong, wrong[0]
    assert len(static) > 80
