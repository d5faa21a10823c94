"""The files that a run leaves: their shape, their size, and that nothing in them can do harm."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from adapter_conform.cases import GateFigure, Record
from adapter_conform.plan import RunOptions
from adapter_conform.report import RunResult, render_html, render_junit
from adapter_conform.report.chart import error_chart, error_ratio
from adapter_conform.report.html import coverage
from adapter_conform.report.summary import build_summary, kernel_rows
from adapter_conform.states import State
from adapter_conform.tracing.gaps import lacking_in
from conform_harness import Conform, Finished

OPERATORS = [f"operator_{number}" for number in range(80)]
DTYPES = ["float32", "int64", "bool"]
OPTIONS = RunOptions("fake", ("ops",), "standard", 0, Path("out"))


def result_of(records: list[Record], **changes: object) -> RunResult:
    values = {
        "options": OPTIONS,
        "suite_names": ["ops"],
        "records": records,
        "available": len(records),
        "plugin": {"name": "fake", "device": {"cards": 2, "peaks": []}},
        "environment": {"python": "3.11", "packages": {"numpy": "1.26"}},
        "kernels": [],
        "started": "2030-01-01T00:00:00+00:00",
        "elapsed_s": 1.5,
        **changes,
    }
    return RunResult(**values)  # type: ignore[arg-type]


def many_records(number: int, message: str = "") -> list[Record]:
    states = list(State)
    records = []
    for index in range(number):
        operator, dtype = OPERATORS[index % 80], DTYPES[index % 3]
        case_id = f"ops/{operator}/{dtype}/shape [2, 3, {index}]"
        state = states[index % 9] if index % 10 == 0 else State.PASSED
        figures = [
            GateFigure("derived bound", "out0", 1.234567e-7 * (index + 1), 1e-5, index < 80),
            GateFigure("worst element", "out0", 0.0, 0.0, True, note="bit for bit"),
        ]
        details = {"kernels": {f"{operator}/{dtype}": 1}, "shape": [2, 3, index]}
        records.append(
            Record(
                case_id,
                "ops",
                operator,
                dtype,
                state,
                "fake:0",
                figures,
                0.01,
                OPTIONS.repro("ops", case_id),
                message,
                details,
            )
        )
    return records


class Structure(HTMLParser):
    """Checks that elements are closed in order, and collects attributes and script texts."""

    VOID = frozenset({"meta", "input", "br", "link", "img", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def parsed(page: str) -> Structure:
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    assert len(set(structure.ids)) == len(structure.ids)
    return structure


def test_page_fetches_nothing() -> None:
    page = render_html(result_of(many_records(50)))
    structure = parsed(page)
    assert "http://" not in page
    assert "https://" not in page
    for tag, name, value in structure.attributes:
        assert name not in ("src", "srcset", "action", "background", "poster"), (tag, name, value)
        if name in ("href", "xlink:href"):
            assert value.startswith("#"), (tag, value)
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|import\(", page)


@pytest.mark.parametrize(
    ("number", "message"),
    [(5000, "a message of a usual length, with a number or two in it: 1e-5"), (22000, "x" * 3000)],
)
def test_page_of_many_cases_stays_small(number: int, message: str) -> None:
    page = render_html(result_of(many_records(number, message)))
    assert len(page.encode()) < 10 << 20
    data = json.loads(parsed(page).scripts[0])
    assert len(data["rows"]) == number, "no case is left out"


def test_page_data_gives_every_case_back() -> None:
    records = many_records(30)
    data = json.loads(parsed(render_html(result_of(records))).scripts[0])
    names = data["names"]
    assert data["complete"]
    for row, record in zip(data["rows"], records, strict=True):
        assert row[0] == record.id
        assert [names[index] for index in row[1:6]] == ["ops", record.operator, record.dtype, record.state, "fake:0"]
        assert row[7][0][2] == pytest.approx(record.errors[0].value, rel=1e-5)
        assert data["repro"]["ops"] + "'" + record.id + "'" == record.repro


def test_hostile_words_stay_words() -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x00"
    record = Record(
        evil, "ops", evil, evil, State.FAILED, evil, [GateFigure(evil, evil, 2, 1, False, evil)], 0.1, evil, evil
    )
    result = result_of([record], stopped=evil, suspicions=[evil], plugin={"name": evil})
    structure = parsed(render_html(result))
    assert len(structure.scripts) == 2, "the data and our own script"
    assert not [name for _, name, _ in structure.attributes if name == "onerror"]
    root = ElementTree.fromstring(render_junit(result))
    assert root.find(".//failure") is not None


def test_first_page_has_verdict_counts_and_matrix_in_order() -> None:
    page = render_html(result_of(many_records(500)))
    places = [
        page.index(words)
        for words in ("not conformant", "Plugin</h2>", "Operators by data type", "Failures (", "All cases")
    ]
    assert places == sorted(places)
    assert 'title="operator_0 float32: ' in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_empty_run_has_a_page_too() -> None:
    page = render_html(result_of([], stopped="the plugin cannot be loaded"))
    parsed(page)
    assert "inconclusive" in page
    assert "the plugin cannot be loaded" in page


def test_junit_counts_agree_with_states() -> None:
    records = many_records(900)
    suite = ElementTree.fromstring(render_junit(result_of(records))).find("testsuite")
    assert suite is not None
    states = [record.state for record in records]
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) == 900
    assert int(suite.attrib["failures"]) == states.count(State.FAILED) + states.count(State.FELL_BACK)
    open_or_dead = (State.CRASHED, State.HUNG, State.VACUOUS)
    assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error")) == sum(map(states.count, open_or_dead))
    unproved = (State.UNSUPPORTED, State.WAIVED, State.NOT_RUN)
    assert int(suite.attrib["skipped"]) == sum(map(states.count, unproved))


@pytest.fixture
def mixed(conform: Conform) -> Finished:
    return conform("pass:3,fail,crash,planned-out,unproven")


def test_results_json_has_what_is_promised(mixed: Finished) -> None:
    summary = mixed.summary
    promised = {"verdict", "planned", "executed", "counts", "plugin", "environment", "seed", "elapsed_s", "suites"}
    assert promised <= summary.keys()
    assert set(summary["counts"]) == {state.value for state in State}
    assert summary["planned"] == sum(summary["counts"].values()) == len(mixed.records)
    assert summary["suites"] == ["fake"]
    assert summary["by_suite"]["fake"] == summary["counts"]
    assert summary["plugin"]["device"]["cards"] == 1
    assert summary["environment"]["device"] == "fake:0"


def test_records_have_what_is_promised(mixed: Finished) -> None:
    promised = {"id", "suite", "operator", "dtype", "state", "executed_on", "errors", "seconds", "repro"}
    for record in mixed.records:
        assert promised <= record.keys()
        assert Record.from_json(record).id == record["id"]
    text = (mixed.out / "results.jsonl").read_text()
    assert "NaN" not in text.replace('"nan"', "")
    assert "Infinity" not in text


def test_declared_registered_and_executed_are_told_apart(mixed: Finished) -> None:
    kernels = mixed.summary["kernels"]
    assert (kernels["declared"], kernels["registered"], kernels["executed"]) == (3, 2, 3)
    rows = {row["operator"]: row for row in kernels["rows"]}
    assert rows["add"]["registration"] == "refused"
    assert rows["add"]["refusal"] == "signature differs"
    assert not rows["add"]["in_paddle_registry"]
    assert rows["matmul"]["calls"] == 2


def test_executed_kernels_that_nobody_declared_are_listed() -> None:
    kernels = [{"operator": "operator_0", "dtype": "float32", "registration": "registered", "refusal": None,
                "refusals": [], "accumulator": "float32", "provenance": "own", "in_paddle_registry": True}]  # fmt: skip
    rows = build_summary(result_of(many_records(2), kernels=kernels))["kernels"]["rows"]
    assert [(row["operator"], row["declared"], row["calls"]) for row in rows] == [
        ("operator_0", True, 1),
        ("operator_1", False, 1),
    ]


def test_suspicions_forbid_conformance() -> None:
    passed = [record for record in many_records(20) if record.state is State.PASSED]
    assert result_of(passed).verdict == "conformant"
    assert result_of(passed, suspicions=["worker 1 died of SIGSEGV"]).verdict == "inconclusive"
    assert result_of(passed, stopped="SIGINT").verdict == "inconclusive"
    assert result_of(passed, stale_waivers=["waiver for add"]).verdict == "not conformant"


@pytest.mark.parametrize(
    ("value", "limit", "ratio"),
    [(1.0, 2.0, 0.5), (0.0, 0.0, 0.0), (1.0, 0.0, float("inf")), (float("nan"), 1.0, float("inf")), (-1.0, 2.0, 0.0)],
)
def test_error_ratio(value: float, limit: float, ratio: float) -> None:
    assert error_ratio(GateFigure("g", "o", value, limit, True)) == ratio


def test_chart_orders_operators_by_their_worst_error() -> None:
    chart = error_chart(many_records(300))
    worst = [row.worst for row in chart.rows]
    assert worst == sorted(worst, reverse=True)
    assert {row.operator for row in chart.rows} == set(OPERATORS)
    for row in chart.rows:
        assert 0 <= row.low_at <= row.median_at <= row.worst_at <= 100
        assert (row.worst_at > chart.limit_at) == (row.worst > 1)


def _of_one(ratios: list[float]) -> list[Record]:
    figures = [GateFigure("bound", f"out{n}", ratio, 1.0, ratio <= 1) for n, ratio in enumerate(ratios)]
    extra = [GateFigure("form", "out0", 0.0, 0.0, True), GateFigure("max_abs", "out0", 3.0, float("inf"), True)]
    return [Record("ops/add/x", "ops", "add", "float32", State.PASSED, "fake:0", [*figures, *extra], 0.1, "again")]


def test_the_distribution_is_that_of_figures_with_a_limit() -> None:
    """Eight errors over four decades, a half decade each: exact gates and figures for information do not count."""
    (row,) = error_chart(_of_one([0.0002, 0.0002, 0.002, 0.02, 0.02, 0.02, 0.2, 0.5])).rows
    assert row.count == 8
    assert sum(bar.count for bar in row.bars) == 8
    assert [bar.count for bar in row.bars] == [2, 1, 3, 1, 1]
    assert max(bar.height for bar in row.bars) == 100
    assert row.low_at < row.quarter_at < row.median_at <= row.three_quarters_at < row.worst_at
    assert row.worst == 0.5


def test_what_is_exact_has_its_worst_alone() -> None:
    (row,) = error_chart(_of_one([])).rows
    assert (row.worst, row.worst_at, row.count) == (0.0, 0.0, 1)


def test_figures_that_are_not_finite_are_drawn_at_the_end() -> None:
    (row,) = error_chart(_of_one([0.1, float("inf"), float("nan")])).rows
    assert row.worst_at == 100
    assert sum(bar.count for bar in row.bars) == 3


def _kernel(operator: str, dtype: str, in_registry: bool = True) -> dict[str, object]:
    return {"operator": operator, "dtype": dtype, "registration": "registered" if in_registry else "refused",
            "refusal": None, "refusals": [], "accumulator": "float32", "provenance": "own",
            "in_paddle_registry": in_registry}  # fmt: skip


def test_coverage_counts_kernels_and_lists_those_that_never_ran() -> None:
    kernels = [_kernel("operator_0", "float32"), _kernel("diag", "float16"), _kernel("diag", "float32")]
    result = result_of(many_records(2), kernels=[*kernels, _kernel("svd", "float32", in_registry=False)])
    found = coverage(kernel_rows(result))
    assert (found.declared, found.registered, found.executed) == (4, 3, 1)
    assert found.never == [("diag", ["float16", "float32"])]
    page = render_html(result)
    assert "Registered and never executed in this run: 2 kernels of 1 operators" in page
    assert "float16, float32" in page


def test_what_cases_asked_for_in_vain_is_what_to_write_next() -> None:
    records = [
        Record(f"replay/{name}/{n}", "replay", name, "float32", State.UNSUPPORTED, "", [], 0.0, "again", "no kernel")
        for name, count in (("kron", 3), ("diag", 5), ("add", 1))
        for n in range(count)
    ]
    assert lacking_in(records, [_kernel("add", "float32")]) == [("diag", "float32", 5), ("kron", "float32", 3)]
    assert "What to write next: 2 kernels" in render_html(result_of(records, kernels=[_kernel("add", "float32")]))


def test_cases_can_be_filtered_by_state_operator_and_dtype() -> None:
    page = render_html(result_of(many_records(90)))
    for name, first in (("state", "all states"), ("operator", "all operators"), ("dtype", "all data types")):
        assert re.search(rf'<select id="{name}"[^>]*><option value="">{first}</option>', page)
    assert "<option>operator_79</option>" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_facts_in_words() -> None:
    device = {"memory_bytes": [4 << 30, 4 << 30], "contract": [1, 1], "device_type": "fake", "peaks": []}
    page = render_html(result_of([], plugin={"device": device}, elapsed_s=7261.4))
    for name, words in (("device memory", "2 x 4 GiB"), ("device contract", "1, 1"), ("device type", "fake")):
        assert f"<dt>{name}</dt><dd>{words}</dd>" in page
    assert "executed in 2 h 1 min." in page
