"""Suite ``replay``: recorded Paddle calls, one case a line, judged with the operator catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_conform.cases import Case, Outcome
from adapter_conform.declarations import declared_kernels
from adapter_conform.judge import judge_call
from adapter_conform.replay.apis.table import find
from adapter_conform.replay.calls import resolve
from adapter_conform.replay.lines import LineFault, inputs_of, prepare, spec_of
from adapter_conform.replay.parser import ReplaySyntaxError, parse_file, parse_line
from adapter_conform.replay.planning import Budget, Choice, choose
from adapter_conform.replay.syntax import Call
from adapter_conform.states import State
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.replay.lines import Line
    from adapter_conform.session import Session

__all__ = ["SUITE", "ReplaySuite"]


LARGE, LARGE_TIMEOUT = 1 << 20, 600.0
"""Elements from which a line has a time limit of its own, in seconds: on a busy machine large oracles take long."""

HEAVY = 16 << 20
"""Elements from which a line is a large case: judging takes up to 80 bytes for each, and two of 64 Mi are too many for
8 GiB."""


class ReplaySuite:
    name = "replay"

    def __init__(self) -> None:
        self._last: tuple[PlanRequest, Choice] | None = None

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        """A case for every line within the profile's budget: one that cannot be judged on this plugin ends as
        unsupported, a malformed one is not run. The other lines are in :meth:`excluded`. Without a replay file there
        are no cases.

        Raises:
            ReplayFileError: the file cannot be read, or holds no well-formed line.
        """
        if request.replay is None:
            return []
        choice = self._choose(request, request.replay)
        cases = [(line.call.line, self._case(line)) for line in choice.chosen]
        cases += [(call.line, self._unjudged(call, reason)) for call, reason in choice.unjudged]
        cases += [(error.line, self._malformed(error)) for error in choice.malformed]
        return [case for _, case in sorted(cases, key=lambda item: item[0])]

    def excluded(self, request: PlanRequest) -> dict[str, list[int]]:
        """Reason -> numbers of the lines that are not planned for it, the most frequent reason first.

        Raises:
            ReplayFileError: the file cannot be read, or holds no well-formed line.
        """
        if request.replay is None:
            return {}
        return self._choose(request, request.replay).excluded

    def run(self, case: Case, session: Session) -> Outcome:
        """Judges one line. What the line itself makes impossible proves nothing and leaves the case not run."""
        if "unjudged" in case.payload:
            return Outcome(State.UNSUPPORTED, message=case.payload["unjudged"])
        line = prepare(parse_line(case.payload["text"], case.payload["line"]))
        try:
            resolve(session.paddle, line.call.api)
        except AttributeError as error:
            return Outcome(State.NOT_RUN, message=f"this Paddle has no such API: {error}")
        try:
            inputs = inputs_of(line, session.seed)
            return judge_call(session, spec_of(line), inputs, {}, dtype=line.dtype, backward=False)
        except LineFault as fault:
            return Outcome(State.NOT_RUN, message=f"the line cannot be run: {fault}")

    def _choose(self, request: PlanRequest, path: Path) -> Choice:
        if self._last is None or self._last[0] != request:
            file = parse_file(path)
            choice = choose(file, declared_kernels(request.plugin), Budget.of(request.profile), request.seed)
            self._last = (request, choice)
        return self._last[1]

    def _case(self, line: Line) -> Case:
        call = line.call
        return Case(
            id=f"replay/{call.api}/{call.line}",
            suite=self.name,
            operator=line.api.operator,
            dtype=line.dtype,
            payload={"text": call.text, "line": call.line},
            timeout=LARGE_TIMEOUT if line.elements > LARGE else None,
            large=line.elements > HEAVY,
        )

    def _unjudged(self, call: Call, reason: str) -> Case:
        api = find(call.api)
        return Case(
            id=f"replay/{call.api}/{call.line}",
            suite=self.name,
            operator=call.api.rpartition(".")[2] if api is None else api.operator,
            dtype=call.tensors[0].dtype if call.tensors else "",
            payload={"unjudged": reason, "line": call.line},
        )

    def _malformed(self, error: ReplaySyntaxError) -> Case:
        return Case(
            id=f"replay/malformed/{error.line}",
            suite=self.name,
            operator="malformed",
            dtype="",
            payload={"text": error.text, "line": error.line},
            not_run=str(error),
        )


SUITE = ReplaySuite()
