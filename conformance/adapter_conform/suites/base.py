"""What a suite is: it plans cases without Paddle, and runs one case inside a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from adapter_conform.cases import Case, Outcome

if TYPE_CHECKING:
    from adapter_conform.session import Session
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["PROFILES", "PlanRequest", "SessionProvider", "Suite"]

PROFILES = ("smoke", "standard", "full")


@dataclass(frozen=True)
class PlanRequest:
    """What the user asked for. ``plugin`` may be queried for its declarations; Paddle is not imported."""

    plugin: LoadedPlugin
    profile: str
    seed: int
    replay: Path | None = None


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
class SessionProvider(Protocol):
    """What a suite may define besides :class:`Suite`, to judge something other than a mounted Paddle device.

    The run then takes the plugin and the session from the suite instead of from ``adapter_sdk``: tests of the frame
    use it to run without Paddle. All suites of one run must agree, since a worker opens one session only.
    """

    def load_plugin(self, plugin_name: str) -> Any:
        """Stands in for ``adapter_sdk.load``; called in the supervisor and not in a worker."""
        ...

    def open_session(self, plugin_name: str, seed: int) -> Any:
        """Stands in for :func:`adapter_conform.session.open_session`; called once in every worker."""
        ...
