"""``report.html``: one file that opens anywhere, offline.

The first page and everything that is short is plain HTML; the cases travel as compact JSON and are drawn on demand,
so that a run of 20,000 cases stays small and quick to open.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from adapter_conform.bare.target import Target
from adapter_conform.cases import Record
from adapter_conform.jsondata import compact, jsonable
from adapter_conform.report.chart import error_chart, error_ratio
from adapter_conform.report.curves import loss_charts
from adapter_conform.report.ladder import ladder
from adapter_conform.report.lines import abbreviated
from adapter_conform.report.next_step import next_step
from adapter_conform.report.promises import notices, promise_rows
from adapter_conform.report.summary import KernelRow, RunResult, kernel_rows
from adapter_conform.states import BAD, State, Verdict
from adapter_conform.tracing.gaps import lacking_in

__all__ = ["LETTERS", "render_html"]

LETTERS = {
    State.FAILED: "F",
    State.CRASHED: "C",
    State.HUNG: "H",
    State.FELL_BACK: "B",
    State.VACUOUS: "V",
    State.NOT_RUN: "N",
    State.WAIVED: "W",
    State.UNSUPPORTED: "U",
    State.PASSED: "P",
}
"""One letter a state, worst first: a cell of the matrix takes the colour of the first one present."""

_SEVERITY = {state: rank for rank, state in enumerate(LETTERS)}
_MAX_FAILURES = 60
_MAX_SLOWEST = 20
_MAX_REASONS = 300
_MAX_NOTICES = 20
_MAX_CURVES = 12
_DATA_BUDGET = 8 << 20
"""Bytes of case data; 10 MiB for the whole page."""
_MEANING = {
    Verdict.CONFORMANT: "Every planned case passed, or is covered by a waiver or declared unsupported.",
    Verdict.NOT_CONFORMANT: "At least one case failed, crashed, hung or fell back, a waiver is stale, or the plugin's "
    "table contradicts Paddle's registry.",
    Verdict.INCONCLUSIVE: "Nothing failed, but conformance is not proved: see what was not run or proved nothing.",
}


@dataclass(frozen=True)
class Cell:
    """The cases of one operator and dtype."""

    operator: str
    dtype: str
    counts: dict[State, int]

    @property
    def worst(self) -> State:
        return min(self.counts, key=_SEVERITY.__getitem__)

    @property
    def text(self) -> str:
        return " ".join(f"{LETTERS[state]}{number}" for state, number in self.ordered)

    @property
    def title(self) -> str:
        parts = ", ".join(f"{number} {state.value}" for state, number in self.ordered)
        return f"{self.operator} {self.dtype}: {parts}"

    @property
    def ordered(self) -> list[tuple[State, int]]:
        return sorted(self.counts.items(), key=lambda item: _SEVERITY[item[0]])


@dataclass(frozen=True)
class Detail:
    """How much of each record goes into the page; a level is given up when the page would be too large."""

    message: int
    log: int
    passed_figures: bool = True
    passed_details: bool = True


_LEVELS = (
    Detail(message=4000, log=6000),
    Detail(message=1000, log=2000, passed_details=False),
    Detail(message=300, log=600, passed_figures=False, passed_details=False),
    Detail(message=80, log=0, passed_figures=False, passed_details=False),
)


def render_html(result: RunResult) -> str:
    """The whole page as text."""
    records = result.records
    operators, dtypes = _matrix(records)
    kernels = kernel_rows(result)
    bad = [record for record in records if record.state in BAD]
    return _template().render(
        result=result,
        options=result.options,
        verdict=result.verdict.value,
        verdict_class=result.verdict.value.replace(" ", "-"),
        meaning=_MEANING[result.verdict],
        letters=LETTERS,
        counts=result.counts,
        operators=operators,
        dtypes=dtypes,
        failures=bad[:_MAX_FAILURES],
        failures_total=len(bad),
        slowest=sorted(records, key=lambda record: -record.seconds)[:_MAX_SLOWEST],
        not_run=_reasons(records),
        kernels=kernels,
        coverage=coverage(kernels),
        name=Target.of(result.options.plugin).name,
        next_step=next_step(result),
        ladder=ladder(kernels, records),
        lacking=lacking_in(records, result.kernels)[:_MAX_REASONS],
        refused=[(row, text) for row in kernels for text in row.refusals],
        contradictions=result.contradictions[:_MAX_NOTICES],
        notices=notices(records)[:_MAX_NOTICES],
        promises=promise_rows(records),
        chart=error_chart(records),
        curves=loss_charts(records)[:_MAX_CURVES],
        facts=list(_facts("", {**result.plugin})),
        surroundings=list(_facts("", {**result.environment})),
        data=_embed(result),
    )


@dataclass(frozen=True)
class Coverage:
    """How many kernels got how far, and which never ran, by operator."""

    declared: int
    registered: int
    executed: int
    never: list[tuple[str, list[str]]]


def coverage(rows: Sequence[KernelRow]) -> Coverage:
    """Kernels are pairs of operator and dtype, however many rows name them."""
    declared = {(row.operator, row.dtype) for row in rows if row.declared}
    registered = {(row.operator, row.dtype) for row in rows if row.declared and row.in_paddle_registry}
    executed = {(row.operator, row.dtype) for row in rows if row.declared and row.calls}
    never: dict[str, list[str]] = defaultdict(list)
    for operator, dtype in sorted(registered - executed):
        never[operator].append(dtype)
    return Coverage(len(declared), len(registered), len(executed), sorted(never.items()))


@cache
def _template() -> jinja2.Template:
    folder = resources.files(__package__) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["abbreviated"] = abbreviated
    environment.filters["ratio"] = error_ratio
    environment.filters["figure"] = lambda value: f"{value:.4g}"
    environment.filters["limit"] = lambda limit: "none" if limit == math.inf else f"{limit:.4g}"
    environment.filters["duration"] = duration
    environment.globals["infinite"] = math.inf
    environment.filters["breakable"] = _breakable
    return environment.get_template("report.html.j2")


def duration(seconds: float) -> str:
    """``seconds`` as a person says it: "12.3 s", "4 min 10 s", "2 h 1 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _breakable(name: str) -> Markup:
    """``name`` that a narrow column may break behind an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def _matrix(records: Sequence[Record]) -> tuple[list[tuple[str, dict[str, Cell]]], list[str]]:
    """Operators with their cells by dtype, those in trouble first, and all dtypes."""
    found: dict[str, dict[str, Counter[State]]] = defaultdict(lambda: defaultdict(Counter))
    for record in records:
        found[record.operator][record.dtype][record.state] += 1
    rows = [
        (operator, {dtype: Cell(operator, dtype, dict(counts)) for dtype, counts in by_dtype.items()})
        for operator, by_dtype in found.items()
    ]
    rows.sort(key=lambda row: (min(_SEVERITY[cell.worst] for cell in row[1].values()), row[0]))
    return rows, sorted({record.dtype for record in records})


def _reasons(records: Sequence[Record]) -> list[tuple[str, str, int, str]]:
    """What was not run, is unsupported or proved nothing: state, reason, number of cases, an example; largest first."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record.state in (State.NOT_RUN, State.UNSUPPORTED, State.VACUOUS):
            reason = record.message.strip().split("\n", 1)[0] or "no reason given"
            groups[(record.state.value, reason)].append(record.id)
    rows = sorted(((*key, len(ids), ids[0]) for key, ids in groups.items()), key=lambda group: -group[2])
    return rows[:_MAX_REASONS]


