"""What a case does with an operator besides judging one call of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from adapter_conform.catalogue.spec import Description

__all__ = ["ONCE", "Further"]


@dataclass(frozen=True)
class Further:
    """Numbers of further calls; all of them are made in eager mode. Zero, or False, asks for none."""

    repeats: int = 0
    """One after the other; each must give the same bits."""
    streams: int = 0
    """Over two streams in turn, see :mod:`adapter_conform.concurrency`."""
    threads: int = 0
    """From each of several threads at once, see :mod:`adapter_conform.concurrency`."""
    leak: int = 0
    """In a round, see :mod:`adapter_conform.leaks`."""
    bias: bool = False
    """With fresh inputs, for the sign test of :mod:`adapter_conform.bias`."""
    example: Description | None = None
    """What the inputs were drawn from; whatever draws anew needs it."""

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Further:
        """Of an operator case's payload."""
        return cls(example=payload["example"], **{name: payload[name] for name in ONCE.counts() if name in payload})

    def counts(self) -> dict[str, Any]:
        """The fields but the example, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "example"}


ONCE = Further()
