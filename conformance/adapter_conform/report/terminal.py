"""What a person sees: progress while the run goes on, and its outcome at the end."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from adapter_conform.bare.target import Target
from adapter_conform.cases import Record
from adapter_conform.errors import ConformError
from adapter_conform.report.folder import OutputFolder
from adapter_conform.report.junit import describe_figure
from adapter_conform.report.ladder import ladder
from adapter_conform.report.next_step import next_step
from adapter_conform.report.promises import notices, promise_rows, sentence
from adapter_conform.report.summary import KernelRow, RunResult, build_summary, count_states, kernel_rows, of_suite
from adapter_conform.states import BAD, State, Verdict

__all__ = ["ProgressView", "print_outcome"]

_LINE_SECONDS = 10.0
"""Between two progress lines where the output is not a terminal."""
_MAX_FAILURES = 10
_MAX_REASONS = 5
_MAX_CONTRADICTIONS = 5
_STYLES = {Verdict.CONFORMANT: "bold green", Verdict.NOT_CONFORMANT: "bold red", Verdict.INCONCLUSIVE: "bold yellow"}


class ProgressView:
    """Counts records as they come: a live bar on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, planned: int) -> None:
        self._console = console
        self._planned = planned
        self._counts: Counter[State] = Counter()
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True)
            self._task = self._bar.add_task("starting workers", total=planned)

    def __enter__(self) -> ProgressView:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, record: Record) -> None:
        self._counts[record.state] += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=self._states())

    def tick(self) -> None:
        """Prints a line where there is no bar and the last line is old enough."""
        now = time.monotonic()
        if self._bar is None and now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            elapsed, done = now - self._started, sum(self._counts.values())
            left = f", about {elapsed / done * (self._planned - done):.0f} s left" if done else ""
            with contextlib.suppress(OSError):  # no reason to end the run; printing the outcome will say so
                self._console.out(f"[{done}/{self._planned}] {self._states()}, {elapsed:.0f} s{left}", highlight=False)

    def _states(self) -> str:
        return (
            ", ".join(f"{self._counts[state]} {state.value}" for state in State if self._counts[state])
            or "no result yet"
        )


def print_outcome(console: Console, result: RunResult, folder: OutputFolder) -> None:
    """Verdict, counts by suite, first failures with the command that reruns each, and where the report lies.

    Raises:
        ConformError: the terminal, or the file in its place, takes no more; a verdict that nobody sees is no success.
    """
    try:
        _print_outcome(console, result, folder)
    except OSError as error:
        raise ConformError(
            f"cannot print the verdict: {error.strerror or error}\nIt stands in {folder.summary}."
        ) from error


def _print_outcome(console: Console, result: RunResult, folder: OutputFolder) -> None:
    if step := next_step(result):
        console.print(_shown(f"next: {step}"), soft_wrap=True)
    console.print(_table(result))
    _print_failures(console, [record for record in result.records if record.state in BAD], folder)
    _print_reasons(console, [record for record in result.records if record.state in (State.NOT_RUN, State.VACUOUS)])
    if result.options.expression is None:  # a run narrowed by hand is about what it names
        for suite, reasons in result.excluded.items():
            _print_excluded(console, suite, reasons)
    for line in (
        *result.suspicions,
        *result.replacements[:_MAX_REASONS],
        *(f"stale {text}: it covered no failure; remove it" for text in result.stale_waivers),
        *(f"notice: {notice.text} ({notice.case_id})" for notice in notices(result.records)[:_MAX_REASONS]),
    ):
        console.print(_shown(line, style="yellow"), soft_wrap=True)
    _print_contradictions(console, result.contradictions)
    if result.stopped is not None:
        console.print(_shown(f"The run was stopped: {result.stopped}", style="yellow"), soft_wrap=True)
    verdict = Text(f"{Target.of(result.options.plugin).name}: {result.headline}", style=_STYLES[result.verdict])
    verdict.append(f"  ({result.executed} of {len(result.records)} planned cases executed", style="not bold")
    if len(result.records) < result.available:
        verdict.append(f" of {result.available} in these suites", style="not bold")
    if result.kernels:
        kernels = build_summary(result)["kernels"]
        counts = f"{kernels['declared']} declared, {kernels['registered']} registered, {kernels['executed']} executed"
        console.print(_shown(f"kernels: {counts} in this run"), soft_wrap=True)
        console.print(_shown(ladder(kernel_rows(result), result.records).line()), soft_wrap=True)
    if promises := promise_rows(result.records):
        console.print(_shown(sentence(promises)), soft_wrap=True)
    verdict.append(f", {result.elapsed_s:.1f} s, exit code {int(result.exit_code)})", style="not bold")
    console.print(verdict, soft_wrap=True)
    console.print(_shown(f"report: {folder.html}"), soft_wrap=True)


