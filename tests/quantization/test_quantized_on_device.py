"""Quantized models on refchip: what they compute, in which dtype, and how much memory their weights take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from adapter_conform.quantization.schemes import SCHEMES

pytestmark = pytest.mark.device

PROGRAM = Path(__file__).with_name("device_program.py")
RAN = [(scheme, "float32") for scheme in SCHEMES[1:]]
RAN += [(scheme, "bfloat16") for scheme in ("int8", "int4-g64", "gptq4-g64", "a8w8-smooth")]
LINEARS = 8
LIMIT = 64 * 2.0**-24
Found = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    done = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "GLOG_minloglevel": "2"},
        cwd=tmp_path_factory.mktemp("quantization"),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row.pop("name"): row for row in rows}


@pytest.mark.parametrize(("scheme", "dtype"), RAN)
def test_products_run_in_the_dtype_of_the_scheme(found: Found, scheme: str, dtype: str) -> None:
    kernel = "matmul/int8" if scheme.startswith("a8w8") else f"weight_only_linear/{dtype}"
    assert found[f"{scheme} {dtype}"]["products"] == {kernel: LINEARS, f"matmul/{dtype}": 1}  # the head stays as it was


@pytest.mark.parametrize(("scheme", "dtype"), RAN)
def test_logits_are_those_of_the_definition(found: Found, scheme: str, dtype: str) -> None:
    """In float32 to rounding: 2^-24 through two layers, unless rounding decides between two integers of an activation,
    one of which is worth 1/127 of its range. In bfloat16 an activation is off by up to 2^-9, a quarter of an integer's
    step, so that many fall on the next integer: as much noise as quantizing makes by itself."""
    off = found[f"{scheme} {dtype}"]["off"]
    integers = scheme.startswith("a8w8")
    if dtype == "bfloat16":
        assert off < 4 * 2.0**-8 + (found[f"{scheme} float32"]["error"] if integers else 0)
    else:
        assert off < (2.0**-9 if integers else LIMIT)


@pytest.mark.parametrize("fault", ["nibbles_in_the_wrong_order", "scales_along_the_wrong_axis"])
def test_a_fault_is_noticed(found: Found, fault: str) -> None:
    assert found[fault]["off"] > 1000 * LIMIT


@pytest.mark.parametrize(("scheme", "dtype"), RAN)
def test_weights_take_the_memory_of_their_bits(found: Found, scheme: str, dtype: str) -> None:
    row = found[f"{scheme} {dtype}"]
    bits = 4 if "4" in scheme.split("-")[0] else 8
    assert row["numbers"] * bits / 8 <= row["weight_bytes"] < row["numbers"] * bits / 8 * 1.2


def test_the_cost_of_fewer_bits(found: Found) -> None:
    """Against the float32 model: 8 bits cost little, 4 bits more, and GPTQ and groups win some of it back."""
    error = {scheme: found[f"{scheme} float32"]["error"] for scheme in SCHEMES[1:]}
    assert all(0 < error[scheme] < 0.02 for scheme in SCHEMES if scheme.startswith("int8"))
    assert all(0 < error[scheme] < 0.06 for scheme in SCHEMES if scheme.startswith("a8w8"))
    assert error["int8"] * 5 < error["gptq4-g64"] < error["gptq4"] < error["int4"]
    assert error["int4-g64"] < error["int4"]


def test_integers_of_our_own_choice(found: Found) -> None:
    assert found["own integers"]["same"] == [True] * 4


def test_a_layout_that_is_read_back_wrongly_is_noticed(found: Found) -> None:
    assert "came back from the device changed" in found["nibbles"]["error"]
