"""``junit.xml``: one test case a case, in one test suite a suite. What proves nothing counts as an error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from adapter_conform.cases import GateFigure, Record
from adapter_conform.report.summary import RunResult, of_suite
from adapter_conform.states import State

__all__ = ["describe_figure", "render_junit"]

_ELEMENTS = {
    State.FAILED: "failure",
    State.FELL_BACK: "failure",
    State.CRASHED: "error",
    State.HUNG: "error",
    State.VACUOUS: "error",
    State.UNSUPPORTED: "skipped",
    State.WAIVED: "skipped",
    State.NOT_RUN: "skipped",
}
_TOTALS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, e.g. the escape characters of coloured logs."""


def render_junit(result: RunResult) -> str:
    """The document as text."""
    root = ElementTree.Element("testsuites", {"name": "adapter-conform", **_totals(result.records)})
    root.set("time", f"{result.elapsed_s:.3f}")
    for name in result.suite_names:
        records = of_suite(result.records, name)
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name), **_totals(records)})
        suite.set("time", f"{sum(record.seconds for record in records):.3f}")
        suite.set("timestamp", result.started)
        for record in records:
            _add_case(suite, record)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ElementTree.Element, record: Record) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_clean(f"{record.suite}.{record.operator}"),
        name=_clean(record.id),
        time=f"{record.seconds:.3f}",
    )
    tag = _ELEMENTS.get(record.state)
    if tag is None:
        return
    first_line = record.message.strip().split("\n", 1)[0]
    note = ElementTree.SubElement(case, tag, type=record.state.value, message=_clean(first_line or record.state.value))
    note.text = _clean("\n".join([record.message, *map(describe_figure, record.errors), f"rerun: {record.repro}"]))


def describe_figure(figure: GateFigure) -> str:
    """One line on a gate: what was measured, what was allowed."""
    sign = "ok" if figure.passed else "OUTSIDE"
    note = f" ({figure.note})" if figure.note else ""
    return f"{figure.gate} on {figure.output}: {figure.value:.6g}, limit {figure.limit:.6g}: {sign}{note}"


def _totals(records: Iterable[Record]) -> dict[str, str]:
    tags = [_ELEMENTS.get(record.state, "") for record in records]
    return {"tests": str(len(tags)), **{name: str(tags.count(tag)) for name, tag in _TOTALS.items()}}


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
