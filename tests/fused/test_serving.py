"""The serving operators through Paddle's public API on the installed refchip, CPU fallback off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.device

PROGRAM = Path(__file__).with_name("serving_program.py")
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
LARGEST = 4.0  # no result is larger
DTYPES = tuple(ROUNDING)

Found = dict[str, dict[str, Any]]


def run(threads: int) -> Found:
    environment = {**os.environ, "REFCHIP_THREADS": str(threads), "GLOG_minloglevel": "2"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row.pop("name"): row for row in rows}


@pytest.fixture(scope="module")
def found() -> Found:
    return run(1)


def limit(dtype: str) -> float:
    """One rounding of the largest result; in float32 some more in the sums (tests/kernels has the exact limits)."""
    return LARGEST * ROUNDING[dtype] * (16 if dtype == "float32" else 1)


def test_longest_lengths(found: Found) -> None:
    assert found["longest"]["found"] == [8, 5]
    assert found["longest"]["dtypes"] == ["paddle.int32"] * 2
    assert "blha_get_max_len/int32" in found["longest"]["kernels"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_padded_sequences(found: Found, dtype: str) -> None:
    row = found[f"padded {dtype}"]
    assert row["error"] < limit(dtype)
    assert row["kernels"] == [f"variable_length_memory_efficient_attention/{dtype}"]
    assert row["static"], "a static graph gives other bits"
    assert (row["place"], row["dtype"]) == ("Place(refchip:0)", f"paddle.{dtype}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cache_filled_token_by_token(found: Found, dtype: str) -> None:
    row = found[f"token by token {dtype}"]
    assert row["error"] < limit(dtype)
    assert row["kernels"] == [f"masked_multihead_attention/{dtype}"]
    assert row["in_place"]
    assert row["dtype"] == f"paddle.{dtype}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_prefill_of_a_paged_cache(found: Found, dtype: str) -> None:
    row = found[f"paged {dtype}"]
    assert row["error"] < limit(dtype)
    assert row["static"], "a static graph gives other bits, or does not write into the caches"
    assert row["cache"], "the pages do not hold the keys"
    assert row["kernels"] == [f"block_multihead_attention/{dtype}"]
    assert row["dtype"] == f"paddle.{dtype}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantised_products_and_a_cache_of_bytes(found: Found, dtype: str) -> None:
    row = found[f"quantised {dtype}"]
    assert row["same"], "int32 products times their scale are not what the numbers themselves give"
    assert row["values"], "a sequence of one token is not its value"
    assert row["bytes"], "the pages do not hold round(scale * value) + 128"
    assert row["dtypes"] == [f"paddle.{dtype}"] * 2
    assert row["kernels"] == ["masked_multihead_attention/int32", "block_multihead_attention/int32"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_to_see_is_zero(found: Found, dtype: str) -> None:
    assert found[f"nothing {dtype}"]["zeros"] == dict.fromkeys(["empty", "no keys", "masked", "ended", "paged"], 1.0)


def test_greedy_decoding_with_a_paged_cache_is_that_without_a_cache(found: Found) -> None:
    row = found["greedy"]
    assert row["same"]
    assert (row["chosen"], row["in_place"]) == (31, True)
    assert row["different"] > 8, "so few different tokens prove little"
    assert row["error"] < row["narrowest"] / 2, "the choice is not decided by what was computed"
    assert row["error"] < 1e-5
    kernels = {"add/float32", "block_multihead_attention/float32", "embedding/float32", "matmul/float32"}
    assert set(row["kernels"]) == kernels


def test_refusals_are_python_errors_that_say_why(found: Found) -> None:
    missing, full, beams = found["refused"]["errors"]
    assert missing.startswith("ValueError: ")
    assert "how many tokens the cache holds" in missing
    assert full.startswith("OSError: ")
    assert "has 4 tokens in a cache with room for 4" in full
    assert beams.startswith("NotImplementedError: ")
    assert "beam_cache_offset" in beams


def test_several_threads_give_the_same_bits(found: Found) -> None:
    assert run(3)["digest"] == found["digest"]
