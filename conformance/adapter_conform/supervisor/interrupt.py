"""Turns Ctrl-C and SIGTERM into a flag, so that a run stops between two steps with its results written."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption"]


class Interruption:
    """Within its ``with`` block SIGINT and SIGTERM only set :attr:`name`. Main thread only."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.name: str | None = None
        """``"SIGINT"`` or ``"SIGTERM"`` once one has come."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
