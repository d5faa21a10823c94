"""block_multihead_attention: prefill and decoding over a cache in pages, with its definition in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from attention_reference import DTYPES, SINGLE, assert_within, attention, cast, drawn, rotated, wide
from kernel_checks import Array

Call = Callable[..., list[Any]]

NAME = "block_multihead_attention"
PAGE = 8
THETA = 10000.0
OPTIONAL = (
    "pre_key_cache",
    "pre_value_cache",
    "rope_emb",
    "mask",
    "tgt_mask",
    "cache_k_quant_scales",
    "cache_v_quant_scales",
    "cache_k_dequant_scales",
    "cache_v_dequant_scales",
    "qkv_out_scale",
    "qkv_bias",
    "out_shift",
    "out_smooth",
    "max_enc_len_this_time",
    "max_dec_len_this_time",
)
COMPUTE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass
class Pages:
    """Caches of keys and values, and which of their pages belong to each sequence."""

    keys: Array
    values: Array
    tables: Array

    @property
    def heads(self) -> int:
        return int(self.keys.shape[1])

    def tokens(self, cache: Array, b: int, count: int) -> Array:
        """The first ``count`` tokens of a sequence: [heads, count, size]."""
        rows = [cache[self.tables[b, t // PAGE], :, t % PAGE] for t in range(count)]
        empty = np.zeros((self.heads, 0, cache.shape[3]), cache.dtype)
        return np.stack(rows, 1) if rows else empty


def new_pages(dtype: str, batch: int, heads: int, size: int, pages_each: int, seed: int = 0) -> Pages:
    """Caches full of other numbers; sequences own scattered pages."""
    count = batch * pages_each + 3
    rng = np.random.default_rng(seed)
    tables = rng.permutation(count)[: batch * pages_each].reshape(batch, pages_each).astype("int32")
    shape = (count, heads, PAGE, size)
    if dtype == "uint8":
        return Pages(rng.integers(0, 256, shape, "uint8"), rng.integers(0, 256, shape, "uint8"), tables)
    return Pages(drawn(shape, dtype, seed + 1), drawn(shape, dtype, seed + 2), tables)


@dataclass
class Step:
    """One call: how many tokens each sequence brings at first (prefill) or has in the cache (decoding)."""

    prefill: list[int]
    past: list[int]
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> list[int]:
        return [m if m else 1 if n else 0 for m, n in zip(self.prefill, self.past, strict=True)]

    @property
    def starts(self) -> Array:
        return np.concatenate([[0], np.cumsum(self.rows)]).astype("int32")


def run(call: Call, dtype: str, qkv: Array, pages: Pages, step: Step) -> tuple[Array, Array]:
    """Runs the kernel in place on ``qkv`` and the caches: the result and qkv."""
    attributes: dict[str, Any] = {
        "max_seq_len": 64,
        "block_size": PAGE,
        "neox": False,
        "dynamic": False,
        "round_type": 1,
        "max_bound": 127.0,
        "min_bound": -127.0,
        "out_scale": -1.0,
        "compute_dtype": "default",
        "theta": THETA,
    }
    given = dict(step.given)
    optional = [given.pop(name, None) for name in OPTIONAL]
    attributes.update(given)
    starts = step.starts
    unused = np.zeros(0, "int32")
    lengths = [np.array(n, "int32")[:, None] for n in (step.prefill, step.past, step.rows)]
    inputs = [qkv, pages.keys, pages.values, *lengths, unused, unused, starts, starts, pages.tables, *optional]
    size = pages.keys.shape[3]
    width = qkv.shape[1] - 2 * pages.heads * size
    compute = {v: k for k, v in COMPUTE.items()}.get(attributes["compute_dtype"], dtype)
    result = "int8" if attributes["out_scale"] > 0 else compute
    specification = [((qkv.shape[0], width), result), qkv, pages.keys, pages.values]
    out, rows, keys, values = call(NAME, dtype, inputs, list(attributes.values()), specification)
    pages.keys[...], pages.values[...] = keys, values
    return np.asarray(out), np.asarray(rows)


def split(rows: Array, kv_heads: int, size: int) -> tuple[Array, Array, Array]:
    """Queries, keys and values [heads, rows, size] of rows of qkv."""
    parts = rows.reshape(len(rows), rows.shape[1] // size, size).swapaxes(0, 1)
    heads = len(parts) - 2 * kv_heads
    return parts[:heads], parts[heads : heads + kv_heads], parts[heads + kv_heads :]


def angles(positions: int, size: int) -> Array:
    return np.asarray(np.arange(positions)[:, None] / THETA ** (np.arange(0, size, 2) / size))


def rope_table(positions: int, size: int, neox: bool) -> Array:
    turned = angles(positions, size)
    every = np.concatenate([turned, turned], -1) if neox else turned
    return np.asarray(np.stack([np.cos(every), np.sin(every)])[:, None, :, None], "float32")


def turn(x: Array, first: int, rope: str | None) -> tuple[Array, float]:
    """``x`` [heads, rows, size] rotated from position ``first`` on, and what the angles' float32 may change."""
    if rope is None:
        return wide(x), 0.0
    at = angles(first + x.shape[1], x.shape[2])[first:]
    doubt = 4 * SINGLE * 2 * float(np.abs(wide(x)).max(initial=0)) * 2
    return rotated(x, np.cos(at), np.sin(at), rope == "neox"), doubt