def _facts(prefix: str, data: dict[str, Any]) -> list[tuple[str, str]]:
    """Nested data as flat pairs of words."""
    facts: list[tuple[str, str]] = []
    for key, value in data.items():
        name = (key if key.startswith(f"{prefix}_") else f"{prefix} {key}").strip().replace("_", " ")
        if isinstance(value, dict):
            facts += _facts(name, value)
        elif value not in (None, "", []):
            facts.append((name.removesuffix(" bytes"), _words(value, in_bytes=key.endswith("_bytes"))))
    return facts


def _words(value: Any, in_bytes: bool) -> str:
    if isinstance(value, list):
        words = [_words(item, in_bytes) for item in value]
        alike = in_bytes and len(set(words)) == 1 < len(words)  # the memory of cards
        return f"{len(words)} x {words[0]}" if alike else ", ".join(words)
    if isinstance(value, dict):
        return " ".join(f"{key} {_words(item, key.endswith('_bytes'))}" for key, item in value.items())
    if in_bytes and isinstance(value, int):
        return f"{value / 2**30:.4g} GiB"
    return str(value)


def _embed(result: RunResult) -> Markup:
    """The cases as JSON for a script element, as complete as the page's budget allows."""
    for level in _LEVELS:
        text = compact(_case_data(result, level))
        if len(text.encode()) <= _DATA_BUDGET:
            break
    return Markup(text.replace("<", "\\u003c"))  # nothing in it can end the script element


def _case_data(result: RunResult, level: Detail) -> dict[str, Any]:
    names = _Names()
    prefixes = {record.suite: record.repro.removesuffix(shlex.quote(record.id)) for record in result.records}
    rows = []
    for record in result.records:
        usual = record.repro == prefixes[record.suite] + shlex.quote(record.id)
        rows.append(
            [
                record.id,
                names.index(record.suite),
                names.index(record.operator),
                names.index(record.dtype),
                names.index(record.state.value),
                names.index(record.executed_on),
                record.seconds,
                _figures(record, level, names),
                record.message[: level.message],
                _details(record, level),
                0 if usual else record.repro,
            ]
        )
    return {
        "names": names.table,
        "letters": {state.value: letter for state, letter in LETTERS.items()},
        "repro": prefixes,
        "complete": level is _LEVELS[0],
        "rows": rows,
    }


def _figures(record: Record, level: Detail, names: _Names) -> list[Any]:
    if record.state is State.PASSED and not level.passed_figures:
        return []
    return [
        [
            names.index(figure.gate),
            names.index(figure.output),
            jsonable(_short(figure.value)),
            jsonable(_short(figure.limit)),
            int(figure.passed),
            figure.note,
        ]
        for figure in record.errors
    ]


def _details(record: Record, level: Detail) -> Any:
    if not record.details or (record.state is State.PASSED and not level.passed_details):
        return 0
    short = {}
    for key, value in record.details.items():
        text = value if isinstance(value, str) else compact(jsonable(value))
        if level.log:
            short[key] = text[-level.log :]
    return short or 0


def _short(value: float) -> float:
    return float(f"{value:.6g}")


class _Names:
    """Strings that come again and again, each stored once."""

    def __init__(self) -> None:
        self.table: list[str] = []
        self._places: dict[str, int] = {}

    def index(self, name: str) -> int:
        place = self._places.setdefault(name, len(self.table))
        if place == len(self.table):
            self.table.append(name)
        return place
