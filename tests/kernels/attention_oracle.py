"""Attention and its gradients in float64, by the whole matrix of probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from kernel_checks import Array

__all__ = ["Result", "attention"]


@dataclass(frozen=True)
class Result:
    """``probabilities`` are those kept, ``gradients`` of q, k, v and of what was added to the scores."""

    out: Array
    lse: Array
    probabilities: Array
    gradients: tuple[Array, Array, Array, Array]


def attention(
    q: Array, k: Array, v: Array, flow: Array, scale: float, added: Array, kept: Array | None = None, p: float = 0.0
) -> Result:
    """q [rows, heads, dim]; k, v [columns, kv_heads, dim]; ``added`` [heads, rows, columns] holds -inf where forbidden;
    ``kept`` (the same shape) tells which probabilities dropout with probability ``p`` keeps."""
    q, k, v, flow = (x.astype(np.float64) for x in (q, k, v, flow))
    group = q.shape[1] // k.shape[1]
    wide_k, wide_v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = np.einsum("ihd,jhd->hij", q, wide_k) * scale + added
    peak = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    peak = np.where(np.isneginf(peak), 0, peak)
    power = np.exp(scores - peak)
    total = power.sum(axis=-1, keepdims=True)
    whole = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
    with np.errstate(divide="ignore"):
        lse = np.where(total[..., 0] > 0, peak[..., 0] + np.log(total[..., 0]), np.inf)
    share = np.ones_like(whole) if kept is None else kept / (1 - p)
    used = whole * share
    out = np.einsum("hij,jhd->ihd", used, wide_v)
    slope = np.einsum("ihd,jhd->hij", flow, wide_v) * share
    slope = whole * (slope - (whole * slope).sum(axis=-1, keepdims=True))
    columns, kv_heads = k.shape[:2]
    to_q = np.einsum("hij,jhd->ihd", slope, wide_k) * scale
    to_k = np.einsum("hij,ihd->jhd", slope, q) * scale
    to_v = np.einsum("hij,ihd->jhd", used, flow)
    to_k, to_v = (x.reshape(columns, kv_heads, group, x.shape[-1]).sum(axis=2) for x in (to_k, to_v))
    return Result(out, lse, used, (to_q, to_k, to_v, slope))
