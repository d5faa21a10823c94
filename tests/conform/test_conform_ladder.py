"""The ladder of adoption: own, reference, missing."""

from __future__ import annotations

from adapter_conform.cases import Record
from adapter_conform.report.ladder import ladder
from adapter_conform.report.summary import KernelRow
from adapter_conform.states import State


def row(operator: str, provenance: str, held: bool = True) -> KernelRow:
    return KernelRow(operator, "float32", True, "registered", "", held, 0, "", provenance)


def record(message: str, state: State = State.UNSUPPORTED) -> Record:
    return Record("ops/x", "ops", "x", "float32", state, "", [], 0.0, "", message=message)


def test_each_kernel_counts_once() -> None:
    rows = [row("relu", "own"), row("add", "reference"), row("add", "reference"), row("tanh", "own", held=False)]
    records = [
        record("softmax_grad/float32: not declared by plugin 'acme', and Paddle has none registered"),
        record("the forward call passed; softmax_grad/float32: not declared by plugin 'acme'"),
        record("relu/float32: its signature is another release's"),
        record("erf/bfloat16: broken", State.FAILED),
    ]
    found = ladder(rows, records)
    assert (found.own, found.reference, found.missing) == (1, 1, 1)
    assert "1 own, 1 reference, 1 missing" in found.line()
    assert "never count towards a certificate" in found.line()


def test_nothing_is_no_fault() -> None:
    assert ladder([], []).line() == "ladder: [] 0 own, 0 reference, 0 missing in this run"
