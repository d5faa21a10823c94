"""What a suite is: it plans cases without Paddle, and runs one case inside a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from adapter_conform.cases import Case, Outcome

if TYPE_CHECKING:
    from adapter_conform.session import Session
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["PROFILES", "ExclusionProvider", "PlanRequest", "SessionProvider", "Suite"]

PROFILES = ("smoke", "standard", "full")


@dataclass(frozen=True)
class PlanRequest:
    """What the user asked for. ``plugin`` may be queried for its declarations; Paddle is not imported."""

    plugin: LoadedPlugin
    profile: str
    seed: int
    replay: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Options of the suite's own command."""


class Suite(Protocol):
    name: str
    """Also the ``suite`` of all its cases."""

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        """The cases of this suite, in order. The same request gives the same cases with the same ids."""
        ...

    def run(self, case: Case, session: Session) -> Outcome:
        """Runs one case in a worker. An exception that leaves this method is recorded as a failure with traceback."""
        ...


@runtime_checkable
class ExclusionProvider(Protocol):
    """What a suite may define besides :class:`Suite`, when it plans from a file whose lines cannot all be run.

    What was left out is reported by reason. It is no case: it does not count as planned and leaves the verdict alone.
    """

    def excluded(self, request: PlanRequest) -> Mapping[str, Sequence[int]]:
        """Reason -> numbers, from 1, of the lines that :meth:`Suite.plan` leaves out for it under the same request."""
        ...


@runtime_checkable
class SessionProvider(Protocol):
    """What a suite may define besides :class:`Suite`, to judge something other than a mounted Paddle device.

    The run then takes the plugin and the session from the suite instead of from ``adapter_sdk``: tests of the frame
    use it to run without Paddle. All suites of one run must agree, since a worker opens one session only.
    """

    def load_plugin(self, plugin_name: str) -> Any:
        """Stands in for ``adapter_sdk.load``; called in the supervisor and not in a worker."""
        ...

    def open_session(self, plugin_name: str, seed: int) -> Any:
        """Stands in for :func:`adapter_conform.session.open_session`; called once in every worker.

        The session may have ``check_health()``, which raises when the device no longer does the simplest thing, and
        ``tidy_up()``, called between cases.
        """
        ...
