"""How hypothesis strategies are drawn from for a plan: by a plain seeded generator.

Hypothesis's own backend mixes in constants that it finds in the source of whatever modules are loaded, so that one seed
gives different examples in different processes, and keeps a cache in the working folder. A plan must be the same
wherever it is made; see "Alternative backends" in hypothesis's documentation for the interface.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, PrimitiveProvider

__all__ = ["BACKEND", "PlainProvider", "reseed"]

BACKEND = "adapter_conform"


class PlainProvider(PrimitiveProvider):
    """Draws uniformly from what a strategy permits. Text and bytes are not drawn by any strategy of the catalogue."""

    generator: ClassVar[random.Random] = random.Random(0)

    def draw_boolean(self, p: float = 0.5, **_: Any) -> bool:
        return self.generator.random() < p

    def draw_integer(self, min_value: int | None = None, max_value: int | None = None, **_: Any) -> int:
        low = -1000 if min_value is None else min_value
        high = low + 2000 if max_value is None else max_value
        return self.generator.randint(low, high)

    def draw_float(self, *, min_value: float = -1000.0, max_value: float = 1000.0, **_: Any) -> float:
        return self.generator.uniform(max(min_value, -1e6), min(max_value, 1e6))

    def draw_string(self, *_: Any, **__: Any) -> str:
        raise NotImplementedError("catalogue strategies draw no text; use sampled_from")

    def draw_bytes(self, *_: Any, **__: Any) -> bytes:
        raise NotImplementedError("catalogue strategies draw no bytes; use sampled_from")


AVAILABLE_PROVIDERS[BACKEND] = f"{__name__}.{PlainProvider.__name__}"


def reseed(seed: int) -> None:
    """Starts the stream of ``seed``."""
    PlainProvider.generator = random.Random(seed)
