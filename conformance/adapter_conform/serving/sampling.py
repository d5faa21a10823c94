"""The next token of each sequence, chosen on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence as Many
from typing import Any

import numpy as np

from adapter_conform.serving.requests import Output, Sequence

__all__ = ["choose", "seed_of"]


def seed_of(request_seed: int, position: int) -> int:
    """The seed of one token: a function of the request's seed and the token's position alone, so that an answer does
    not depend on who else is served. At least 0, below 2^31."""
    digest = hashlib.blake2b(f"{request_seed}/{position}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def choose(paddle: Any, logits: Any, due: Many[Sequence]) -> list[Output]:
    """One token for each of ``due``, row by row of ``logits`` (float32 [len(due), vocabulary])."""
    tokens = np.array(paddle.argmax(logits, axis=-1).numpy())
    drawn = [row for row, sequence in enumerate(due) if not sequence.request.greedy]
    if drawn:
        rows = logits if len(drawn) == len(due) else _rows(paddle, logits, drawn)
        tokens[drawn] = draw(paddle, rows, [due[row] for row in drawn])
    outputs = {row: Output(due[row].request.id, int(token)) for row, token in enumerate(tokens)}
    wanting = [row for row, sequence in enumerate(due) if sequence.request.logprobs]
    if wanting:
        rows = logits if len(wanting) == len(due) else _rows(paddle, logits, wanting)
        for row, output in zip(wanting, _with_logprobs(paddle, rows, [outputs[r] for r in wanting], due), strict=True):
            outputs[row] = output
    return list(outputs.values())


def draw(paddle: Any, logits: Any, sequences: Many[Sequence]) -> Any:
    """Tokens by nucleus sampling (Holtzman et al., The Curious Case of Neural Text Degeneration, 2020)."""
    requests = [sequence.request for sequence in sequences]
    heat = np.array([[request.temperature] for request in requests], dtype=np.float32)
    seeds = [[seed_of(sequence.request.seed, len(sequence.tokens))] for sequence in sequences]
    probabilities = paddle.nn.functional.softmax(logits / paddle.to_tensor(heat), axis=-1)
    _, tokens = paddle.tensor.top_p_sampling(
        probabilities,
        paddle.to_tensor(np.array([request.top_p for request in requests], dtype=np.float32)),
        topp_seed=paddle.to_tensor(np.array(seeds, dtype=np.int64)),
    )
    return np.asarray(tokens.numpy()).reshape(-1)


def _with_logprobs(paddle: Any, logits: Any, outputs: Many[Output], due: Many[Sequence]) -> list[Output]:
    by_id = {sequence.request.id: sequence.request for sequence in due}
    logprobs = paddle.nn.functional.log_softmax(logits, axis=-1)
    most = max(by_id[output.id].logprobs for output in outputs)
    values, places = (np.asarray(t.numpy()) for t in paddle.topk(logprobs, most, axis=-1))
    own = np.array([[output.token] for output in outputs], dtype=np.int64)
    chosen = np.asarray(paddle.take_along_axis(logprobs, paddle.to_tensor(own), axis=-1).numpy()).reshape(-1)
    found = []
    for row, output in enumerate(outputs):
        count = by_id[output.id].logprobs
        pairs = zip(places[row, :count].tolist(), values[row, :count].tolist(), strict=True)
        found.append(Output(output.id, output.token, logprob=float(chosen[row]), top=tuple(pairs)))
    return found


def _rows(paddle: Any, logits: Any, rows: Many[int]) -> Any:
    return paddle.gather(logits, paddle.to_tensor(np.array(rows, dtype=np.int32)))
