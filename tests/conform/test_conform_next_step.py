"""The first line of a report: what to do next, the most useful thing first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapter_conform.cases import Record
from adapter_conform.plan import RunOptions
from adapter_conform.report.next_step import next_step
from adapter_conform.report.summary import RunResult
from adapter_conform.states import State

STOPS = (
    "RuntimeError: (NotFound) The kernel with key (acme, Undefined(AnyLayout), float64) of kernel `full` is not "
    "registered."
)
LACKS = "tanh/float32: not declared by plugin 'acme', and Paddle has none registered"


def kernel(operator: str, provenance: str, **more: Any) -> dict[str, Any]:
    row = {"operator": operator, "dtype": "float32", "registration": "registered", "refusal": "", "refusals": []}
    return {**row, "in_paddle_registry": True, "accumulator": None, "provenance": provenance, **more}


def record(name: str, state: State, message: str = "", calls: dict[str, int] | None = None) -> Record:
    suite, operator, *_ = name.split("/")
    details = {"kernels": calls or {}}
    return Record(name, suite, operator, "float32", state, "", [], 0.0, "", message=message, details=details)


def step(*records: Record, kernels: tuple[dict[str, Any], ...] = ()) -> str:
    passed = record("ops/add/float32", State.PASSED, calls={"add/float32": 7, "sum/float32": 3})
    options = RunOptions("acme", ("ops",), "smoke", 0, Path("out"))
    return next_step(RunResult(options, ["ops"], [passed, *records], 1, {}, {}, kernels, "", 1.0))


def test_the_order() -> None:
    stand_ins = (kernel("add", "reference"), kernel("sum", "reference"), kernel("mul", "own"))
    stale = kernel("mul", "own", registration="refused", in_paddle_registry=False)
    why = "its signature is A, Paddle 3.3.1 calls it with B"
    stale |= {"refusal": why, "refusals": [why]}
    wrong = [record(f"ops/exp/float32/{i}", State.FAILED, "gate bound on out0: 7, limit 1") for i in range(2)]
    stopped = [record("workloads/llama/float32/pretrain", State.FAILED, STOPS)]
    lacking = [record("ops/tanh/float32/0", State.UNSUPPORTED, LACKS)]
    assert step(*wrong, *stopped, *lacking, kernels=(*stand_ins, stale)) == (
        "mend exp/float32 (ops): 2 cases failed; gate bound on out0: 7, limit 1"
    )
    assert step(*stopped, *lacking, kernels=(*stand_ins, stale)) == f"mend the signature of mul/float32: {why}"
    assert step(*stopped, *lacking, kernels=stand_ins) == (
        "write the kernel full/float64: 1 case of training and workloads stops there"
    )
    assert step(*lacking, kernels=stand_ins) == (
        "write the kernel tanh/float32: 1 case asked for it in vain, more than for any other"
    )
    assert step(kernels=stand_ins) == (
        "write a kernel of your own for add/float32: 7 calls of this run went to the SDK's stand-in, more than to any "
        "other"
    )
    assert step(kernels=(kernel("add", "own"),)) == ""


def test_nothing_executed_says_nothing() -> None:
    options = RunOptions("acme", ("ops",), "smoke", 0, Path("out"))
    idle = [record("ops/tanh/float32/0", State.NOT_RUN)]
    assert next_step(RunResult(options, ["ops"], idle, 1, {}, {}, [], "", 1.0)) == ""
