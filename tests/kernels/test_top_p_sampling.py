"""Top-p sampling: who may be drawn, how often, and that a seed fixes the draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from kernel_checks import Array

Call = Callable[..., list[Any]]

DTYPES = ("float64", "float32", "float16", "bfloat16")


def stored(values: Any, dtype: str) -> Array:
    return np.asarray(values).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def sample(
    call: Call,
    x: Array,
    top_p: float,
    dtype: str = "float32",
    threshold: float | None = None,
    seeds: Array | None = None,
    seed: int = -1,
    k: int = 0,
    mode: str = "truncated",
) -> list[Array]:
    rows = len(x)
    least = None if threshold is None else stored(np.full(rows, threshold), dtype)
    outputs = [((rows, 1), dtype), ((rows, 1), "int64"), ((rows, k), dtype), ((rows, k), "int64")]
    inputs = [x, stored(np.full((rows, 1), top_p), dtype), least, seeds]
    return call("top_p_sampling", dtype, inputs, [seed, k, mode], outputs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["truncated", "non-truncated"])
def test_frequencies_in_the_nucleus(call: Call, dtype: str, mode: str) -> None:
    """Of 0.5, 0.25, 0.125, ... the first two reach 0.75: they are drawn 2 to 1, the others never."""
    count = 6000
    row = stored([0.125, 0.5, 0.0625, 0.25, 0.0625], dtype)
    values, ids, *_ = sample(call, np.tile(row, (count, 1)), 0.75, dtype, seeds=np.arange(count) + 1, mode=mode)
    np.testing.assert_array_equal(values[:, 0].astype(float), row[ids[:, 0]].astype(float))
    share = np.bincount(ids[:, 0], minlength=5) / count
    np.testing.assert_allclose(share, [0, 2 / 3, 0, 1 / 3, 0], atol=4 * np.sqrt(2 / 9 / count))


def test_a_seed_fixes_the_draw(call: Call) -> None:
    x = np.random.default_rng(1).dirichlet(np.ones(1000), 40).astype(np.float32)
    seeds = np.arange(40)
    first = sample(call, x, 0.9, seeds=seeds)[1]
    np.testing.assert_array_equal(first, sample(call, x, 0.9, seeds=seeds)[1])
    assert (first != sample(call, x, 0.9, seeds=seeds + 100)[1]).mean() > 0.8
    np.testing.assert_array_equal(sample(call, x, 0.9, seed=3)[1], sample(call, x, 0.9, seed=3)[1])
    same = np.tile(x[:1], (5, 1))
    assert len(np.unique(sample(call, same, 0.9, seed=3)[1])) == 1  # one seed for all rows: the same number in each
    assert len(np.unique(sample(call, np.tile(x[:1], (50, 1)), 0.9)[1])) > 20  # the generator's differ


@pytest.mark.parametrize("dtype", DTYPES)
def test_best_tokens_come_along(call: Call, dtype: str) -> None:
    x = stored(np.random.default_rng(2).permutation(300).reshape(3, 100) / 512, dtype)
    values, ids, scores, score_ids = sample(call, x, 1e-6, dtype, k=70)
    order = np.argsort(-x.astype(float), axis=1, kind="stable")
    np.testing.assert_array_equal(score_ids, order[:, :70])
    np.testing.assert_array_equal(scores.astype(float), np.take_along_axis(x.astype(float), order[:, :70], 1))
    np.testing.assert_array_equal(ids[:, 0], order[:, 0])  # hardly any mass: only the best one
    np.testing.assert_array_equal(values[:, 0].astype(float), x.astype(float).max(1))


@pytest.mark.parametrize("mode", ["truncated", "non-truncated"])
def test_threshold(call: Call, mode: str) -> None:
    x = np.tile(np.array([0.1, 0.4, 0.3, 0.2], np.float32), (500, 1))
    ids = sample(call, x, 1.0, threshold=0.25, seeds=np.arange(500), mode=mode)[1]
    assert set(np.unique(ids)) == {1, 2}
    ids = sample(call, x, 1.0, threshold=0.9, seeds=np.arange(500), mode=mode)[1]
    assert set(np.unique(ids)) == {1}  # nobody is good enough: the best one


def test_mass_that_is_never_reached(call: Call) -> None:
    x = np.array([[0.1, 0.2], [0.0, 0.0], [np.nan, 0.5]], np.float32)
    ids = sample(call, x, 50.0, seeds=np.arange(3))[1]
    assert ids[0, 0] == 1
    assert ids[1, 0] == 0
    assert sample(call, np.zeros((0, 4), np.float32), 0.5)[1].shape == (0, 1)
    with pytest.raises(ValueError, match="the best 3 of 2"):
        sample(call, x, 0.5, k=3)
