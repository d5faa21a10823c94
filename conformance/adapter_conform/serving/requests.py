"""What is asked of the engine, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Finish", "Output", "Refused", "Request", "Sequence"]


class Refused(Exception):
    """A request that cannot be served. ``reason`` is ``"queue_full"``, ``"too_long"`` or ``"invalid"``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Finish:
    """Why a sequence has ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class Request:
    """``prompt`` is at least one token. Greedy where ``temperature`` is 0."""

    id: str
    prompt: tuple[int, ...]
    limit: int
    """Tokens to generate at most."""
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    """Of sampling: tokens depend on it, the prompt and nothing else."""
    stop: tuple[int, ...] = ()
    """Tokens that end the answer; the one that did is its last."""
    logprobs: int = 0
    """How many of the likeliest tokens come with each token."""

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        return cls(**{**data, "prompt": tuple(data["prompt"]), "stop": tuple(data["stop"])})


@dataclass
class Sequence:
    """A request at work."""

    request: Request
    tokens: list[int]
    """Prompt and answer so far."""
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    """Tokens whose keys and values are in the cache."""
    shared: int = 0
    """Of these, tokens that were there before the sequence began."""

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def fresh(self) -> list[int]:
        """What goes into the next step: the whole prompt at first, then one token at a time."""
        return self.tokens if self.computed == 0 else self.tokens[self.computed : self.computed + 1]

    @property
    def due(self) -> bool:
        """Whether the next step gives a token of the answer."""
        return self.computed + len(self.fresh) == len(self.tokens)


@dataclass(frozen=True)
class Output:
    """A token of an answer, or its end without one (cancelled, failed)."""

    id: str
    token: int | None
    finish: str | None = None
    message: str = ""
    shared: int = 0
    """Prompt tokens that came out of the cache."""
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    """(token, log probability) of the likeliest."""
