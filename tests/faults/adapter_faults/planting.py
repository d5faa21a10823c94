"""The tool that plants faults in the process of a worker."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
from adapter_conform.suites import load_suite

from adapter_faults.call import Array, Call, Device, views_of
from adapter_faults.table import Fault, Phase, named
from adapter_sdk._table import DTYPE_NAMES, INTERPOSER, PHASE_BEFORE, KernelCallStruct

if TYPE_CHECKING:
    from adapter_conform.cases import Case, Outcome
    from adapter_conform.session import Session

__all__ = ["BROKE_DOWN", "FAULT_VARIABLE", "PLANTED", "plant"]

FAULT_VARIABLE = "ADAPTER_FAULT"
"""Names of faults, joined by commas."""

PLANTED = "planted"
"""A log line ``planted FAULT in CASE`` says that a fault came into effect."""

BROKE_DOWN = "broke down"
"""A log line ``fault FAULT broke down in CASE: WHY`` says that the fault itself is at fault."""

_planters: list[_Planter] = []


def plant(session: Session) -> None:
    """Plants what the environment names, for the rest of this process: each fault in the cases that it concerns.

    Raises:
        LookupError: there is no such fault.
    """
    names = [name.strip() for name in os.environ.get(FAULT_VARIABLE, "").split(",")]
    planter = _Planter(session, [named(name) for name in names if name])
    _planters.append(planter)  # the device goes on calling into it
    planter.install()


class _Planter:
    """Stands between a device's kernels and Paddle. A fault is live while a case that it concerns is run."""

    def __init__(self, session: Session, faults: Sequence[Fault]) -> None:
        self._session = session
        self._faults = faults
        self._memory: dict[str, dict[str, Any]] = {fault.name: {} for fault in faults}
        self._live: Fault | None = None
        self._case_id = ""
        self._attributes: Mapping[str, Any] = {}
        # By thread, since an operator may be called from several at once. threading.local would forget between two
        # calls of a thread that is not Python's, such as the static executor's.
        self._before: dict[int, list[Array]] = {}
        self._interposer = INTERPOSER(self._called)
        self._patches = ExitStack()

    def install(self) -> None:
        for name in {fault.suite for fault in self._faults}:
            suite = load_suite(name)
            self._patches.enter_context(mock.patch.object(suite, "run", self._around(suite.run)))
        address = ctypes.cast(self._interposer, ctypes.c_void_p).value
        self._session.library.set_interposer(address)

    def _around(self, run: Any) -> Any:
        """A suite's ``run`` with the fault live that concerns the case."""

        def planted_run(case: Case, session: Session) -> Outcome:
            fault = next((fault for fault in self._faults if fault.concerns(case.id)), None)
            if fault is None:
                outcome: Outcome = run(case, session)
                return outcome
            self._case_id = case.id
            self._attributes = case.payload.get("example", {}).get("attributes", {})
            with ExitStack() as stack:
                if fault.phase is Phase.WRAPPED:
                    stack.enter_context(fault.act(session))
                    self._say_planted(fault)
                self._live = fault
                stack.callback(setattr, self, "_live", None)
                outcome = run(case, session)
            return outcome

        return planted_run

    def _called(self, _user: Any, pointer: Any) -> int:
        """Called around every kernel; 1 skips it."""
        fault = self._live
        if fault is None:
            return 0
        raw: KernelCallStruct = pointer.contents
        row = raw.row.contents
        if not fault.breaks(row.operator_name.decode(), DTYPE_NAMES[row.dtype]):
            return 0
        try:
            with np.errstate(all="ignore"):
                return int(self._strike(fault, raw))
        except Exception:
            _log(f"fault {fault.name} {BROKE_DOWN} in {self._case_id}: {traceback.format_exc()}")
            return 0

    def _strike(self, fault: Fault, raw: KernelCallStruct) -> bool:
        device = Device(self._session.library, raw.card)
        inputs, outputs = views_of(raw)
        ahead = raw.phase == PHASE_BEFORE
        if ahead:
            self._before[threading.get_ident()] = [device.read(view) for view in inputs]
        if ahead is not (fault.phase is Phase.BEFORE):
            return False
        if not ahead and not any(view.nbytes for view in outputs):
            return False
        call = Call(
            device, self._before[threading.get_ident()], inputs, outputs, self._attributes, self._memory[fault.name]
        )
        if ahead:
            self._say_planted(fault)  # it may not come back
        skip = bool(fault.act(call))
        if call.changed:
            self._say_planted(fault)
        return skip

    def _say_planted(self, fault: Fault) -> None:
        _log(f"{PLANTED} {fault.name} in {self._case_id}")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
