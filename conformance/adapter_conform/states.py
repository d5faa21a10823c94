"""The states a planned case can end in, the verdicts of a run, and its exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum

__all__ = ["EXIT_CODES", "ExitCode", "State", "Verdict", "decide"]


class State(str, Enum):
    """How a case ended. Every planned case ends in exactly one of these."""

    PASSED = "passed"
    """Executed on the plugin's own kernels, with proof, and inside every gate."""
    FAILED = "failed"
    """Executed and outside a gate, or the device raised an error it should not have raised."""
    CRASHED = "crashed"
    """The worker process died."""
    HUNG = "hung"
    """No answer within the case's time limit; the worker was killed."""
    UNSUPPORTED = "unsupported"
    """Paddle has no such kernel registered, and the plugin declares none, or one for other releases of Paddle only."""
    WAIVED = "waived"
    """Failed, and a waiver of the plugin that has not expired covers it."""
    FELL_BACK = "fell_back"
    """A result came, but Paddle's CPU kernel or another device computed it."""
    VACUOUS = "vacuous"
    """The outcome proves nothing, e.g. there was no proof that a kernel ran."""
    NOT_RUN = "not_run"
    """Planned but not started: interrupted, out of time, or something that it needs is not installed."""


class Verdict(str, Enum):
    """What a run proves."""

    CONFORMANT = "conformant"
    """Something passed, nothing is bad, nothing stayed open."""
    NOT_CONFORMANT = "not conformant"
    """A case failed, crashed, hung or fell back, a waiver is stale, or the plugin's table and Paddle disagree."""
    INCONCLUSIVE = "inconclusive"
    """Nothing bad was seen, but not everything was proved; nothing executed is this, too."""


class ExitCode(IntEnum):
    """What the command tells its caller."""

    CONFORMANT = 0
    """The verdict is "conformant"."""
    NOT_CONFORMANT = 1
    """The verdict is "not conformant"."""
    USAGE_ERROR = 2
    """The command cannot be carried out as it was given; nothing has run."""
    INCONCLUSIVE = 3
    """The verdict is "inconclusive"."""


EXIT_CODES = {
    Verdict.CONFORMANT: ExitCode.CONFORMANT,
    Verdict.NOT_CONFORMANT: ExitCode.NOT_CONFORMANT,
    Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
}

BAD = (State.FAILED, State.CRASHED, State.HUNG, State.FELL_BACK)
OPEN = (State.VACUOUS, State.NOT_RUN)
EXECUTED = (State.PASSED, State.FAILED, State.WAIVED, State.CRASHED, State.HUNG, State.FELL_BACK, State.VACUOUS)


def decide(counts: Mapping[State, int]) -> Verdict:
    """The verdict on a run with ``counts`` cases by state.

    Fails closed: one bad case is enough for "not conformant"; a run in which nothing passed, or in which a planned
    case proved nothing or was not run, is "inconclusive".
    """
    if any(counts.get(state, 0) for state in BAD):
        return Verdict.NOT_CONFORMANT
    if not counts.get(State.PASSED, 0) or any(counts.get(state, 0) for state in OPEN):
        return Verdict.INCONCLUSIVE
    return Verdict.CONFORMANT
