"""Breaks promises of a runtime on purpose and prints, as JSON, how the runtime suite's checks end.

``python runtime_faults.py PLUGIN [FAULT...]`` opens the plugin once and plants the runtime's faults of the selftest, or
those named, one after the other; without any, the same checks must pass.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from adapter_conform.cases import Case
from adapter_conform.runtime import CHECKS
from adapter_conform.session import Session, open_session
from adapter_conform.suites.runtime import SUITE
from adapter_faults import all_faults


def judge(session: Session, check_id: str) -> dict[str, Any]:
    check = CHECKS[check_id]
    dtype = "float32" if "float32" in check.dtypes else check.dtypes[0]
    payload = {"check": check_id, "repetitions": check.repeat[0], "seed": 1}
    outcome = SUITE.run(Case("x", "runtime", check.group, dtype, payload), session)
    told = outcome.details.get("notices", [])
    return {"check": check_id, "state": outcome.state.value, "message": outcome.message, "notices": told}


def main(plugin: str, *names: str) -> None:
    session = open_session(plugin, seed=1)
    sound: dict[str, Any] = {}
    found = {}
    for fault in all_faults():
        if fault.suite != "runtime" or (names and fault.name not in names):
            continue
        if fault.operator not in sound:
            sound[fault.operator] = judge(session, fault.operator)
        with fault.act(session):
            found[fault.name] = {"sound": sound[fault.operator], "faulty": judge(session, fault.operator)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