def _table(result: RunResult) -> Table:
    """States by suites: few suites and many states fit a narrow terminal this way round."""
    table = Table("", *result.suite_names, "all")
    columns = [count_states(of_suite(result.records, name)) for name in result.suite_names] + [result.counts]
    for state in State:
        if result.counts[state]:
            table.add_row(state.value, *(str(counts[state]) for counts in columns))
    table.add_section()
    table.add_row("planned", *(str(sum(counts.values())) for counts in columns))
    return table


def _print_excluded(console: Console, suite: str, reasons: Mapping[str, Sequence[int]]) -> None:
    """What the suite could not plan; the rest of the reasons, and the line numbers, are in the report."""
    if not reasons:
        return
    total = sum(len(lines) for lines in reasons.values())
    table = Table(title=f"{suite}: {total} lines not planned", title_justify="left", box=None, padding=(0, 1))
    table.add_column("lines", justify="right")
    table.add_column("why", overflow="fold")
    for reason, lines in list(reasons.items())[:_MAX_REASONS]:
        table.add_row(str(len(lines)), _shown(reason))
    if len(reasons) > _MAX_REASONS:
        left = sum(len(lines) for lines in list(reasons.values())[_MAX_REASONS:])
        table.add_row(str(left), f"{len(reasons) - _MAX_REASONS} other reasons, all in the report")
    console.print(table)


def _print_contradictions(console: Console, found: Sequence[KernelRow]) -> None:
    for row in found[:_MAX_CONTRADICTIONS]:
        console.print(_shown(f"contradiction: {row.contradiction}", style="red"), soft_wrap=True)
    if len(found) > _MAX_CONTRADICTIONS:
        console.print(_shown(f"... and {len(found) - _MAX_CONTRADICTIONS} other contradictions, all in the report"))


def _shown(words: str, style: str = "") -> Text:
    """Text as it may go to a terminal: without the control characters that a plugin's messages may carry."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in words), style=style)


def _print_failures(console: Console, bad: Sequence[Record], folder: OutputFolder) -> None:
    """One of each kind, since a single defect may fail thousands of cases."""
    kinds: dict[tuple[State, str, str], list[Record]] = {}
    for record in bad:
        kinds.setdefault((record.state, record.operator, record.dtype), []).append(record)
    for record, *others in list(kinds.values())[:_MAX_FAILURES]:
        console.print(_shown(f"{record.state.value} {record.id}", style="red"), soft_wrap=True)
        for line in record.message.strip().splitlines()[:3]:
            console.print(_shown(f"  {line}"), soft_wrap=True)
        for figure in record.errors:
            if not figure.passed:
                console.print(_shown(f"  {describe_figure(figure)}"), soft_wrap=True)
        console.print(_shown(f"  rerun: {record.repro}"), soft_wrap=True)
        if file := record.details.get("repro", {}).get("file"):
            console.print(_shown(f"  smallest, on its own: {folder.root / file}"), soft_wrap=True)
        if others:
            kind = f"{record.operator} {record.dtype}".rstrip()
            console.print(_shown(f"  {len(others)} other cases of {kind} {record.state.value} too"), soft_wrap=True)
    left = list(kinds.values())[_MAX_FAILURES:]
    if left:
        console.print(_shown(f"... and {sum(map(len, left))} more of {len(left)} other kinds, all in the report"))


def _print_reasons(console: Console, records: Sequence[Record]) -> None:
    reasons = Counter((record.state, record.message.strip().split("\n", 1)[0]) for record in records)
    for (state, reason), number in reasons.most_common(_MAX_REASONS):
        console.print(_shown(f"{number} {state.value}: {reason}"), soft_wrap=True)
    if len(reasons) > _MAX_REASONS:
        console.print(_shown(f"... and {len(reasons) - _MAX_REASONS} other reasons, all in the report"))
