"""What is planned (:class:`Case`) and what came of it (:class:`Outcome`, :class:`Record`). Plain data; no Paddle."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from adapter_conform.states import State

__all__ = ["Case", "GateFigure", "Outcome", "Record"]


@dataclass(frozen=True)
class Case:
    """One thing to check. Its id is stable for a plan (profile, seed), so that it can be rerun alone.

    ``payload`` must survive a round trip through JSON: it is all that a worker gets to know.
    """

    id: str
    suite: str
    operator: str
    dtype: str
    payload: dict[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    """Seconds; ``None`` takes the run's ``--case-timeout``."""
    not_run: str | None = None
    """Set when the planner already knows that the case cannot be run, and why."""
    large: bool = False
    """Takes so much memory that only as many of them run side by side as it has room for."""


@dataclass(frozen=True)
class GateFigure:
    """What one acceptance rule measured on one output. Passed when ``value <= limit``."""

    gate: str
    """Name of the rule, e.g. ``"bound"``."""
    output: str
    """What was measured, e.g. ``"out0"``, ``"grad x"``."""
    value: float
    limit: float
    """Infinite for figures that are for information only."""
    passed: bool
    note: str = ""
    """Where the worst element stands, what was expected there, or why there is no figure."""


@dataclass
class Outcome:
    """What a suite says of a case that it ran."""

    state: State
    executed_on: str = ""
    """Where the work was proved to have run, e.g. ``"refchip:0"``; empty without proof."""
    errors: list[GateFigure] = field(default_factory=list)
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON data for the report, e.g. ``{"kernels": {"softmax/float32": 1}}``."""


@dataclass
class Record:
    """One line of ``results.jsonl``."""

    id: str
    """Which case; stable for a profile and seed."""
    suite: str
    operator: str
    """Paddle's kernel name, or what the suite has in its place, e.g. a model."""
    dtype: str
    state: State
    executed_on: str
    """Where the work was proved to have run, e.g. ``"refchip:0"``; empty without proof."""
    errors: list[GateFigure]
    seconds: float
    """Wall time."""
    repro: str
    """The command that reruns this case alone."""
    message: str = ""
    """Why it ended so."""
    details: dict[str, Any] = field(default_factory=dict)
    """More from the suite, e.g. ``kernels``: calls counted, by operator/dtype."""

    def to_json(self) -> dict[str, Any]:
        """A dict for ``json.dumps``; non-finite figures become strings, since JSON has none."""
        data = asdict(self)
        data["state"] = self.state.value
        for figure in data["errors"]:
            for key in ("value", "limit"):
                if not math.isfinite(figure[key]):
                    figure[key] = str(figure[key])
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        fields = dict(data)
        fields["state"] = State(fields["state"])
        fields["errors"] = [
            GateFigure(**{**figure, "value": float(figure["value"]), "limit": float(figure["limit"])})
            for figure in fields["errors"]
        ]
        return cls(**fields)
