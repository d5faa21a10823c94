"""The ops suite on the installed refchip: some cases of every kind, judged in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.device

PROGRAM = """
import json, os, sys
from adapter_conform.session import open_session
from adapter_conform.suites.base import PlanRequest
from adapter_conform.suites.ops import SUITE

session = open_session("refchip", 0)
wanted = {"add", "matmul", "softmax", "transpose", "getitem", "cross_entropy_with_softmax", "adamw", "contiguous"}
for case in SUITE.plan(PlanRequest(session.plugin, "smoke", 0)):
    if case.operator in wanted:
        outcome = SUITE.run(case, session)
        row = [case.id, outcome.state.value, outcome.executed_on, outcome.message, outcome.details.get("kernels", {})]
        print(json.dumps(row))
sys.stdout.flush()
os._exit(0)
"""


def test_cases_of_every_kind_pass_with_proof() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    wrong = [row for row in rows if row[1] != "passed"]
    assert not wrong, wrong[0]
    assert {row[2] for row in rows} == {"refchip:0"}
    kernels = {key for row in rows for key in row[4]}
    assert {"matmul_grad/float32", "softmax/float32", "adamw/float32", "contiguous/float32"} <= kernels