def check_prefill(dtype: str, b: int, step: Step, given: Array, out: Array, rows: Array, pages: Pages) -> None:
    size, kv_heads = pages.keys.shape[3], pages.heads
    rope, pre = step.given.get("rope"), step.given.get("pre", 0)
    at = slice(int(step.starts[b]), int(step.starts[b + 1]))
    n = step.prefill[b]
    q, k, v = split(given[at], kv_heads, size)
    stored_q, stored_k, stored_v = split(rows[at], kv_heads, size)
    for got, exact in ((stored_q, turn(q, 0, rope)), (stored_k, turn(k, 0, rope)), (stored_v, (wide(v), 0.0))):
        assert_within(got, exact[0], exact[1] + SINGLE * np.abs(exact[0]), dtype)
    if pages.keys.dtype != np.uint8:
        np.testing.assert_array_equal(pages.tokens(pages.keys, b, pre + n)[:, pre:], stored_k)
        np.testing.assert_array_equal(pages.tokens(pages.values, b, pre + n)[:, pre:], stored_v)
    keys, values, bias, visible = stored_k, stored_v, None, np.tri(n, dtype=bool)
    if pre:
        first, second = (step.given[name][b] for name in ("pre_key_cache", "pre_value_cache"))
        keys, values = np.concatenate([first, keys], 1), np.concatenate([second, values], 1)
    if "mask" in step.given:
        mask = step.given["mask"]
        bias, visible = mask[b if len(mask) > 1 else 0, :, :n, : pre + n], np.ones((n, pre + n), bool)
    exact_out, limit = attention(stored_q, keys, values, visible, bias)
    heads = len(exact_out)
    assert_within(out[at].reshape(n, heads, size).swapaxes(0, 1), exact_out, limit, dtype)


def check_decoding(dtype: str, b: int, step: Step, given: Array, out: Array, rows: Array, pages: Pages) -> None:
    size, kv_heads = pages.keys.shape[3], pages.heads
    rope, pre, past = step.given.get("rope"), step.given.get("pre", 0), step.past[b]
    at = int(step.starts[b])
    np.testing.assert_array_equal(rows[at], cast(wide(given[at]), dtype))
    q, k, v = split(given[at][None], kv_heads, size)
    (exact_q, query_doubt), (exact_k, doubt) = turn(q, past, rope), turn(k, past, rope)
    keys, values = (pages.tokens(cache, b, pre + past + 1) for cache in (pages.keys, pages.values))
    assert_within(keys[:, -1:], exact_k, doubt + SINGLE * np.abs(exact_k), dtype)
    np.testing.assert_array_equal(values[:, -1:], v)
    mask = step.given.get("tgt_mask")
    bias = None if mask is None else mask[b if len(mask) > 1 else 0, :, :, : pre + past + 1]
    exact, limit = attention(exact_q, keys, values, None, bias, query_doubt)
    assert_within(out[at].reshape(len(exact), 1, size), exact, limit, dtype)


