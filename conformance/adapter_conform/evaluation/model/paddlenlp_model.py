"""A PaddleNLP model that is evaluated: LLaMA, Qwen2, Qwen2-MoE in float32, or in bfloat16 by AMP O1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapter_conform.evaluation.model.engine_model import log_likelihood
from adapter_conform.evaluation.model.language import Text, Writing
from adapter_conform.models.paddlenlp_adapter import forward_logits, greedy_tokens
from adapter_conform.models.training import Precision, autocast

__all__ = ["PaddleNLPModel"]

_AT_ONCE = 16
"""Tokens between two looks at whether the text is complete."""


class PaddleNLPModel:
    """One text at a time."""

    def __init__(self, paddle: Any, model: Any, positions: int, precision: Precision | None) -> None:
        model.eval()
        self._paddle, self._model, self._precision = paddle, model, precision
        self.positions = positions

    def likelihoods(self, texts: Sequence[Text]) -> list[float]:
        """Texts that differ in nothing but their last token share a forward pass."""
        logits: dict[tuple[int, ...], Any] = {}
        found = []
        for text in texts:
            inputs = text.tokens[:-1]
            if inputs not in logits:
                logits = {inputs: self._logits(inputs)}
            found.append(log_likelihood(logits[inputs][text.first - 1 :], text.tokens[text.first :]))
        return found

    def write(self, wanted: Sequence[Writing]) -> list[list[int]]:
        return [self._write(writing) for writing in wanted]

    def _write(self, writing: Writing) -> list[int]:
        written: list[int] = []
        while len(written) < writing.limit:
            ids = self._ids((*writing.prompt, *written))
            with autocast(self._paddle, self._precision):
                more = greedy_tokens(self._paddle, self._model, ids, min(_AT_ONCE, writing.limit - len(written)))
            for token in more.numpy()[0].tolist():
                written.append(token)
                if writing.ended(written):
                    return written
        return written

    def _logits(self, inputs: Sequence[int]) -> Any:
        """float32 [tokens, vocabulary]"""
        ids = self._ids(inputs)
        with self._paddle.no_grad(), autocast(self._paddle, self._precision):
            outputs = self._model(input_ids=ids, attention_mask=self._paddle.ones_like(ids))
        return forward_logits(outputs)[0].astype("float32").numpy()

    def _ids(self, tokens: Sequence[int]) -> Any:
        return self._paddle.to_tensor(np.asarray([tokens], dtype=np.int64))
