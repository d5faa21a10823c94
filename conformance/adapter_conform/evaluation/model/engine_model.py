"""The serving engine as a model that is evaluated: LLaMA and Qwen2 in float32, bfloat16 or float16, or quantized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from adapter_conform.evaluation.model.language import Text, Writing
from adapter_conform.serving.engine import Engine
from adapter_conform.serving.packing import pack
from adapter_conform.serving.requests import Request
from adapter_conform.serving.requests import Sequence as Served

__all__ = ["EngineModel", "log_likelihood"]

Inputs = tuple[int, ...]


class EngineModel:
    """``most_tokens``: of a step, so that activations fit into the device's memory; a longer text has its own step."""

    def __init__(self, engine: Engine, most_tokens: int = 4096) -> None:
        self._engine, self._most_tokens = engine, most_tokens
        self.positions = engine.shape.positions

    def likelihoods(self, texts: Sequence[Text]) -> list[float]:
        """Texts that differ in nothing but their last token share a row of logits."""
        firsts: dict[Inputs, int] = {}
        for text in texts:
            inputs = text.tokens[:-1]
            firsts[inputs] = min(text.first, firsts.get(inputs, text.first))
        logits: dict[Inputs, NDArray[np.float32]] = {}
        for group in self._groups(list(firsts)):
            logits.update(zip(group, self._rows(group, [firsts[inputs] - 1 for inputs in group]), strict=True))
        return [
            log_likelihood(logits[text.tokens[:-1]][text.first - firsts[text.tokens[:-1]] :], text.tokens[text.first :])
            for text in texts
        ]

    def write(self, wanted: Sequence[Writing]) -> list[list[int]]:
        written: list[list[int]] = [[] for _ in wanted]
        for place, writing in enumerate(wanted):
            self._engine.submit(Request(str(place), writing.prompt, writing.limit))
        while not self._engine.idle:
            for output in self._engine.step():
                place = int(output.id)
                if output.token is not None:
                    written[place].append(output.token)
                if output.finish is None and wanted[place].ended(written[place]):
                    self._engine.cancel(output.id)
        return written

    def _groups(self, inputs: Sequence[Inputs]) -> Iterator[list[Inputs]]:
        """As many at a time as fit into a step and into the cache."""
        pool, group, tokens, blocks = self._engine.pool, list[Inputs](), 0, 0
        for one in inputs:
            more = pool.blocks_for(len(one))
            if group and (tokens + len(one) > self._most_tokens or blocks + more > pool.count):
                yield group
                group, tokens, blocks = [], 0, 0
            group.append(one)
            tokens, blocks = tokens + len(one), blocks + more
        if group:
            yield group

    def _rows(self, group: Sequence[Inputs], firsts: Sequence[int]) -> list[NDArray[np.float32]]:
        """Logits of each text from the row ``firsts`` on: [rows, vocabulary]."""
        pool, decoder = self._engine.pool, self._engine.decoder
        counts = [pool.blocks_for(len(inputs)) for inputs in group]
        blocks = pool.take(sum(counts))
        try:
            ends = np.cumsum(counts)
            served = [
                Served(Request("", inputs, 1), list(inputs), blocks[end - count : end])
                for inputs, count, end in zip(group, counts, ends, strict=True)
            ]
            packed = pack(served, self.positions, decoder.block_tokens)
            starts = packed.starts[:-1]
            wanted = [
                np.arange(start + first, start + len(inputs), dtype=np.int32)
                for start, first, inputs in zip(starts, firsts, group, strict=True)
            ]
            found = np.asarray(decoder.logits(replace(packed, ends=np.concatenate(wanted))).numpy())
        finally:
            pool.release(blocks)
        return np.split(found, np.cumsum([len(rows) for rows in wanted])[:-1])


def log_likelihood(logits: NDArray[np.float32], tokens: Sequence[int]) -> float:
    """Of ``tokens``, whose logits are the rows of ``logits`` [tokens, vocabulary]; in float64."""
    table = logits.astype(np.float64)
    table -= table.max(-1, keepdims=True)
    chosen = table[np.arange(len(tokens)), np.asarray(tokens)]
    return float((chosen - np.log(np.exp(table).sum(-1))).sum())
