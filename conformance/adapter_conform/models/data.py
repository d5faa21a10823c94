"""A token corpus that a small model can learn, drawn from a seed. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST_TOKEN", "markov_batches"]

FIRST_TOKEN = 3
"""Smaller ids are padding, beginning and end in most model families; they never occur here, and a row of the embedding
that gets no gradient cannot tell two devices apart."""

_CONCENTRATION = 0.05
"""Dirichlet parameter of the transitions: a token has only few likely successors, which is what there is to learn."""


def markov_batches(
    vocabulary: int, steps: int, rows: int, length: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Batches for ``steps`` training steps, walks on one random Markov chain.

    Returns:
        Inputs and labels, both int64 [steps, rows, length] with ids in ``FIRST_TOKEN .. vocabulary - 1``. The label at
        a position is the input at the next one.
    """
    states = vocabulary - FIRST_TOKEN
    if states < 2:
        raise ValueError(f"a vocabulary of {vocabulary} leaves fewer than two tokens from id {FIRST_TOKEN} on")
    draw = np.random.RandomState(seed)  # its streams are frozen, those of numpy.random.Generator are not
    cumulative = draw.dirichlet(np.full(states, _CONCENTRATION), size=states).cumsum(axis=1)
    walk = np.empty((steps, rows, length + 1), dtype=np.int64)
    walk[:, :, 0] = draw.randint(0, states, (steps, rows))
    for position in range(length):
        below = draw.random_sample((steps, rows, 1)) > cumulative[walk[:, :, position]]
        # Rounding can leave the last cumulative value just below 1.
        walk[:, :, position + 1] = np.minimum(below.sum(axis=-1), states - 1)
    walk += FIRST_TOKEN
    return np.ascontiguousarray(walk[:, :, :-1]), np.ascontiguousarray(walk[:, :, 1:])
