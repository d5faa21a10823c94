"""`adapter-conform`: judges a device plugin by running it, and says what was proved and what was not."""

from adapter_conform.cases import Case, GateFigure, Outcome, Record
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.states import ExitCode, State, Verdict, decide
from adapter_conform.suites.base import PROFILES, PlanRequest, Suite

__all__ = [
    "PROFILES",
    "Case",
    "ConformError",
    "ExitCode",
    "GateFigure",
    "Outcome",
    "PlanRequest",
    "Record",
    "State",
    "Suite",
    "UsageProblem",
    "Verdict",
    "decide",
]
