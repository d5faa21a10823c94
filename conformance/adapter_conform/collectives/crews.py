"""The crew that a worker has; one at a time, so that a card is not used by several."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from typing import Any

from adapter_conform.collectives.crew import Crew

__all__ = ["CREWS", "Crews"]


class Crews:
    """Keeps the crew of the last case for the next one that wants the same."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._crew: Crew | None = None
        atexit.register(self.dismiss)

    def get(self, plugin: str, ranks: int, seed: int, settings: Mapping[str, str]) -> Crew:
        key = (plugin, ranks, seed, tuple(sorted(settings.items())))
        if self._crew is None or self._key != key:
            self.dismiss()
            self._crew, self._key = Crew(plugin, ranks, seed, {**os.environ, **settings}), key
        return self._crew

    def dismiss(self) -> None:
        if self._crew is not None:
            self._crew.dismiss()
            self._crew = None


CREWS = Crews()
