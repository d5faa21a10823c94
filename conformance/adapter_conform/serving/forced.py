"""Teacher-forced logits: what the model says at each position of a given text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.weights import Weights
from adapter_conform.quantization.linears import Linear
from adapter_conform.serving.blocks import BlockPool
from adapter_conform.serving.decoder import Decoder, MakeLinear, dense
from adapter_conform.serving.packing import pack
from adapter_conform.serving.requests import Request
from adapter_conform.serving.requests import Sequence as Served
from adapter_conform.serving.shape import DecoderShape

if TYPE_CHECKING:
    from adapter_conform.serving.engine import Engine

__all__ = ["forced_logits", "record_inputs"]


def forced_logits(engine: Engine, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Logits [tokens, vocabulary] of each text, all texts in one step. The engine has to be idle.

    Raises:
        OutOfBlocks: the cache does not hold them together.
    """
    return _forced(engine.decoder, engine.pool, texts)


def _forced(decoder: Decoder, pool: BlockPool, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    blocks = pool.take(sum(pool.blocks_for(len(text)) for text in texts))
    try:
        sequences, at = [], 0
        for text in texts:
            count = pool.blocks_for(len(text))
            sequences.append(Served(Request("", tuple(text), 1), list(text), blocks[at : at + count]))
            at += count
        packed = pack(sequences, decoder.shape.positions, decoder.block_tokens)
        logits = np.asarray(decoder.logits(packed, every=True).numpy())
    finally:
        pool.release(blocks)
    return np.split(logits, packed.starts[1:-1])


class _Recorded:
    """A linear layer that keeps what went in."""

    def __init__(self, linear: Linear, rows: list[NDArray[np.float32]]) -> None:
        self._linear, self._rows = linear, rows
        self.kernel, self.weight_bytes = linear.kernel, linear.weight_bytes

    def __call__(self, x: Any) -> Any:
        self._rows.append(np.asarray(x.astype("float32").numpy()))
        return self._linear(x)


def record_inputs(
    paddle: Any, shape: DecoderShape, weights: Weights, texts: Iterable[Sequence[int]]
) -> dict[str, NDArray[np.float32]]:
    """What goes into each linear layer of the float32 model on ``texts``: name -> [tokens, in]."""
    kept: dict[str, list[NDArray[np.float32]]] = {}
    whole = dense(paddle, "float32")

    def make(name: str, weight: Any, bias: Any) -> Linear:
        return _Recorded(whole(name, weight, bias), kept.setdefault(name, []))

    block_tokens = 16
    blocks = -(-shape.positions // block_tokens)
    recording: MakeLinear = make
    decoder = Decoder(paddle, shape, weights, "float32", blocks, block_tokens, recording)
    pool = BlockPool(blocks, block_tokens, share=False)
    for text in texts:
        _forced(decoder, pool, [text])
    return {name: np.concatenate(rows) for name, rows in kept.items()}
