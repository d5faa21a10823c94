"""How near one model's logits are to another's, position by position. NumPy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Agreement", "agreement", "perplexity"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Agreement:
    """Of ``positions`` positions. Means over them, and the worst of them."""

    positions: int
    cosine_mean: float
    cosine_least: float
    top1: float
    """Share of positions whose likeliest token is the same."""
    top5: float
    """Mean share of the five likeliest tokens that are the same."""
    divergence_mean: float
    """Kullback-Leibler divergence of the found distribution from the wanted one, nats."""
    divergence_most: float
    relative_rms: float
    """Root of the mean squared difference over that of the wanted logits."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def agreement(found: Array, wanted: Array) -> Agreement:
    """Of logits [positions, vocabulary].

    Raises:
        ValueError: the shapes differ, there is no position, or a number is not finite.
    """
    if found.shape != wanted.shape or found.ndim != 2 or not len(found):
        raise ValueError(f"logits {found.shape} and {wanted.shape} are no two tables of the same positions")
    x, y = found.astype(np.float64), wanted.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("logits hold numbers that are not finite")
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    cosine = np.divide((x * y).sum(-1), lengths, out=np.zeros(len(x)), where=lengths > 0)
    most = min(5, x.shape[1])
    best = [np.argpartition(-table, most - 1, axis=-1)[:, :most] for table in (x, y)]
    shared = [len(np.intersect1d(one, other)) / most for one, other in zip(*best, strict=True)]
    p, q = _log_softmax(y), _log_softmax(x)
    divergence = (np.exp(p) * (p - q)).sum(-1).clip(min=0.0)
    return Agreement(
        positions=len(x),
        cosine_mean=float(cosine.mean()),
        cosine_least=float(cosine.min()),
        top1=float((x.argmax(-1) == y.argmax(-1)).mean()),
        top5=float(np.mean(shared)),
        divergence_mean=float(divergence.mean()),
        divergence_most=float(divergence.max()),
        relative_rms=float(np.sqrt(((x - y) ** 2).mean() / max((y**2).mean(), np.finfo(np.float64).tiny))),
    )


def perplexity(logits: Array, tokens: Array) -> float:
    """exp of the mean surprise at ``tokens`` [positions], which follow where ``logits`` [positions, vocabulary] were
    given."""
    surprise = -_log_softmax(logits.astype(np.float64))[np.arange(len(tokens)), tokens]
    return float(np.exp(surprise.mean()))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
