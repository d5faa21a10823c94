"""What a model says at each position of given texts, kept small: raw data of an inference verdict. NumPy only."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LogitRecord", "log_softmax"]

_TOP = 5
_ARRAYS = {"top_ids": "<i4", "top_logprobs": "<f4", "surprise": "<f4", "full": "<f4"}


@dataclass(frozen=True)
class LogitRecord:
    """Of the judged positions of all texts, in order."""

    top_ids: NDArray[np.int32]
    """[positions, 5]: the likeliest tokens, the likeliest first."""
    top_logprobs: NDArray[np.float32]
    """[positions, 5]: their natural log probabilities."""
    surprise: NDArray[np.float32]
    """[positions]: - log probability of the token that follows, nats."""
    full: NDArray[np.float32]
    """[first positions, vocabulary]: all logits of the first few."""

    @classmethod
    def of(cls, logits: NDArray[Any], following: NDArray[Any], full: int) -> LogitRecord:
        """Of ``logits`` [positions, vocabulary] and the tokens that follow, [positions].

        Raises:
            ValueError: a logit is not finite.
        """
        table = np.asarray(logits, dtype=np.float32)
        if not np.isfinite(table).all():
            count = int((~np.isfinite(table)).any(axis=-1).sum())
            raise ValueError(f"{count} positions have a logit that is not finite")
        logprobs = log_softmax(table.astype(np.float64))
        order = np.argsort(-logprobs, axis=-1, kind="stable")[:, :_TOP]
        best = np.take_along_axis(logprobs, order, axis=-1)
        surprise = -logprobs[np.arange(len(table)), following]
        return cls(order.astype(np.int32), best.astype(np.float32), surprise.astype(np.float32), table[:full].copy())

    def to_json(self) -> dict[str, Any]:
        return {name: _packed(getattr(self, name).astype(kind)) for name, kind in _ARRAYS.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LogitRecord:
        """Raises ValueError for anything else than what :meth:`to_json` wrote, and for numbers that are not finite."""
        try:
            found = cls(**{name: _unpacked(data[name], kind) for name, kind in _ARRAYS.items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no record of logits: {type(error).__name__}: {error}") from error
        count = found.surprise.size
        if (
            found.surprise.ndim != 1
            or found.top_ids.shape != (count, _TOP)
            or found.top_logprobs.shape != (count, _TOP)
            or found.full.ndim != 2
        ):
            raise ValueError("no record of logits: its parts do not fit together")
        if not count or not all(np.isfinite(array).all() for array in (found.top_logprobs, found.surprise, found.full)):
            raise ValueError("no record of logits: it is empty, or a number is not finite")
        return found


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _packed(array: NDArray[Any]) -> dict[str, Any]:
    return {"shape": list(array.shape), "base64": base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()}


def _unpacked(data: Mapping[str, Any], kind: str) -> NDArray[Any]:
    raw = base64.b64decode(data["base64"], validate=True)
    return np.frombuffer(raw, dtype=kind).reshape([int(size) for size in data["shape"]])
