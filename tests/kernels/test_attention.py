"""The attention operators against whole matrices in float64: shapes, masks, dropout, gradients, rows without a key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from attention_oracle import Result, attention
from kernel_checks import Array

Call = Callable[..., list[Any]]

SINGLE, HALF = 2.0**-24, {"float16": 2.0**-11, "bfloat16": 2.0**-8}
SIZES = [  # batch, rows, columns, heads, kv_heads, dim, value_dim
    (1, 1, 1, 1, 1, 1, 1),
    (2, 7, 7, 4, 2, 8, 8),
    (1, 33, 70, 3, 3, 16, 24),
    (2, 70, 33, 4, 1, 5, 5),
    (1, 1, 600, 4, 4, 16, 16),
    (1, 200, 1100, 2, 1, 8, 8),
]


def cast(x: Array, dtype: str) -> Array:
    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def operands(size: tuple[int, ...], dtype: str, seed: int = 0) -> tuple[Array, Array, Array, Array]:
    batch, rows, columns, heads, kv_heads, dim, value_dim = size
    rng = np.random.default_rng(seed)
    shapes = [(batch, rows, heads, dim), (batch, columns, kv_heads, dim), (batch, columns, kv_heads, value_dim)]
    q, k, v = (cast(rng.normal(size=shape), dtype) for shape in shapes)
    return q, k, v, cast(rng.normal(size=(batch, rows, heads, value_dim)), dtype)


def below(rows: int, columns: int, diagonal: int) -> Array:
    """0 where column < row + diagonal, else -inf."""
    return np.where(np.arange(columns) < np.arange(rows)[:, None] + diagonal, 0.0, -np.inf)


def oracle(x: tuple[Array, ...], added: Array, **more: Any) -> list[Result]:
    """One result for each sequence of the batch; ``added`` is broadcast to [batch, heads, rows, columns]."""
    q, k, v, flow = x
    full = np.broadcast_to(added, (q.shape[0], q.shape[2], q.shape[1], k.shape[1]))
    scale = q.shape[-1] ** -0.5
    kept = more.pop("kept", [None] * q.shape[0])
    return [attention(q[b], k[b], v[b], flow[b], scale, full[b], kept=kept[b], **more) for b in range(q.shape[0])]


def assert_close(got: Array, wanted: Array, dtype: str, wide: float = 1.0) -> None:
    """Within what rounding of the operands of each product costs, of the largest number of a row."""
    unit = HALF.get(dtype, 16 * SINGLE)
    size = np.max(np.abs(wanted), initial=0) + 1e-30
    np.testing.assert_array_less(np.abs(got.astype(np.float64) - wanted), 3 * wide * unit * size + 1e-30)


def flash(call: Call, x: tuple[Array, ...], dtype: str, causal: bool, mask: Array | None = None, **more: Any) -> Any:
    """{out, softmax, lse, seed} and the gradients of q, k and v."""
    q, k, v, flow = x
    p, fixed, test = more.get("p", 0.0), more.get("fixed"), more.get("is_test", False)
    batch, rows, heads, _ = q.shape
    up = [-(-n // 128) * 128 for n in (rows, k.shape[1])]
    specification = [(flow.shape, dtype), ((batch, heads, *up), dtype), ((batch, heads, up[0]), "float32")]
    specification.append(((2,), "int64"))
    out, softmax, lse, seed = call(
        "flash_attn", dtype, [q, k, v, fixed, mask], [p, causal, True, test, ""], specification, seed=more.get("run", 0)
    )
    grads = call(
        "flash_attn_grad",
        dtype,
        [q, k, v, out, lse, seed, mask, flow],
        [p, causal],
        [(q.shape, dtype), (k.shape, dtype), (v.shape, dtype)],
    )
    return out, softmax, lse, seed, grads


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_flash_attn(call: Call, size: tuple[int, ...], causal: bool, dtype: str) -> None:
    x = operands(size, dtype)
    rows, columns = size[1:3]
    added = below(rows, columns, columns - rows + 1) if causal else np.zeros((1, 1))
    out, softmax, lse, _, grads = flash(call, x, dtype, causal)
    for b, wanted in enumerate(oracle(x, added)):
        assert_close(out[b], wanted.out, dtype)
        np.testing.assert_allclose(lse[b, :, :rows], wanted.lse, rtol=2e-6, atol=2e-6)
        assert not lse[b, :, rows:].any()
        assert_close(softmax[b, :, :rows, :columns], wanted.probabilities, dtype)
        assert not softmax[b, :, rows:].any()
        for got, gradient in zip(grads, wanted.gradients, strict=False):
            assert_close(got[b], gradient, dtype, 2)
    if causal and rows > columns:
        assert not out[:, : rows - columns].any(), "the first rows see no column"
        assert not grads[0][:, : rows - columns].any()


@pytest.mark.parametrize("shape", [(2, 4, 9, 40), (1, 4, 9, 40), (2, 1, 9, 40), (1, 1, 1, 40), (2, 1, 1, 40)])
def test_a_mask_is_added_and_repeats(call: Call, shape: tuple[int, ...]) -> None:
    x = operands((2, 9, 40, 4, 2, 8, 8), "float32")
    rng = np.random.default_rng(1)
    mask = np.where(rng.random(shape) < 0.3, -np.inf, rng.normal(size=shape)).astype(np.float32)
    mask[..., 0] = 0
    mask[0, 0, 0] = -np.inf  # nothing to attend to
    out, _, lse, _, grads = flash(call, x, "float32", False, mask)
    for b, wanted in enumerate(oracle(x, mask)):
        assert_close(out[b], wanted.out, "float32")
        np.testing.assert_allclose(lse[b, :, :9], wanted.lse, rtol=2e-6, atol=2e-6)
        for got, gradient in zip(grads, wanted.gradients, strict=False):
            assert_close(got[b], gradient, "float32", 2)
    assert not out[0, 0, 0].any()
    assert np.isposinf(lse[0, 0, 0])


def test_large_scores_do_not_overflow(call: Call) -> None:
    q, k, v, flow = operands((1, 40, 600, 2, 2, 8, 8), "float32")
    x = (q * 100, k * 100, v, flow)
    out, _, _, _, grads = flash(call, x, "float32", False)
    (wanted,) = oracle(x, np.zeros((1, 1)))
    assert_close(out[0], wanted.out, "float32", 1e3)  # scores of 1e5 are themselves rounded to 1e-2
    assert all(np.isfinite(g).all() for g in grads)


def test_a_nan_stays_in_its_row(call: Call) -> None:
    q, k, v, flow = operands((1, 40, 40, 2, 2, 8, 8), "float32")
    q[0, 5, 1, 3] = np.nan
    out = flash(call, (q, k, v, flow), "float32", False)[0]
    assert np.isnan(out[0, 5, 1]).all()
    out[0, 5, 1] = 0
    assert np.isfinite(out).all()


@pytest.mark.parametrize("size", [(0, 4, 4, 2, 2, 8, 8), (2, 0, 4, 2, 2, 8, 8), (2, 3, 0, 2, 2, 8, 8)])
def test_nothing_to_do(call: Call, size: tuple[int, ...]) -> None:
    x = operands(size, "float32")
    out, _, _, _, grads = flash(call, x, "float32", False)
    assert out.shape == x[3].shape
    assert not out.any()
    assert [g.shape for g in grads] == [y.shape for y in x[:3]]
    assert not any(g.any() for g in grads)


@pytest.mark.parametrize("columns", [40, 700])
def test_dropout_keeps_the_same_in_both_directions(call: Call, columns: int) -> None:
    x = operands((2, 70, columns, 2, 2, 8, 8), "float32")
    seed = np.array([5, 9])
    p = 0.3
    out, softmax, _, used, grads = flash(call, x, "float32", True, p=p, fixed=seed)
    np.testing.assert_array_equal(used, seed)
    kept = ~np.signbit(softmax[:, :, :70, :columns])
    added = below(70, columns, columns - 70 + 1)
    for b, wanted in enumerate(oracle(x, added, kept=kept, p=p)):
        assert_close(out[b], wanted.out, "float32")
        for got, gradient in zip(grads, wanted.gradients, strict=False):
            assert_close(got[b], gradient, "float32", 2)
    allowed = np.broadcast_to(np.isfinite(added), kept.shape)
    count = allowed.sum()
    assert abs(kept[allowed].mean() - (1 - p)) < 6 * np.sqrt(p * (1 - p) / count)  # one false alarm in 10^9
    again = flash(call, x, "float32", True, p=p, fixed=seed)[0]
    np.testing.assert_array_equal(out, again)
    other = flash(call, x, "float32", True, p=p, fixed=np.array([5, 10]))[0]
    assert (out != other).mean() > 0.5
    plain = flash(call, x, "float32", True, p=p, is_test=True)[0]
    np.testing.assert_array_equal(plain, flash(call, x, "float32", True)[0])


def test_the_generator_s_draw_is_handed_on(call: Call) -> None:
    x = operands((1, 8, 8, 1, 1, 4, 4), "float32")
    drawn = [flash(call, x, "float32", False, p=0.5, run=run) for run in (1, 2)]
    assert [tuple(seed) for _, _, _, seed, _ in drawn] == [(1, 1), (2, 1)]
    assert (drawn[0][0] != drawn[1][0]).any()
    np.testing.assert_array_equal(drawn[0][0], flash(call, x, "float32", False, p=0.5, fixed=np.array([1, 1]))[0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("causal", [False, True])
def test_sequences_one_after_another(call: Call, causal: bool, dtype: str) -> None:
    lengths_q, lengths_k = [5, 0, 40, 3], [7, 4, 40, 0]
    q_bounds, k_bounds = (np.cumsum([0, *n]).astype(np.int32) for n in (lengths_q, lengths_k))
    rows, columns = int(q_bounds[-1]), int(k_bounds[-1])
    (q,), (k,), (v,), (flow,) = operands((1, rows, columns, 4, 2, 8, 8), dtype)
    scale = 0.3
    lse_shape = (4, 4, 128)
    attributes = [np.int64(40), np.int64(40), scale, 0.0, causal]
    out, _, lse, seed = call(
        "flash_attn_unpadded",
        dtype,
        [q, k, v, q_bounds, k_bounds, None, None],
        [40, 40, *attributes[2:], False, False, ""],
        [(flow.shape, dtype), None, (lse_shape, "float32"), ((2,), "int64")],
    )
    grads = call(
        "flash_attn_unpadded_grad",
        dtype,
        [q, k, v, q_bounds, k_bounds, out, lse, seed, None, flow],
        [40, 40, *attributes[2:]],
        [(y.shape, dtype) for y in (q, k, v)],
    )
    for b in range(4):
        of_q, of_k = slice(q_bounds[b], q_bounds[b + 1]), slice(k_bounds[b], k_bounds[b + 1])
        n, m = lengths_q[b], lengths_k[b]
        added = below(n, m, m - n + 1) if causal else np.zeros((n, m))
        wanted = attention(q[of_q], k[of_k], v[of_k], flow[of_q], scale, np.broadcast_to(added, (4, n, m)))
        assert_close(out[of_q], wanted.out, dtype)
        np.testing.assert_allclose(lse[b, :, :n], wanted.lse, rtol=2e-6, atol=2e-6)
        for got, place, gradient in zip(grads, (of_q, of_k, of_k), wanted.gradients, strict=False):
            assert_close(got[place], gradient, dtype, 2)


def forbidden(bounds: Array, rows: int, causal: bool) -> Array:
    """[rows, columns] of one head, as the documentation of paddle.nn.functional.flashmask_attention says."""
    i = np.arange(rows)[:, None]
    b = bounds.T[:, None, :]
    if len(b) == 1:
        return np.asarray(i >= b[0])
    if len(b) == 2:
        return np.asarray((i >= b[0]) & (i < b[1]) if causal else (i >= b[0]) | (i < b[1]))
    return np.asarray(((i >= b[0]) & (i < b[1])) | ((i >= b[2]) & (i < b[3])))


@pytest.mark.parametrize(("causal", "width"), [(True, 1), (True, 2), (False, 2), (False, 4)])
@pytest.mark.parametrize("bound_heads", [1, 2, 4])
def test_flashmask(call: Call, causal: bool, width: int, bound_heads: int) -> None:
    n = 40
    x = operands((2, n, n, 4, 2, 8, 8), "float32")
    rng = np.random.default_rng(3)
    bounds = np.sort(rng.integers(0, n + 1, (2, bound_heads, n, width)), axis=-1).astype(np.int32)
    if width == 2 and not causal:
        bounds = bounds[..., ::-1].copy()  # from the first on, and below the second
    if width == 4:
        bounds = bounds[..., [2, 3, 0, 1]]
    q, k, v, flow = x
    specification = [(flow.shape, "float32"), None, ((2, 4, 128), "float32"), ((2,), "int64")]
    inputs = [q, k, v, bounds]
    out, _, lse, seed = call(
        "flashmask_attention", "float32", [*inputs, None], [0.0, causal, False, False, ""], specification
    )
    grads = call(
        "flashmask_attention_grad",
        "float32",
        [*inputs, out, lse, seed, flow],
        [0.0, causal],
        [(y.shape, "float32") for y in (q, k, v)],
    )
    head = np.arange(4) // (4 // bound_heads)
    mask = np.stack([[forbidden(bounds[b, h], n, causal) for h in head] for b in range(2)])
    added = np.where(mask, -np.inf, 0) + (below(n, n, 1) if causal else 0)
    for b, wanted in enumerate(oracle(x, added)):
        assert_close(out[b], wanted.out, "float32")
        for got, gradient in zip(grads, wanted.gradients, strict=False):
            assert_close(got[b], gradient, "float32", 2)


@pytest.mark.parametrize("bias_shape", [None, (2, 4, 20, 40), (1, 1, 20, 40), (2, 4, 1, 40)])
@pytest.mark.parametrize("causal", [False, True])
def test_memory_efficient_attention(call: Call, causal: bool, bias_shape: tuple[int, ...] | None) -> None:
    x = operands((2, 20, 40, 4, 2, 8, 8), "float32")
    q, k, v, flow = x
    bias = None if bias_shape is None else np.random.default_rng(1).normal(size=bias_shape).astype(np.float32)
    numbers = [0, 0, causal, 0.0, -1.0]
    out, lse, seed = call(
        "memory_efficient_attention",
        "float32",
        [q, k, v, bias, None, None, None, None],
        [*numbers, False],
        [(flow.shape, "float32"), ((2, 4, 32), "float32"), ((2,), "int64")],
    )
    grads = call(
        "memory_efficient_attention_grad",
        "float32",
        [q, k, v, bias, None, None, out, lse, seed, flow],
        numbers,
        [*((y.shape, "float32") for y in (q, k, v)), None if bias is None else (bias.shape, "float32")],
    )
    added = (below(20, 40, 1) if causal else 0) + (np.zeros((1, 1)) if bias is None else bias)
    results = oracle(x, added)
    for b, wanted in enumerate(results):
        assert_close(out[b], wanted.out, "float32")
        for got, gradient in zip(grads[:3], wanted.gradients[:3], strict=True):
            assert_close(got[b], gradient, "float32", 2)
    if bias is not None:
        whole = np.stack([wanted.gradients[3] for wanted in results])
        axes = tuple(i for i in range(4) if bias.shape[i] == 1 and whole.shape[i] != 1)
        assert_close(grads[3], whole.sum(axis=axes, keepdims=True), "float32", 2)


def test_what_does_not_fit_is_refused(call: Call) -> None:
    q, k, v, _ = operands((1, 4, 4, 4, 3, 8, 8), "float32")
    specification = [(q.shape, "float32"), None, None, None]
    with pytest.raises(Exception, match="heads of q must be a multiple"):
        call("flash_attn", "float32", [q, k, v, None, None], [0.0, False, False, True, ""], specification)
    mask = np.zeros((1, 1, 4, 5), np.float32)
    with pytest.raises(Exception, match="does not fit scores"):
        call("flash_attn", "float32", [q, q, q, None, mask], [0.0, False, False, True, ""], specification)
    with pytest.raises(Exception, match="outside"):
        call("flash_attn", "float32", [q, q, q, None, None], [1.5, False, False, False, ""], specification)


LONG = """
import sys
import numpy as np
from adapter_sdk import _kernels

def peak():  # in KiB; not ru_maxrss, which starts at what the parent process held
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

n = int(sys.argv[1])
q = np.ones((1, n, 1, 8), np.float32)
before = peak()
_kernels.call("flash_attn", "float32", [q, q, q, None, None], [0.0, True, False, True, ""],
              [(q.shape, "float32"), None, None, None])
print((peak() - before) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_square_of_the_length(tmp_path: Path) -> None:
    n = 16384  # the scores alone would take 1 GiB
    command = [sys.executable, "-c", LONG, str(n)]
    # elsewhere than in the checkout, whose adapter_sdk has no compiled part
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64
