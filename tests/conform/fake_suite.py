"""A suite that misbehaves on request, with a plugin and a session of its own: it exercises the frame without Paddle.

Everything is steered by the plugin's name, a comma-separated list of what to plan and how to behave, e.g.
``"pass:3,crash,hang"``. It is handed to the tool under test as ``--suite fake_suite:SUITE``.
"""

from __future__ import annotations

import ctypes
import datetime
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.states import State
from adapter_conform.suites.base import PlanRequest
from adapter_conform.supervisor import health

__all__ = ["SUITE"]

OPERATORS = ("matmul", "softmax", "add")
DEVICE = "fake:0"


@dataclass
class FakeSession:
    plugin: Any
    device: str = DEVICE
    calls: int = 0
    sick: bool = False
    kept: list[Any] = field(default_factory=list)

    def check_health(self) -> None:
        """FAKE_SICK_FILE stands for the card's memory: while it is there, every process finds the card sick."""
        card = Path(os.environ.get("FAKE_SICK_FILE", "/nonexistent"))
        if card.exists() and card.read_text() == "crash":
            os.kill(os.getpid(), signal.SIGABRT)
        if self.sick or card.exists():
            raise RuntimeError("the card does not answer")

    def is_registered(self, operator: str, dtype: str) -> bool:
        ghosts = {"add", "matmul"} if "table-ghost" in dict(_words(self.plugin.name)) else {"add"}
        return operator not in ghosts


def _kernel(operator: str, refusal: str = "") -> SimpleNamespace:
    return SimpleNamespace(
        operator=operator,
        dtype="float32",
        registration="refused" if refusal else "registered",
        refusal=refusal,
        accumulator="float32",
        provenance="own",
    )


def _kernels(plugin_name: str) -> list[SimpleNamespace]:
    rows = [_kernel("matmul"), _kernel("softmax"), _kernel("add", refusal="signature differs")]
    if "table-releases" in dict(_words(plugin_name)):  # softmax for three releases, of which the second one is here
        older, newer = (_kernel("softmax", f"expected (x, axis), given {given}") for given in ("(x)", "(x, axis, <b>)"))
        rows = [older, *rows, newer, newer]
    return rows


def _words(plugin_name: str) -> list[tuple[str, int]]:
    """``"pass:3,crash"`` -> ``[("pass", 3), ("crash", 1)]``"""
    words = []
    for word in plugin_name.split(","):
        name, _, number = word.partition(":")
        words.append((name, int(number or 1)))
    return words


def _waivers(plugin_name: str) -> list[SimpleNamespace]:
    expires = {"waive": datetime.date(2999, 1, 1), "waive-expired": datetime.date(2001, 1, 1)}
    return [
        SimpleNamespace(
            operator="matmul",
            dtype="float32",
            reason="known defect",
            link="https://example.com/defect/1",
            expires=expires[name],
        )
        for name, _ in _words(plugin_name)
        if name in expires
    ]


