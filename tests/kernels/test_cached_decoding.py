"""masked_multihead_attention: one token against a cache, with its definition in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from attention_reference import DTYPES, SINGLE, assert_within, attention, cast, drawn, rotated, wide
from kernel_checks import Array

Call = Callable[..., list[Any]]

NAME = "masked_multihead_attention"
INPUTS = (
    "bias",
    "src_mask",
    "cum_offsets",
    "sequence_lengths",
    "rotary_tensor",
    "beam_cache_offset",
    "qkv_out_scale",
    "out_shift",
    "out_smooth",
)


def decode(call: Call, dtype: str, x: Array, cache: Array, **given: Any) -> Array:
    """Runs the kernel in place on ``cache``; ``given`` are optional inputs and attributes."""
    attributes: dict[str, Any] = {
        "seq_len": 1,
        "rotary_emb_dims": 0,
        "neox": False,
        "compute_dtype": "default",
        "out_scale": -1.0,
        "round_type": 1,
        "max_bound": 127.0,
        "min_bound": -127.0,
    }
    optional = {name: given.pop(name, None) for name in INPUTS}
    attributes.update(given)
    width = x.shape[-1] - 2 * cache.shape[2] * cache.shape[4]
    result = "int8" if attributes["out_scale"] > 0 else cache.dtype.name
    out, stored, _ = call(
        NAME,
        dtype,
        [x, cache, *optional.values()],
        list(attributes.values()),
        [((x.shape[0], width), result), cache, None],
    )
    cache[...] = stored
    return np.asarray(out)


def pack(dtype: str) -> int:
    return 4 if dtype == "float32" else 8


def plain_keys(cache: Array) -> Array:
    """The keys [batch, heads, tokens, size] of a cache, in which they lie as [size / pack, tokens, pack]."""
    _, batch, heads, tokens, size = cache.shape
    p = 16 // cache.dtype.itemsize
    packed = np.ascontiguousarray(cache[0]).reshape(batch, heads, size // p, tokens, p)
    return np.moveaxis(packed, 3, 2).reshape(batch, heads, tokens, size)


def new_cache(dtype: str, batch: int, heads: int, tokens: int, size: int) -> Array:
    return drawn((2, batch, heads, tokens, size), dtype, 77)


def test_the_keys_of_a_cache_lie_in_packs_of_16_bytes(call: Call) -> None:
    for dtype in DTYPES:
        cache = cast(np.zeros((2, 1, 1, 3, 16)), dtype)
        x = cast(np.arange(48.0)[None], dtype)
        decode(call, dtype, x, cache, sequence_lengths=np.array([1], "int32"))
        p = pack(dtype)
        flat = np.ascontiguousarray(wide(cache[0])).reshape(16 // p, 3, p)
        np.testing.assert_array_equal(flat[:, 1].reshape(-1), np.arange(16.0, 32.0))
        np.testing.assert_array_equal(wide(cache[1, 0, 0, 1]), np.arange(32.0, 48.0))
        assert np.count_nonzero(wide(cache)) == 32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(4, 4, 32), (6, 2, 16), (5, 1, 80)])
@pytest.mark.parametrize("rotation", [None, "neighbours", "halves", "two sections"])
@pytest.mark.parametrize("mask_heads", [None, 1, "all"])
def test_against_the_definition(
    call: Call, dtype: str, heads: int, kv_heads: int, size: int, rotation: str | None, mask_heads: int | str | None
) -> None:
    batch, tokens = 3, 150
    width = (heads + 2 * kv_heads) * size
    x, bias = drawn((batch, width), dtype, 1), drawn((width,), dtype, 2)
    cache = new_cache(dtype, batch, kv_heads, tokens, size)
    past = [149, 0, 64]
    given: dict[str, Any] = {"bias": bias, "sequence_lengths": np.array(past, "int32")[:, None]}
    mask = None
    if mask_heads is not None:
        mask = drawn((batch, heads if mask_heads == "all" else 1, 1, tokens), dtype, 4)
        mask[0, :, :, 3:90] = -np.inf
        given["src_mask"] = mask
    qkv = (wide(x) + wide(bias)).reshape(batch, heads + 2 * kv_heads, size)
    q, k, v = np.split(qkv, [heads, heads + kv_heads], axis=1)
    if rotation is not None:
        sections = 2 if rotation == "two sections" else 1
        angles = np.random.default_rng(5).uniform(-3, 3, (batch, sections, size // sections // 2))
        neox = rotation != "neighbours"
        every = np.concatenate([angles, angles], -1) if neox else np.repeat(angles, 2, -1)
        table = np.stack([np.cos(every), np.sin(every)]).reshape(2, batch, 1, 1, size).astype("float32")
        given |= {"rotary_tensor": table, "rotary_emb_dims": sections, "neox": neox}
        half = wide(table).reshape(2, batch, sections, size // sections)
        half = half[..., : size // sections // 2] if neox else half[..., ::2]
        cosines, sines = half[:, :, None]

        def turn(heads_of: Array) -> Array:
            parts = heads_of.reshape(batch, -1, sections, size // sections)
            return rotated(parts, cosines, sines, neox).reshape(heads_of.shape)

        q, k = turn(q), turn(k)
    before = cache.copy()
    got = decode(call, dtype, x, cache, **given)
    keys = plain_keys(cache)
    for b, t in enumerate(past):
        magnitude = 4 * SINGLE * np.abs(qkv[b]).max() * 2
        assert_within(keys[b, :, t], k[b], magnitude, dtype)
        assert_within(cache[1, b, :, t], v[b], magnitude, dtype)
        untouched = [i for i in range(tokens) if i != t]
        np.testing.assert_array_equal(keys[b][:, untouched], plain_keys(before)[b][:, untouched])
        np.testing.assert_array_equal(cache[1, b][:, untouched], before[1, b][:, untouched])
        masked = None if mask is None else mask[b, :, :, : t + 1]
        exact, limit = attention(q[b][:, None], keys[b, :, : t + 1], cache[1, b, :, : t + 1], None, masked)
        assert_within(got[b].reshape(heads, 1, size), exact, limit, dtype)


def test_the_mask_alone_says_how_many_tokens_there_are(call: Call) -> None:
    x, cache = drawn((2, 96), "float32", 1), new_cache("float32", 2, 2, 12, 16)
    twin = cache.copy()
    mask = np.zeros((2, 1, 1, 8), "float32")
    by_mask = decode(call, "float32", x, cache, src_mask=mask)
    by_length = decode(call, "float32", x, twin, sequence_lengths=np.array([7, 7], "int32"))
    np.testing.assert_array_equal(by_mask, by_length)
    np.testing.assert_array_equal(cache, twin)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_ended_sequence_and_a_row_that_sees_nothing_are_zero(call: Call, dtype: str) -> None:
    x, cache = drawn((2, 96), dtype, 1), new_cache(dtype, 2, 2, 5, 16)
    before = cache.copy()
    mask = cast(np.full((2, 1, 1, 5), -np.inf), dtype)
    got = decode(call, dtype, x, cache, src_mask=mask, sequence_lengths=np.array([-1, 4], "int32"))
    np.testing.assert_array_equal(wide(got), 0)
    np.testing.assert_array_equal(cache[:, 0], before[:, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cache_that_is_no_output_is_copied(call: Call, dtype: str) -> None:
    x, cache = drawn((2, 96), dtype, 1), new_cache(dtype, 2, 2, 5, 16)
    before, twin = cache.copy(), cache.copy()
    length = np.array([2, 3], "int32")
    wanted = decode(call, dtype, x, twin, sequence_lengths=length)
    inputs = [x, cache, None, None, None, length, *[None] * 5]
    specification = [((2, 32), dtype), (cache.shape, dtype), None]
    out, stored, _ = call(NAME, dtype, inputs, [1, 0, False, "default", -1.0, 1, 127.0, -127.0], specification)
    np.testing.assert_array_equal(cache, before)
    np.testing.assert_array_equal(stored, twin)
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("round_type", [0, 1])
@pytest.mark.parametrize("smoothed", [False, True])
def test_quantised_products_and_results(call: Call, dtype: str, round_type: int, smoothed: bool) -> None:
    heads, size, tokens = 2, 16, 9
    names = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
    rng = np.random.default_rng(3)
    x = rng.integers(-900, 900, (3, 3 * heads * size)).astype("int32")
    scales = rng.uniform(0.5e-3, 2e-3, x.shape[1]).astype("float32")
    bias = drawn((x.shape[1],), dtype, 2, 0.1)
    cache = new_cache(dtype, 3, heads, tokens, size)
    given: dict[str, Any] = {
        "qkv_out_scale": scales,
        "bias": bias,
        "sequence_lengths": np.array([8, 3, 0], "int32"),
        "compute_dtype": names[dtype],
    }
    shift, smooth = drawn((heads * size,), dtype, 5, 0.3), drawn((heads * size,), dtype, 6)
    if smoothed:
        given |= {"out_shift": shift, "out_smooth": smooth}
    twin = cache.copy()
    plain = decode(call, "int32", x, twin, **given)
    got = decode(call, "int32", x, cache, **given, out_scale=0.4, round_type=round_type)
    np.testing.assert_array_equal(cache, twin)
    qkv = (x * wide(scales) + wide(bias)).reshape(3, 3, heads, size)
    keys = plain_keys(cache)
    for b, t in enumerate((8, 3, 0)):
        exact, limit = attention(qkv[b, 0][:, None], keys[b, :, : t + 1], cache[1, b, :, : t + 1])
        exact, limit = exact.reshape(-1), limit.reshape(-1)
        if smoothed:
            exact = (exact + wide(shift)) * wide(smooth)
            limit = limit * np.abs(wide(smooth)) + 4 * SINGLE * (np.abs(exact) + np.abs(wide(smooth)))
        assert_within(plain[b], exact, limit, dtype)
        scaled = np.clip(exact * 127 * np.float32(0.4), -127, 127)
        slack = limit * 51 + 4 * SINGLE * np.abs(scaled)
        assert np.all(np.abs(got[b] - scaled) <= 0.5 + slack)
    assert got.dtype == np.int8


def test_rounding_of_halves(call: Call) -> None:
    """Results that lie exactly between two whole numbers: to even, or away from zero."""
    values = np.array([0.5, 1.5, -0.5, -2.5, 3.0, 300.0, -300.0, 0.25] * 2)
    x = np.concatenate([np.zeros(32), values]).astype("float32")[None]
    for round_type, wanted in ((0, [0, 2, 0, -2, 3, 127, -127, 0]), (1, [1, 2, -1, -3, 3, 127, -127, 0])):
        cache = np.zeros((2, 1, 1, 2, 16), "float32")
        got = decode(
            call,
            "float32",
            x,
            cache,
            sequence_lengths=np.array([0], "int32"),
            out_scale=float(np.float32(1 / 127)),
            round_type=round_type,
        )
        np.testing.assert_array_equal(got[0], wanted * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sequence_lengths": None}, ValueError, "how many tokens the cache holds"),
        ({"sequence_lengths": np.array([5, 2], "int32")}, ValueError, "has 5 tokens in a cache with room for 5"),
        ({"sequence_lengths": np.array([5], "int32")}, ValueError, "sequence_lengths has to be 2 numbers of int32"),
        ({"src_mask": np.zeros((2, 1, 1, 2), "float32")}, ValueError, "src_mask covers 1 rows and 2 keys"),
        ({"src_mask": np.zeros((2, 3, 1, 5), "float32")}, ValueError, "1 or 2"),
        ({"cum_offsets": np.zeros(2, "int32")}, NotImplementedError, "cum_offsets"),
        ({"beam_cache_offset": np.zeros((1, 2, 5), "int32")}, NotImplementedError, "beam_cache_offset"),
        ({"rotary_emb_dims": 1}, ValueError, "needs a rotary_tensor"),
        ({"qkv_out_scale": np.ones(96, "float32")}, ValueError, "belongs to an int32 x"),
        ({"out_shift": np.ones(32, "float32")}, ValueError, "belong together"),
        ({"bias": np.ones(96, "float16")}, ValueError, "bias has to be 96 numbers of float32"),
        ({"out_scale": 1.0, "max_bound": 448.0}, NotImplementedError, "int8"),
    ],
)
def test_wrong_input_is_refused(call: Call, change: dict[str, Any], error: type[Exception], message: str) -> None:
    x, cache = drawn((2, 96), "float32", 1), new_cache("float32", 2, 2, 5, 16)
    before = cache.copy()
    with pytest.raises(error, match=message):
        decode(call, "float32", x, cache, **{"sequence_lengths": np.array([2, 3], "int32"), **change})
    np.testing.assert_array_equal(cache, before)


def test_an_odd_head_size_is_refused(call: Call) -> None:
    cache = np.zeros((2, 1, 1, 4, 6), "float32")
    with pytest.raises(NotImplementedError, match="packs of 16 bytes"):
        decode(call, "float32", np.zeros((1, 18), "float32"), cache, sequence_lengths=np.array([0], "int32"))


def test_step_by_step_is_causal_attention(call: Call) -> None:
    """A cache that starts empty and is filled token by token gives what attention over the whole sequence gives."""
    for dtype in DTYPES:
        heads, size, steps = 3, 16, 20
        tokens = drawn((steps, 3 * heads * size), dtype, 9)
        cache = cast(np.zeros((2, 1, heads, steps, size)), dtype)
        got = [
            decode(call, dtype, tokens[t][None], cache, sequence_lengths=np.array([t], "int32"))[0]
            for t in range(steps)
        ]
        q, k, v = np.moveaxis(tokens.reshape(steps, 3, heads, size), [1, 2], [0, 1])
        exact, limit = attention(q, k, v, np.tri(steps, dtype=bool))
        result = np.stack(got).reshape(steps, heads, size).swapaxes(0, 1)
        assert_within(result, exact, limit, dtype)
