"""Parts of a plan that run apart, ``--shard i/n``, and are joined by ``adapter-conform merge``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapter_conform.errors import UsageProblem

__all__ = ["Shard"]


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``, from 1. It takes every ``count``-th case, so that all parts are alike in kind."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``"2/4"``.

        Raises:
            UsageProblem: it is no such pair, or there is no such part.
        """
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageProblem(
                f"shard {text!r}: write it as NUMBER/COUNT, counted from 1, e.g. 2/4 for the second of four parts"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def takes(self, position: int) -> bool:
        """Whether the case at ``position`` of the whole plan, from 0, is in this part."""
        return position % self.count == self.number - 1