class FakeSuite:
    name = "fake"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        cases = []
        if "large" in dict(_words(request.plugin.name)):
            health._memory = lambda: 8 << 30  # the supervisor plans, and is to find a small machine
        for kind, number in [*_words(request.plugin.name), *_words(os.environ.get("FAKE_MORE", "start-as-ever"))]:
            if kind.startswith(("waive", "start-", "table-", "excludes")):
                continue
            if kind == "bad-plan":
                raise ValueError("line 7: expected ')'")
            for index in range(number):
                cases.append(self._case(kind, index, request.seed))
        return cases

    def excluded(self, request: PlanRequest) -> Any:
        """``excludes:N`` leaves N lines out, every third for another reason; the other words give no usable answer."""
        words = dict(_words(request.plugin.name))
        if "excludes-badly" in words:
            return {"a reason": ["line 3"]}
        if "excludes-and-breaks" in words:
            raise KeyError("no such table")
        lines = list(range(1, words.get("excludes", 0) + 1))
        return {"no oracle \x1b[31m</script><i>": lines[::3], "too large": [n for n in lines if n % 3 != 1]}

    def _case(self, kind: str, index: int, seed: int) -> Case:
        return Case(
            id=f"fake/{OPERATORS[index % 3]}/float32/{kind} [{index}]",
            suite=self.name,
            operator=OPERATORS[index % 3],
            dtype="float32",
            payload={"kind": kind, "seed": seed},
            timeout=0.5 if kind.startswith("hang") else None,
            not_run="torch is not installed" if kind == "planned-out" else None,
            large=kind == "large",
        )

    def run(self, case: Case, session: FakeSession) -> Outcome:
        session.calls += 1
        behaviour: Any = getattr(self, "_" + case.payload["kind"].replace("-", "_"))
        outcome: Outcome = behaviour(case, session)
        return outcome

    def load_plugin(self, plugin_name: str) -> Any:
        return SimpleNamespace(
            name=plugin_name,
            device={"device_type": "fake", "vendor": "nobody", "cards": 1},
            kernels=_kernels(plugin_name),
            waivers=_waivers(plugin_name),
            distribution="fake-plugin",
            library=None,
        )

    def open_session(self, plugin_name: str, seed: int) -> FakeSession:
        words = dict(_words(plugin_name))
        if "start-raise" in words:
            raise RuntimeError("the card is in use by another process")
        if "start-crash" in words:
            print("the driver is unhappy", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGABRT)
        return FakeSession(self.load_plugin(plugin_name))

    # -- one method a kind of case

    def _pass(self, case: Case, session: FakeSession) -> Outcome:
        figure = GateFigure("bound", "out0", value=1e-7, limit=1e-5, passed=True)
        details = {"kernels": {f"{case.operator}/{case.dtype}": 2}, "pid": os.getpid(), "nth": session.calls}
        return Outcome(State.PASSED, DEVICE, [figure], details=details)

    _pass_on = _pass

    def _slow(self, case: Case, session: FakeSession) -> Outcome:
        time.sleep(0.3)
        return self._pass(case, session)

    def _large(self, case: Case, session: FakeSession) -> Outcome:
        """Says when it was at work, by the clock that all processes share."""
        begun = time.monotonic()
        time.sleep(0.2)
        outcome = self._pass(case, session)
        outcome.details["at_work"] = [begun, time.monotonic()]
        return outcome

    def _fail(self, case: Case, session: FakeSession) -> Outcome:
        figures = [
            GateFigure("bound", "out0", value=3e-2, limit=1e-5, passed=False, note="element (3, 4)"),
            GateFigure("exact", "out1", value=float("inf"), limit=0.0, passed=False),
            GateFigure("nan", "out1", value=float("nan"), limit=0.0, passed=False),
        ]
        return Outcome(State.FAILED, DEVICE, figures, message="wrong </script><b>values</b> \x1b[31m")

    def _raise(self, case: Case, session: FakeSession) -> Outcome:
        raise RuntimeError("the kernel was not happy")

    def _quit(self, case: Case, session: FakeSession) -> Outcome:
        sys.exit(0)

    def _crash(self, case: Case, session: FakeSession) -> Outcome:
        print("about to read address 0", flush=True)
        ctypes.string_at(0)
        raise AssertionError("unreachable")

    def _leave(self, case: Case, session: FakeSession) -> Outcome:
        os._exit(7)

    def _hang(self, case: Case, session: FakeSession) -> Outcome:
        time.sleep(600)
        raise AssertionError("unreachable")

    def _hang_in_c(self, case: Case, session: FakeSession) -> Outcome:
        ctypes.PyDLL(None).sleep(600)  # PyDLL keeps the interpreter lock
        raise AssertionError("unreachable")

    def _orphan(self, case: Case, session: FakeSession) -> Outcome:
        """Dies and leaves a child behind that holds the worker's pipes open."""
        if os.fork() == 0:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    def _unproven(self, case: Case, session: FakeSession) -> Outcome:
        return Outcome(State.PASSED)

    def _contradiction(self, case: Case, session: FakeSession) -> Outcome:
        return Outcome(State.PASSED, DEVICE, [GateFigure("bound", "out0", float("nan"), 1.0, passed=True)])

    def _unsupported(self, case: Case, session: FakeSession) -> Outcome:
        return Outcome(State.UNSUPPORTED, message="the plugin declares no such kernel")

    def _no_json(self, case: Case, session: FakeSession) -> Outcome:
        return Outcome(State.PASSED, DEVICE, details={"what": object()})

    def _retire(self, case: Case, session: FakeSession) -> Outcome:
        outcome = self._pass(case, session)
        outcome.details["retire_worker"] = True
        return outcome

    def _sick(self, case: Case, session: FakeSession) -> Outcome:
        session.sick = True
        return self._fail(case, session)

    def _sick_for_good(self, case: Case, session: FakeSession) -> Outcome:
        Path(os.environ["FAKE_SICK_FILE"]).write_text("")
        return self._fail(case, session)

    def _sick_and_crash(self, case: Case, session: FakeSession) -> Outcome:
        Path(os.environ["FAKE_SICK_FILE"]).write_text("crash")
        return self._fail(case, session)

    def _leak_handles(self, case: Case, session: FakeSession) -> Outcome:
        session.kept += [os.open("/dev/null", os.O_RDONLY) for _ in range(300)]
        return self._pass(case, session)

    def _no_memory(self, case: Case, session: FakeSession) -> Outcome:
        session.kept.append("a process that ran out of memory")
        raise MemoryError("4 GiB wanted")

    def _first_after(self, case: Case, session: FakeSession) -> Outcome:
        """Passes in a process that no other case has been in."""
        state = State.PASSED if session.calls == 1 else State.FAILED
        return Outcome(state, DEVICE, details={"kernels": {"matmul/float32": 1}})

    def _kill_supervisor(self, case: Case, session: FakeSession) -> Outcome:
        Path(os.environ["FAKE_PID_FILE"]).write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
        raise AssertionError("unreachable")


SUITE = FakeSuite()
NOT_A_SUITE = object()
