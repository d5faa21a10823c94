"""What block_multihead_attention wants to be told about the sequences of a call. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapter_conform.serving.requests import Sequence

__all__ = ["Packed", "pack", "rotary_table"]

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Packed:
    """The tokens of a step, one sequence after the other."""

    tokens: NDArray[np.int64]
    ends: Integers
    """Row of the last token of each sequence that is due."""
    encoder: Integers
    """[sequences, 1]: tokens of a sequence that begins, else 0."""
    decoder: Integers
    """[sequences, 1]: tokens in the cache of one that goes on, else 0."""
    this_time: Integers
    """[sequences, 1]: tokens of this step."""
    starts: Integers
    """[sequences + 1]: where the rows of each begin."""
    padding_offsets: Integers
    cum_offsets: Integers
    tables: Integers
    """[sequences, blocks of the longest sequence]"""


def pack(sequences: Many[Sequence], longest: int, block_tokens: int) -> Packed:
    """The next step of ``sequences``, of at most ``longest`` tokens each."""
    rows = np.array([len(sequence.fresh) for sequence in sequences], dtype=np.int32)
    past = np.array([sequence.computed for sequence in sequences], dtype=np.int32)
    ends = np.cumsum(rows, dtype=np.int32)
    before = ends - rows
    offsets = (np.arange(len(rows), dtype=np.int32) * longest - before).astype(np.int32)
    tables = np.zeros((len(rows), -(-longest // block_tokens)), dtype=np.int32)
    for row, sequence in enumerate(sequences):
        tables[row, : len(sequence.blocks)] = sequence.blocks
    due = np.array([sequence.due for sequence in sequences], dtype=bool)
    return Packed(
        tokens=np.concatenate([np.asarray(sequence.fresh, dtype=np.int64) for sequence in sequences]),
        ends=(ends - 1)[due],
        encoder=np.where(past == 0, rows, 0).astype(np.int32)[:, None],
        decoder=past[:, None],
        this_time=rows[:, None],
        starts=np.concatenate([[0], ends]).astype(np.int32),
        padding_offsets=np.repeat(offsets, rows).astype(np.int32),
        cum_offsets=offsets,
        tables=tables,
    )


def rotary_table(positions: int, head_size: int, theta: float) -> NDArray[np.float32]:
    """cos and sin of position / theta^(2i / head_size), for pairs of halves: [2, 1, positions, 1, head_size]
    (Su et al., RoFormer, 2021)."""
    frequencies = theta ** (-np.arange(0, head_size, 2) / head_size)
    angles = np.arange(positions)[:, None] * frequencies
    whole = np.concatenate([angles, angles], axis=-1)
    table: NDArray[np.float32] = np.stack([np.cos(whole), np.sin(whole)])[:, None, :, None].astype(np.float32)
    return table
