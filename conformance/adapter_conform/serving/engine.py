"""The engine: requests in, tokens out, one step of the whole batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from adapter_conform.models.weights import Weights
from adapter_conform.serving import sampling
from adapter_conform.serving.blocks import BlockPool
from adapter_conform.serving.decoder import Decoder, MakeLinear
from adapter_conform.serving.packing import pack
from adapter_conform.serving.requests import Output, Refused, Request
from adapter_conform.serving.scheduler import Limits, Scheduler
from adapter_conform.serving.shape import DecoderShape

__all__ = ["KERNELS", "Engine", "EngineSettings", "EngineStats"]

KERNELS = ("block_multihead_attention", "embedding", "argmax")
"""What no operator of a device can stand in for."""


@dataclass(frozen=True)
class EngineSettings:
    dtype: str = "float32"
    block_tokens: int = 16
    blocks: int = 0
    """Of the cache; 0: enough for ``limits.most_running`` sequences of the greatest length."""
    share_prefixes: bool = True
    limits: Limits = field(default_factory=Limits)

    def blocks_for(self, shape: DecoderShape) -> int:
        return self.blocks or self.limits.most_running * -(-shape.positions // self.block_tokens)


@dataclass
class EngineStats:
    """Since the engine began."""

    steps: int = 0
    prompt_tokens: int = 0
    shared_tokens: int = 0
    generated_tokens: int = 0


class Engine:
    """One model on one device.

    Raises:
        ValueError: the weights do not fit the shape.
    """

    def __init__(
        self,
        paddle: Any,
        shape: DecoderShape,
        weights: Weights,
        settings: EngineSettings | None = None,
        make: MakeLinear | None = None,
    ) -> None:
        settings = settings or EngineSettings()
        blocks = settings.blocks_for(shape)
        self.shape, self.settings, self.stats = shape, settings, EngineStats()
        self.pool = BlockPool(blocks, settings.block_tokens, settings.share_prefixes)
        self.scheduler = Scheduler(self.pool, shape.positions, settings.limits)
        self.decoder = Decoder(paddle, shape, weights, settings.dtype, blocks, settings.block_tokens, make)
        self._paddle = paddle

    @property
    def idle(self) -> bool:
        return not self.scheduler.waiting and not self.scheduler.running

    def submit(self, request: Request) -> None:
        """Queues ``request``.

        Raises:
            Refused: it can never run, or too many wait already.
        """
        beyond = [token for token in request.prompt if not 0 <= token < self.shape.vocabulary]
        if beyond:
            raise Refused("invalid", f"token {beyond[0]} is not in the vocabulary of {self.shape.vocabulary}")
        self.scheduler.submit(request)

    def cancel(self, id: str) -> bool:
        """Ends a request and frees its blocks; False where there is none."""
        return self.scheduler.cancel(id)

    def step(self) -> list[Output]:
        """Computes one token for every sequence that is due one; the empty list where nothing is to be done.

        Raises:
            Exception: whatever the device raises. Nothing is booked then; :meth:`fail` ends what was at work.
        """
        batch = self.scheduler.compose()
        if not batch:
            return []
        packed = pack(batch, self.shape.positions, self.settings.block_tokens)
        logits = self.decoder.logits(packed)
        chosen = [] if logits is None else sampling.choose(self._paddle, logits, [s for s in batch if s.due])
        for sequence in batch:
            if sequence.computed == sequence.shared:
                self.stats.prompt_tokens += len(sequence.request.prompt)
                self.stats.shared_tokens += sequence.shared
        outputs = self.scheduler.advance(batch, chosen)
        self.stats.steps += 1
        self.stats.generated_tokens += len(outputs)
        return outputs

    def fail(self, message: str) -> list[Output]:
        """Ends every request with an error."""
        return self.scheduler.fail(message)

    def forget(self) -> None:
        """Drops the statistics and what is kept for later prompts; nothing may be at work."""
        if not self.idle:
            raise RuntimeError("sequences are at work")
        self.stats = EngineStats()
        self.pool.forget()

    def run(self, requests: list[Request]) -> dict[str, list[Output]]:
        """Serves ``requests`` together and to their end: id -> outputs."""
        answers: dict[str, list[Output]] = {request.id: [] for request in requests}
        for request in requests:
            self.submit(request)
        while not self.idle:
            for output in self.step():
                answers[output.id].append(output)
        return answers
