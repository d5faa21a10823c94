"""Attention by its definition in float64, with a limit on what arithmetic in float32 may add to it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from kernel_checks import Array

__all__ = ["DTYPES", "ROUNDING", "SINGLE", "assert_within", "attention", "cast", "drawn", "rotated", "wide"]

DTYPES = ("float32", "float16", "bfloat16")
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SINGLE = 2.0**-24
SMALLEST = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}


def cast(array: Array, dtype: str) -> Array:
    return array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype))


def drawn(shape: tuple[int, ...], dtype: str, seed: int, size: float = 1.0) -> Array:
    return cast(np.random.default_rng(seed).standard_normal(shape) * size, dtype)


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def attention(
    queries: Array,
    keys: Array,
    values: Array,
    visible: Array | None = None,
    bias: Array | None = None,
    query_doubt: float = 0.0,
) -> tuple[Array, Array]:
    """The result for queries [heads, m, size], keys and values [kv_heads, n, ...], and the limit of its error.

    ``visible`` [m, n] says which keys a row sees, ``bias`` (broadcast to [heads, m, n]) is added to the scores. Rows
    that see nothing, or only scores of -inf, give 0. The queries' numbers may be off by ``query_doubt`` each. A score
    is off by gamma(size) sum|q k| u and a few roundings of its own size; a weight by twice that, relatively.
    """
    group = queries.shape[0] // keys.shape[0]
    q, k, v = wide(queries), np.repeat(wide(keys), group, 0), np.repeat(wide(values), group, 0)
    size, n = q.shape[-1], k.shape[1]
    scale = 1 / np.sqrt(size)
    scores = np.einsum("hmd,hnd->hmn", q, k) * scale
    doubt = (size + 16) * SINGLE * np.einsum("hmd,hnd->hmn", np.abs(q), np.abs(k)) * scale
    doubt = doubt + query_doubt * np.abs(k).sum(-1)[:, None] * scale
    if bias is not None:
        scores = scores + wide(np.asarray(bias))
        doubt = doubt + SINGLE * np.where(np.isinf(scores), 0, np.abs(scores))
    if visible is not None:
        scores = np.where(visible, scores, -np.inf)
    with np.errstate(invalid="ignore"):
        peak = np.max(scores, -1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isneginf(peak), 0, peak))
        total = weights.sum(-1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
    doubt = np.max(np.where(np.isneginf(scores), 0, doubt), -1, keepdims=True, initial=0)
    limit = (2 * doubt + (n + 32) * SINGLE) * np.einsum("hmn,hnd->hmd", weights, np.abs(v))
    return np.einsum("hmn,hnd->hmd", weights, v), limit


def assert_within(got: Array, exact: Array, limit: Array | float, dtype: str) -> None:
    """``got`` is ``exact``, off by ``limit`` at most, after one rounding to ``dtype``."""
    assert got.shape == exact.shape
    u = ROUNDING[dtype] if dtype != "float32" else SINGLE
    slack = np.abs(exact) * u + (1 + u) * np.asarray(limit) + SMALLEST[dtype]
    error = np.abs(wide(got) - exact)
    assert np.all(error <= slack), f"{np.max(error / slack)} of the limit"  # a NaN is not


def rotated(x: Array, cosines: Array, sines: Array, neox: bool) -> Array:
    """``x`` [..., size] with its pairs turned; one angle a pair in ``cosines`` and ``sines`` [..., size / 2]."""
    x = wide(x)
    half = x.shape[-1] // 2
    left, right = (x[..., :half], x[..., half:]) if neox else (x[..., 0::2], x[..., 1::2])
    first: Array = left * cosines - right * sines
    second: Array = right * cosines + left * sines
    return np.concatenate([first, second], -1) if neox else np.stack([first, second], -1).reshape(x.shape)
