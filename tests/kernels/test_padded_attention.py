"""blha_get_max_len and variable_length_memory_efficient_attention against their definitions in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from attention_reference import DTYPES, assert_within, attention, cast, drawn
from kernel_checks import Array

Call = Callable[..., list[Any]]

NAME = "variable_length_memory_efficient_attention"


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(
    ("encoder", "decoder", "count", "wanted"),
    [
        ([3, 0, 7], [1, 2, 0], 3, (7, 2)),
        ([3, 0, 7], [1, 2, 5], 2, (3, 2)),
        ([-3, -1], [0, 0], 2, (0, 0)),
        ([], [], 0, (0, 0)),
        ([4], [9], 0, (0, 0)),
        (list(range(300)), [300 - i for i in range(300)], 300, (299, 300)),
    ],
)
def test_longest(
    call: Call, dtype: str, encoder: list[int], decoder: list[int], count: int, wanted: tuple[int, int]
) -> None:
    inputs = [np.array(encoder, dtype), np.array(decoder, dtype), np.zeros(count, "float32")]
    got = call("blha_get_max_len", dtype, inputs, [], [((1,), "int32"), ((1,), "int32")])
    assert [array.dtype.name for array in got] == ["int32", "int32"]
    assert (got[0][0], got[1][0]) == wanted


def padded(call: Call, dtype: str, arrays: list[Array | None], causal: bool, pre: int) -> Array:
    q, v = arrays[0], arrays[2]
    assert q is not None
    assert v is not None
    scale = 1 / np.sqrt(q.shape[3])
    shape = (*q.shape[:3], v.shape[3])
    (got,) = call(NAME, dtype, arrays, [scale, causal, pre], [(shape, dtype)])
    return np.asarray(got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask_heads", [None, 1, 6])
@pytest.mark.parametrize(("kv_heads", "pre"), [(6, 0), (2, 3), (1, 0)])
def test_against_the_definition(
    call: Call, dtype: str, causal: bool, mask_heads: int | None, kv_heads: int, pre: int
) -> None:
    batch, heads, rows, size, value_size = 4, 6, 70, 24, 40
    keys = 150
    q, k = drawn((batch, heads, rows, size), dtype, 1), drawn((batch, kv_heads, keys, size), dtype, 2)
    v = drawn((batch, kv_heads, keys, value_size), dtype, 3)
    queries, lengths = [70, 1, 0, 33], [140, 64, 5, 33]
    mask = None
    if mask_heads is not None:
        mask = drawn((batch, mask_heads, rows, keys), dtype, 4)
        mask[0, 0, 5, :] = -np.inf
        mask[3, -1, :, :20] = -np.inf
    for b in range(batch):  # what lies behind a sequence must not be read
        k[b, :, lengths[b] + pre :], v[b, :, lengths[b] + pre :], q[b, :, queries[b] :] = np.nan, np.nan, np.nan
    inputs = [q, k, v, np.array(queries, "int32")[:, None], np.array(lengths, "int32")[:, None], mask]
    got = padded(call, dtype, inputs, causal, pre)
    for b, (m, n) in enumerate(zip(queries, lengths, strict=True)):
        n = n + pre if m else 0
        visible = np.tri(m, n, dtype=bool) if causal else np.ones((m, n), bool)
        bias = None if mask is None else mask[b, :, :m, :n]
        exact, limit = attention(q[b, :, :m], k[b, :, :n], v[b, :, :n], visible, bias)
        assert_within(got[b, :, :m], exact, limit, dtype)
        np.testing.assert_array_equal(got[b, :, m:].astype("float64"), 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_that_sees_nothing_is_zero(call: Call, dtype: str) -> None:
    q, k, v = (drawn((1, 2, 40, 16), dtype, seed) for seed in (1, 2, 3))
    mask = cast(np.zeros((1, 1, 40, 40)), dtype)
    mask[0, 0, 3], mask[0, 0, 7, :39] = -np.inf, -np.inf
    length = np.array([40], "int32")
    got = padded(call, dtype, [q, k, v, length, length, mask], False, 0).astype("float64")
    np.testing.assert_array_equal(got[0, :, 3], 0)
    np.testing.assert_array_equal(got[0, :, 7], v[0, :, 39].astype("float64"))
    nothing = np.array([0], "int32")
    np.testing.assert_array_equal(padded(call, dtype, [q, k, v, length, nothing, None], True, 0).astype("float64"), 0)


def test_large_scores_and_numbers_that_are_none(call: Call) -> None:
    q, k, v = (drawn((1, 1, 9, 8), "float32", seed, 1e4) for seed in (1, 2, 3))
    k[0, 0, 4, 0] = np.nan
    length = np.array([9], "int32")
    got = padded(call, "float32", [q, k, v, length, length, None], True, 0)
    exact, limit = attention(q[0, :, :4], k[0, :, :4], v[0, :, :4], np.tri(4, 4, dtype=bool))
    assert_within(got[0, :, :4], exact, limit, "float32")
    assert np.isnan(got[0, 0, 4:]).all(), "a NaN is seen by all rows that see its key"


@pytest.mark.parametrize(("batch", "rows", "keys"), [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
def test_nothing_at_all(call: Call, batch: int, rows: int, keys: int) -> None:
    q, k = np.ones((batch, 2, rows, 8), "float32"), np.ones((batch, 2, keys, 8), "float32")
    m, n = np.full(batch, rows, "int32"), np.full(batch, keys, "int32")
    got = padded(call, "float32", [q, k, k, m, n, None], False, 0)
    np.testing.assert_array_equal(got, np.zeros((batch, 2, rows, 8)))


@pytest.mark.parametrize(
    ("lengths", "kv_lengths", "mask", "message"),
    [
        ([4], [3], None, "sequence 0 has 4 queries and 3 keys"),
        ([3], [6], None, "3 queries and 6 keys"),
        ([-1], [3], None, "-1 queries"),
        ([3, 3], [3], None, "one length each"),
        ([3], [5], np.zeros((1, 1, 3, 4), "float32"), "mask covers 3 rows and 4 keys"),
        ([3], [5], np.zeros((1, 3, 3, 5), "float32"), "1 or 2"),
        ([3], [5], np.zeros((1, 1, 3, 5), "float16"), "has to be float32"),
    ],
)
def test_wrong_input_is_refused(
    call: Call, lengths: list[int], kv_lengths: list[int], mask: Array | None, message: str
) -> None:
    q, k = np.ones((1, 2, 3, 8), "float32"), np.ones((1, 2, 5, 8), "float32")
    inputs = [q, k, k, np.array(lengths, "int32"), np.array(kv_lengths, "int32"), mask]
    with pytest.raises(ValueError, match=message):
        padded(call, "float32", inputs, False, 0)
