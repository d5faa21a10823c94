"""Figures of agreement between logits, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from adapter_conform.serving.agreement import agreement, perplexity


def test_the_same_logits_agree() -> None:
    logits = np.random.RandomState(0).standard_normal((7, 20))
    found = agreement(logits + 3.0, logits)  # a constant changes no distribution
    assert (found.top1, found.top5, found.positions) == (1.0, 1.0, 7)
    assert found.divergence_most == pytest.approx(0.0, abs=1e-12)
    assert agreement(logits, logits).relative_rms == 0.0
    assert agreement(2 * logits, logits).cosine_least == pytest.approx(1.0)


def test_by_hand() -> None:
    wanted = np.log([[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]])
    found = np.log([[0.25, 0.5, 0.25], [0.2, 0.7, 0.1]])
    result = agreement(found, wanted)
    first = 0.5 * math.log(2) - 0.25 * math.log(2)
    assert result.top1 == 0.5
    assert result.top5 == 1.0  # of three tokens
    assert result.divergence_most == pytest.approx(first)
    assert result.divergence_mean == pytest.approx(first / 2)


def test_noise_is_seen_by_every_figure() -> None:
    random = np.random.RandomState(1)
    wanted = random.standard_normal((50, 100))
    found = agreement(wanted + 0.3 * random.standard_normal(wanted.shape), wanted)
    assert 0.9 < found.cosine_least < found.cosine_mean < 0.99
    assert 0.5 < found.top1 < 1
    assert 0.5 < found.top5 < 1
    assert 0 < found.divergence_mean < found.divergence_most
    assert found.relative_rms == pytest.approx(0.3, rel=0.05)


def test_perplexity() -> None:
    assert perplexity(np.zeros((4, 8)), np.array([0, 3, 7, 1])) == pytest.approx(8.0)
    assert perplexity(np.log([[0.5, 0.5], [0.125, 0.875]]), np.array([0, 0])) == pytest.approx(4.0)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no two tables"):
        agreement(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="no two tables"):
        agreement(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="not finite"):
        agreement(np.full((1, 3), np.nan), np.zeros((1, 3)))
