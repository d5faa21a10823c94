"""Continuous batching: which sequences take part in the next step. A sequence joins between any two steps and leaves
as soon as it ends.

All blocks that a sequence can come to need are set aside when it joins, so none that runs ever has to wait or to be
computed again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from adapter_conform.serving.blocks import BlockPool
from adapter_conform.serving.requests import Finish, Output, Refused, Request, Sequence

__all__ = ["Limits", "Scheduler"]


@dataclass(frozen=True)
class Limits:
    most_running: int = 16
    """Sequences of a step."""
    most_waiting: int = 64
    """Requests that wait for a place in a full batch; more are refused."""
    most_prefill: int = 1024
    """Prompt tokens of a step. A longer prompt runs, but no other begins in its step."""
    most_catching_up: int = 32
    """A prompt whose beginning is in the cache goes on from there, one token a step; with more tokens than these left,
    computing all of it at once is faster."""


class Scheduler:
    """``longest`` is the number of positions of the model."""

    def __init__(self, pool: BlockPool, longest: int, limits: Limits) -> None:
        self.pool, self.longest, self.limits = pool, longest, limits
        self.waiting: deque[Request] = deque()
        self.running: list[Sequence] = []

    def submit(self, request: Request) -> None:
        """Queues ``request``.

        Raises:
            Refused: it can never run, or too many wait already.
        """
        whole = len(request.prompt) + request.limit
        if not request.prompt or request.limit < 1:
            raise Refused("invalid", "a request needs at least one token of a prompt and one to generate")
        if whole > self.longest:
            raise Refused("too_long", self._beyond(request, f"the model has {self.longest} positions"))
        if self.pool.blocks_for(whole) > self.pool.count:
            room = self.pool.count * self.pool.block_tokens
            raise Refused("too_long", self._beyond(request, f"the whole cache holds {room} tokens"))
        places = self.limits.most_running - len(self.running)  # those that wait may join before the next step
        if len(self.waiting) >= self.limits.most_waiting + places:
            raise Refused("queue_full", f"{len(self.waiting)} requests wait already; try again later")
        self.waiting.append(request)

    @staticmethod
    def _beyond(request: Request, why: str) -> str:
        return f"{len(request.prompt)} tokens of a prompt and {request.limit} to generate are too many: {why}"

    def cancel(self, id: str) -> bool:
        """Ends a request and frees its blocks; False where there is no such request, e.g. since it has ended."""
        for request in self.waiting:
            if request.id == id:
                self.waiting.remove(request)
                return True
        for sequence in self.running:
            if sequence.request.id == id:
                self._leave(sequence)
                return True
        return False

    def compose(self) -> list[Sequence]:
        """The sequences of the next step, after as many requests have joined as there is room for, first come first
        served."""
        budget = self.limits.most_prefill
        began = False
        while self.waiting and len(self.running) < self.limits.most_running:
            length = len(self.waiting[0].prompt)
            if began and length > budget:
                break
            sequence = self._join(self.waiting[0])
            if sequence is None:
                break
            self.waiting.popleft()
            self.running.append(sequence)
            if sequence.computed == 0:
                budget, began = budget - length, True
        return list(self.running)

    def _join(self, request: Request) -> Sequence | None:
        """None where too few blocks are left now."""
        sequence = Sequence(request, list(request.prompt))
        shared = self.pool.shared(sequence.tokens)
        reached = len(shared) * self.pool.block_tokens
        if shared and len(sequence.tokens) - reached > self.limits.most_catching_up:
            self.pool.release(shared)
            shared, reached = [], 0
        more = self.pool.blocks_for(len(request.prompt) + request.limit) - len(shared)
        if more > self.pool.available:
            self.pool.release(shared)
            return None
        sequence.blocks = shared + self.pool.take(more)
        sequence.computed = sequence.shared = reached
        return sequence

    def advance(self, took_part: Iterable[Sequence], chosen: Iterable[Output]) -> list[Output]:
        """Books a step: ``chosen`` has a token for each sequence that was due. Returns them with the reason why a
        sequence has ended, where it has."""
        tokens = {output.id: output for output in chosen}
        outputs = []
        for sequence in took_part:
            due = sequence.due
            sequence.computed += len(sequence.fresh)
            self.pool.offer(sequence.blocks, sequence.tokens[: sequence.computed])
            if not due:
                continue
            output = tokens[sequence.request.id]
            assert output.token is not None
            sequence.tokens.append(output.token)
            finish = self._finish(sequence)
            outputs.append(replace(output, finish=finish, shared=sequence.shared))
            if finish is not None:
                self._leave(sequence)
        return outputs

    @staticmethod
    def _finish(sequence: Sequence) -> str | None:
        if sequence.tokens[-1] in sequence.request.stop:
            return Finish.STOP
        return Finish.LENGTH if sequence.generated >= sequence.request.limit else None

    def fail(self, message: str) -> list[Output]:
        """Ends every request, waiting or at work, with an error."""
        ids = [sequence.request.id for sequence in self.running] + [request.id for request in self.waiting]
        for sequence in list(self.running):
            self._leave(sequence)
        self.waiting.clear()
        return [Output(id, None, Finish.FAILED, message) for id in ids]

    def _leave(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.pool.release(sequence.blocks)
        sequence.blocks = []