def check(dtype: str, step: Step, given: Array, out: Array, rows: Array, pages: Pages, before: Pages) -> None:
    """Every sequence against the definition; whatever no sequence owns is as it was."""
    pre = step.given.get("pre", 0)
    touched = np.zeros((len(before.keys), PAGE), bool)
    for b, (m, n) in enumerate(zip(step.prefill, step.past, strict=True)):
        if m:
            check_prefill(dtype, b, step, given, out, rows, pages)
        elif n:
            check_decoding(dtype, b, step, given, out, rows, pages)
        for t in range(0 if m else n + pre, m + pre if m else n + pre + 1 if n else 0):
            touched[pages.tables[b, t // PAGE], t % PAGE] = True
    for after, was in ((pages.keys, before.keys), (pages.values, before.values)):
        same = np.swapaxes(after, 1, 2)[~touched], np.swapaxes(was, 1, 2)[~touched]
        np.testing.assert_array_equal(*same)


def kernel_arguments(step: Step) -> Step:
    return Step(step.prefill, step.past, {k: v for k, v in step.given.items() if k not in ("rope", "pre")})


def judge(call: Call, dtype: str, pages: Pages, step: Step, heads: int, seed: int) -> None:
    size = pages.keys.shape[3]
    given = drawn((sum(step.rows), (heads + 2 * pages.heads) * size), dtype, seed)
    before = Pages(pages.keys.copy(), pages.values.copy(), pages.tables)
    out, rows = run(call, dtype, given.copy(), pages, kernel_arguments(step))
    check(dtype, step, given, out, rows, pages, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(4, 4, 16), (6, 2, 24)])
@pytest.mark.parametrize("rope", [None, "neighbours", "neox"])
@pytest.mark.parametrize("masked", [False, True])
def test_prefill_then_decoding_together(
    call: Call, dtype: str, heads: int, kv_heads: int, size: int, rope: str | None, masked: bool
) -> None:
    pages = new_pages(dtype, 4, kv_heads, size, 12)
    common: dict[str, Any] = {"rope": rope}
    if rope is not None:
        common |= {"rope_emb": rope_table(96, size, rope == "neox"), "neox": rope == "neox"}
    first = Step([70, 0, 1, 9], [0, 0, 0, 0], dict(common))
    second = Step([0, 17, 0, 0], [70, 0, 1, 9], dict(common))  # one joins while the others go on
    third = Step([0, 0, 0, 0], [71, 17, 0, 10], dict(common))  # one has ended
    if masked:
        first.given["mask"] = drawn((4, 1, 70, 70), dtype, 8)
        second.given |= {"mask": drawn((1, heads, 20, 20), dtype, 9), "tgt_mask": drawn((4, heads, 1, 80), dtype, 10)}
        second.given["tgt_mask"][0, 0, 0, :64] = -np.inf
        third.given["tgt_mask"] = drawn((4, 1, 1, 80), dtype, 11)
    for seed, step in enumerate((first, second, third)):
        judge(call, dtype, pages, step, heads, 20 + seed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_a_cache_before_the_first_token(call: Call, dtype: str, kv_heads: int) -> None:
    size, pre = 16, 5
    pages = new_pages(dtype, 3, kv_heads, size, 6)
    prefix = {name: drawn((3, kv_heads, pre, size), dtype, i) for i, name in enumerate(OPTIONAL[:2], 40)}
    mask = drawn((3, 1, 20, 25), dtype, 43)
    judge(call, dtype, pages, Step([20, 0, 3], [0, 0, 0], {"pre": pre, "mask": mask, **prefix}), 4, 44)
    stored = pages.tokens(pages.keys, 0, pre), pages.tokens(pages.values, 0, pre)
    for got, name in zip(stored, OPTIONAL[:2], strict=True):
        np.testing.assert_array_equal(got, prefix[name][0])
    judge(call, dtype, pages, Step([0, 0, 0], [20, 0, 3], {"pre": pre, "mask": mask, **prefix}), 4, 45)


def test_rotation_tables_of_each_sequence(call: Call) -> None:
    """[2, batch, positions, 1, size]: every sequence is turned by its own angles."""
    size, dtype = 16, "float32"
    table = np.random.default_rng(1).uniform(-1, 1, (2, 2, 6, 1, size)).astype(dtype)
    table[..., size // 2 :] = table[..., : size // 2]
    qkv = drawn((9, 3 * size), dtype, 2)
    step = Step([6, 3], [0, 0], {"rope_emb": table, "neox": True})
    _, rows = run(call, dtype, qkv.copy(), new_pages(dtype, 2, 1, size, 2), step)
    for b, at in enumerate((slice(0, 6), slice(6, 9))):
        half = wide(table)[:, b, : at.stop - at.start, 0, : size // 2]
        exact = rotated(qkv[at, :size], half[0], half[1], True)
        assert_within(rows[at, :size], exact, 4 * SINGLE * 4, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantised_products_with_bias(call: Call, dtype: str) -> None:
    """int32 products and their scales give what the numbers themselves give; qkv stays as it was."""
    heads, kv_heads, size = 4, 2, 16
    rng = np.random.default_rng(6)
    width = (heads + 2 * kv_heads) * size
    products = rng.integers(-64, 64, (12, width)).astype("int32")
    scales = (2.0 ** rng.integers(-6, -4, width)).astype("float32")
    bias = cast(rng.integers(-8, 8, width) / 16, dtype)  # all sums are exact, also in bfloat16
    plain = cast(products * wide(scales), dtype)
    np.testing.assert_array_equal(wide(plain), products * wide(scales))
    table = rope_table(40, size, True)
    for step in (Step([9, 0, 3], [0, 0, 0]), Step([0, 0, 0], [9, 0, 3])):
        count = sum(step.rows)
        one, other = new_pages(dtype, 3, kv_heads, size, 2), new_pages(dtype, 3, kv_heads, size, 2)
        shared = {"rope_emb": table, "neox": True, "qkv_bias": bias}
        step.given = {**shared, "qkv_out_scale": scales, "compute_dtype": COMPUTE[dtype]}
        given = products[:count].copy()
        got, rows = run(call, "int32", given, one, step)
        np.testing.assert_array_equal(rows, products[:count])
        step.given = shared
        wanted, rows = run(call, dtype, plain[:count].copy(), other, step)
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(one.keys, other.keys)
        np.testing.assert_array_equal(one.values, other.values)
        if step.past[0]:
            np.testing.assert_array_equal(wide(rows), wide(plain[:count]) + wide(bias))


def dequantised(cache: Array, scales: Array) -> Array:
    return np.asarray((wide(cache) - 128) * wide(scales)[:, None, None])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("round_type", [0, 1])
def test_a_quantised_cache(call: Call, dtype: str, round_type: int) -> None:
    """Prefill sees its own numbers, decoding those of the cache before it; bytes hold round(scale x) + 128."""
    heads, kv_heads, size = 4, 2, 16
    pages = new_pages("uint8", 3, kv_heads, size, 4)
    scales = np.array([[40.0, 55.0], [30.0, 64.0]], "float32")
    names = OPTIONAL[5:9]
    given = {**dict(zip(names, [*scales, *(1 / scales)], strict=True)), "round_type": round_type}
    width = (heads + 2 * kv_heads) * size
    qkv = drawn((25, width), dtype, 1)
    step = Step([20, 0, 5], [0, 0, 0], dict(given))
    out, rows = run(call, dtype, qkv.copy(), pages, step)
    for b in (0, 2):
        check_prefill(dtype, b, step, qkv, out, rows, pages)
        _, k, v = split(qkv[slice(*step.starts[b : b + 2])], kv_heads, size)
        for cache, numbers, scale in ((pages.keys, k, scales[0]), (pages.values, v, scales[1])):
            product = (numbers.astype("float32") * scale[:, None, None]).astype("float64")
            whole = np.rint(product) if round_type == 0 else np.trunc(product + np.copysign(0.5, product))
            wanted = np.clip(whole, -127, 127) + 128
            np.testing.assert_array_equal(pages.tokens(cache, b, step.prefill[b]), wanted)
    token = drawn((2, width), dtype, 2)
    out, _ = run(call, dtype, token.copy(), pages, Step([0, 0, 0], [20, 0, 5], dict(given)))
    for row, (b, n) in enumerate(((0, 20), (2, 5))):
        q, k, v = split(token[row][None], kv_heads, size)
        keys = np.concatenate([dequantised(pages.tokens(pages.keys, b, n), 1 / scales[0]), wide(k)], 1)
        values = np.concatenate([dequantised(pages.tokens(pages.values, b, n), 1 / scales[1]), wide(v)], 1)
        exact, limit = attention(q, keys, values)
        assert_within(out[row].reshape(heads, 1, size), exact, limit, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothed", [False, True])
def test_quantised_results(call: Call, dtype: str, smoothed: bool) -> None:
    heads, size = 2, 16
    qkv = drawn((9, 3 * heads * size), dtype, 1)
    step = Step([8, 0], [0, 4])
    pages, twin = new_pages(dtype, 2, heads, size, 2), new_pages(dtype, 2, heads, size, 2)
    plain, _ = run(call, dtype, qkv.copy(), twin, step)
    shift, smooth = drawn((heads * size,), dtype, 5, 0.3), drawn((heads * size,), dtype, 6)
    step.given = {"out_scale": 0.4, "round_type": 0}
    if smoothed:
        step.given |= {"out_shift": shift, "out_smooth": smooth}
    got, _ = run(call, dtype, qkv.copy(), pages, step)
    values = (wide(plain) + wide(shift)) * wide(smooth) if smoothed else wide(plain)
    factor = np.abs(wide(smooth)) if smoothed else 1.0
    scaled = np.clip(values * 127 * np.float32(0.4), -127, 127)
    rounding = 51 * (2.0**-8 if dtype == "bfloat16" else 2.0**-11) * np.abs(wide(plain)) * factor
    assert got.dtype == np.int8
    assert np.all(np.abs(got - scaled) <= 0.5 + rounding + 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_visible_and_nothing_there_is_zero(call: Call, dtype: str) -> None:
    size, heads = 16, 2
    pages = new_pages(dtype, 4, heads, size, 3)
    mask = cast(np.zeros((4, 1, 12, 12)), dtype)
    mask[0, 0, 2] = -np.inf
    masks = {"mask": mask, "tgt_mask": cast(np.zeros((4, 1, 1, 20)), dtype)}
    masks["tgt_mask"][1] = -np.inf
    qkv = drawn((13, 3 * heads * size), dtype, 1)
    out, _ = run(call, dtype, qkv, pages, Step([12, 0, 0, 0], [0, 7, 0, 0], masks))
    np.testing.assert_array_equal(wide(out[[2, 12]]), 0)
    assert np.count_nonzero(wide(out[3])) > 0
    nothing, _ = run(call, dtype, qkv[:0].copy(), pages, Step([0] * 4, [0] * 4))
    assert nothing.shape == (0, heads * size)


def test_rows_behind_the_last_sequence_are_zero(call: Call) -> None:
    qkv = drawn((6, 48), "float32", 1)
    pages = new_pages("float32", 1, 1, 16, 2)
    step = Step([4], [0])
    out, rows = run(call, "float32", qkv.copy(), pages, step)
    np.testing.assert_array_equal(out[4:], 0)
    np.testing.assert_array_equal(rows[4:], qkv[4:])
    assert np.all(out[:4] != 0)


def test_caches_that_are_no_outputs_are_copied(call: Call) -> None:
    qkv = drawn((4, 48), "float32", 1)
    one, other = new_pages("float32", 1, 1, 16, 2), new_pages("float32", 1, 1, 16, 2)
    lengths = [np.array([n], "int32") for n in (4, 0, 4)]
    starts, unused = np.array([0, 4], "int32"), np.zeros(0, "int32")
    inputs = [qkv, one.keys, one.values, *lengths, unused, unused, starts, starts, one.tables, *[None] * 15]
    attributes = [64, PAGE, False, False, 1, 127.0, -127.0, -1.0, "default", THETA]
    shapes = [(4, 16), (4, 48), one.keys.shape, one.values.shape]
    out, rows, keys, values = call(NAME, "float32", inputs, attributes, [(shape, "float32") for shape in shapes])
    np.testing.assert_array_equal(one.keys, other.keys)
    wanted, _ = run(call, "float32", qkv.copy(), other, Step([4], [0]))
    for got, expected in ((out, wanted), (rows, qkv), (keys, other.keys), (values, other.values)):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("prefill", "past", "given", "error", "message"),
    [
        ([17], [0], {}, ValueError, "needs room for 17 tokens, but block_tables has 2 blocks of 8"),
        ([0], [16], {}, ValueError, "needs room for 17 tokens"),
        ([3], [2], {}, ValueError, "one of them has to be 0"),
        ([0], [-2], {}, ValueError, "none below"),
        ([4], [0], {"rope_emb": rope_table(3, 16, False)}, ValueError, "rope_emb only 3 positions"),
        ([4], [0], {"rope_emb": rope_table(9, 16, True)}, ValueError, r"\[2, 1 or 1, positions, 1, 8\]"),
        ([4], [0], {"mask": np.zeros((1, 1, 4, 3), "float32")}, ValueError, "mask covers 4 rows and 3 keys"),
        ([0], [4], {"tgt_mask": np.zeros((1, 1, 1, 4), "float32")}, ValueError, "tgt_mask covers 1 rows and 4 keys"),
        ([4], [0], {"block_size": 16}, ValueError, "block_size 16 is not that of key_cache"),
        ([4], [0], {"qkv_out_scale": np.ones(48, "float32")}, ValueError, "belongs to an int32 qkv"),
        ([4], [0], {"qkv_bias": np.ones(47, "float32")}, ValueError, "qkv_bias has to be 48 numbers"),
        ([4], [0], {"cache_k_quant_scales": np.ones(1, "float32")}, ValueError, "key_cache has to be uint8"),
        ([4], [0], {"pre_key_cache": np.ones((1, 1, 2, 16), "float32")}, ValueError, "belong together"),
        (
            [4],
            [0],
            {name: np.ones((1, 1, 2, 16), "float32") for name in OPTIONAL[:2]},
            ValueError,
            "pre_key_cache needs a mask",
        ),
        ([4], [0], {"out_scale": 1.0, "max_bound": 448.0}, NotImplementedError, "int8"),
        (
            [4],
            [0],
            {"dynamic": True, "cache_k_quant_scales": np.ones((1, 1), "float32")},
            NotImplementedError,
            "use_dynamic_cachekv_quant",
        ),
    ],
)
def test_wrong_input_is_refused(
    call: Call, prefill: list[int], past: list[int], given: dict[str, Any], error: type[Exception], message: str
) -> None:
    step = Step(prefill, past, given)
    pages = new_pages("float32", 1, 1, 16, 2)
    before = pages.keys.copy()
    qkv = drawn((max(sum(step.rows), 1), 48), "float32", 1)
    with pytest.raises(error, match=message):
        run(call, "float32", qkv, pages, step)
    np.testing.assert_array_equal(pages.keys, before)


def test_tables_and_starts_that_lead_outside_are_refused(call: Call) -> None:
    pages = new_pages("float32", 2, 1, 16, 2)
    qkv = drawn((6, 48), "float32", 1)
    table = pages.tables.copy()
    pages.tables[1, 0] = 99
    with pytest.raises(ValueError, match="sequence 1 is to lie in block 99 of a cache of 7"):
        run(call, "float32", qkv, pages, Step([3, 3], [0, 0]))
    pages.tables[:] = table
    with pytest.raises(ValueError, match="sequence 1 has rows 3 to 6 of qkv, which has 5"):
        run(call, "float32", qkv[:5], pages, Step([3, 3], [0, 0]))
    step = Step([3, 3], [0, 0])
    step.prefill[1] = 2
    lengths = [np.array(n, "int32") for n in ([3, 2], [0, 0], [3, 3])]
    starts, unused = np.array([0, 3, 6], "int32"), np.zeros(0, "int32")
    inputs = [qkv, pages.keys, pages.values, *lengths, unused, unused, starts, starts, pages.tables, *[None] * 15]
    attributes = [64, PAGE, False, False, 1, 127.0, -127.0, -1.0, "default", THETA]
    with pytest.raises(ValueError, match="3 rows between two of cu_seqlens_q, but 2 tokens"):
        call(NAME, "float32", inputs, attributes, [((6, 16), "float32"), qkv, pages.keys, pages.values])


def test_token_by_token_is_causal_attention(call: Call) -> None:
    """Prefill of a few tokens and decoding of the rest gives what attention over the whole sequence gives."""
    heads, size, steps = 2, 16, 20
    for dtype in DTYPES:
        tokens = drawn((steps, 3 * heads * size), dtype, 9)
        pages = new_pages(dtype, 1, heads, size, 3)
        got = [run(call, dtype, tokens[:6].copy(), pages, Step([6], [0]))[0]]
        for t in range(6, steps):
            got.append(run(call, dtype, tokens[t : t + 1].copy(), pages, Step([0], [t]))[0])
        exact, limit = attention(*split(tokens, heads, size), np.tri(steps, dtype=bool))
        result = np.concatenate(got).reshape(steps, heads, size).swapaxes(0, 1)
        assert_within(result, exact, limit, dtype)
