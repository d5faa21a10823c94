"""The runtime suite: memory, copies, streams, events, cards, and Paddle on top of them, for any plugin.

``runtime/<group>/<check>`` or ``runtime/<group>/<check>/<dtype>``. What a check covers of the contract stands in its
payload and in the details of its record; :func:`coverage` gives it for all.
"""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Case, Outcome
from adapter_conform.declarations import absence
from adapter_conform.runtime import CHECKS, Check
from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import ANY
from adapter_conform.runtime.errors import CheckFailed, NotApplicable, RanElsewhere
from adapter_conform.runtime.slots import PROMISES, SLOTS
from adapter_conform.states import State
from adapter_conform.suites.base import PROFILES, PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SUITE", "RuntimeSuite", "coverage"]

_NO_KERNEL = re.compile(r"key \(\w+, \S+, (?P<dtype>\w+)\) of kernel `(?P<operator>\w+)` is not registered")


class RuntimeSuite:
    name = "runtime"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        return [_case(check, dtype, request) for check in CHECKS.values() for dtype in check.dtypes]

    def run(self, case: Case, session: Session) -> Outcome:
        check = CHECKS[case.payload["check"]]
        bench = Bench(session, int(case.payload["seed"]), int(case.payload["repetitions"]), case.dtype)
        outcome = _unavailable(check, case.dtype, session) or _run(check, bench)
        outcome.details.update(covers=list(check.covers), statement=check.statement)
        if outcome.state in (State.FAILED, State.FELL_BACK):
            outcome.details["retire_worker"] = True  # a device that broke a promise may spoil the checks that follow
        return outcome


SUITE = RuntimeSuite()


def coverage() -> dict[str, list[str]]:
    """Every callback and promise of the contract -> ids of the checks that cover it; empty for what none covers."""
    table: dict[str, list[str]] = {name: [] for name in (*SLOTS, *PROMISES)}
    for check in CHECKS.values():
        for name in check.covers:
            table[name].append(check.id)
    return table


def _case(check: Check, dtype: str, request: PlanRequest) -> Case:
    suffix = "" if dtype == ANY else f"/{dtype}"
    return Case(
        id=f"runtime/{check.id}{suffix}",
        suite="runtime",
        operator=check.group,
        dtype=dtype,
        payload={
            "check": check.id,
            "covers": list(check.covers),
            "statement": check.statement,
            "repetitions": check.repeat[PROFILES.index(request.profile)],
            "seed": request.seed,
        },
        timeout=check.timeout,
    )


def _unavailable(check: Check, dtype: str, session: Session) -> Outcome | None:
    """The outcome when the device lacks what the check works with; None when it can be run."""
    cards = session.library.card_count()
    if cards < check.cards:
        return Outcome(State.UNSUPPORTED, message=f"takes {check.cards} cards; this machine has {cards}")
    for kernel in check.kernels:
        operator, kernel_dtype = kernel.format(dtype).split("/")
        found = absence(session, [operator], kernel_dtype)
        if found is not None:
            return Outcome(found[0], message=f"takes the kernel {found[1]}")
    return None


def _run(check: Check, bench: Bench) -> Outcome:
    try:
        check.body(bench)
    except NotApplicable as reason:
        return Outcome(State.UNSUPPORTED, message=str(reason), details=_details(bench))
    except RanElsewhere as error:
        return Outcome(State.FELL_BACK, message=str(error), errors=bench.figures, details=_details(bench))
    except CheckFailed as error:
        return _failed(bench, str(error))
    except Exception as error:  # whatever Paddle or the SDK raises is the device's answer, and is judged
        absent = _absent_kernel(bench.session, error)
        if absent is not None:
            return Outcome(State.UNSUPPORTED, message=f"Paddle asks for {absent}", details=_details(bench))
        text = "\n".join(line for line in str(error).splitlines() if line.strip())[-1500:]
        outcome = _failed(bench, f"unexpected {type(error).__name__}: {text}")
        outcome.details["trace"] = "".join(traceback.format_exception(error))[-8000:]
        return outcome
    finally:
        bench.paddle.set_device(bench.device)
        gc.collect()
    bench.conclude()
    return Outcome(
        State.PASSED if bench.evidence else State.VACUOUS,
        executed_on=_where(bench),
        errors=bench.figures,
        message="" if bench.evidence else "nothing showed that the device did the work",
        details=_details(bench),
    )


def _absent_kernel(session: Session, error: Exception) -> str | None:
    """What is said of the kernel whose lack an error is about, when the plugin does not promise it; else None.

    Releases of Paddle differ in what they make out of kernels: before 3.3, ``paddle.save`` takes ``npu_identity``.
    """
    found = _NO_KERNEL.search(str(error))
    lacking = None if found is None else absence(session, [found["operator"]], found["dtype"])
    return lacking[1] if lacking is not None and lacking[0] is State.UNSUPPORTED else None


def _failed(bench: Bench, message: str) -> Outcome:
    return Outcome(State.FAILED, _where(bench), bench.figures, message, _details(bench))


def _where(bench: Bench) -> str:
    return ", ".join(sorted(bench.evidence))


def _details(bench: Bench) -> dict[str, Any]:
    details: Mapping[str, Any] = {
        "evidence": bench.evidence,
        "kernels": bench.kernels,
        "repetitions": bench.repetitions,
        **bench.notes,
    }
    return {**details, **({"notices": list(bench.notices)} if bench.notices else {})}
