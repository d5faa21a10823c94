"""A run from end to end: open, plan, execute, judge, write."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from adapter_conform.cases import Record
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.jsondata import compact
from adapter_conform.plan import LoadedSuite, Plan, PlannedCase, RunOptions, load_suites, make_plan, nearest_ids
from adapter_conform.report.folder import OutputFolder, RecordWriter
from adapter_conform.report.html import render_html
from adapter_conform.report.junit import render_junit
from adapter_conform.report.summary import RunResult, build_summary
from adapter_conform.report.terminal import ProgressView, print_outcome
from adapter_conform.repro import write_repros
from adapter_conform.states import ExitCode
from adapter_conform.supervisor import Interruption, PoolEnd, Supervisor
from adapter_conform.supervisor.describe import describe_host, describe_plugin
from adapter_conform.supervisor.probe import probe_plugin
from adapter_conform.waivers import WaiverBook, read_waivers

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["list_cases", "run"]


def list_cases(options: RunOptions) -> Plan:
    """The plan of a run, without running it.

    Raises:
        ConformError: see :func:`adapter_conform.plan.make_plan`; also when the plugin cannot be loaded.
    """
    suites = load_suites(options.suites)
    return make_plan(options, suites, _load_plugin(options, suites))


def run(options: RunOptions, console: Console) -> ExitCode:
    """Runs everything and writes the reports; what goes wrong with the plugin is part of the result.

    Raises:
        UsageProblem: the request is at fault; nothing has run.
    """
    suites = load_suites(options.suites)
    folder = OutputFolder(options.out)
    started, clock = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    try:  # Ctrl-C ends these at once: a plugin's hook may hang, and there is nothing to keep yet
        plugin = _load_plugin(options, suites)
        plan = make_plan(options, suites, plugin)
        book = WaiverBook(read_waivers(plugin.waivers), started.date())
        identity = describe_plugin(plugin)
    except UsageProblem:
        raise
    except ConformError as error:
        _prepare(folder, console)
        result = _nothing_planned(options, suites, str(error), started)
        _write(folder, result)
    else:
        _prepare(folder, console)
        _say_if_empty(options, suites, plugin, plan, console)
        with Interruption() as interruption:
            records, end = _execute(options, suites, plan, book, folder, interruption, console)
            if options.shrink:
                records = write_repros(options, plan.cases, records, folder, lambda: _interrupted(interruption))
            result = RunResult(
                options=options,
                suite_names=[loaded.suite.name for loaded in suites],
                records=records,
                available=plan.available,
                plugin=identity,
                environment={**describe_host(), **end.environment},
                kernels=end.kernels,
                started=started.isoformat(timespec="seconds"),
                elapsed_s=time.monotonic() - clock,
                waivers=[rule.describe() for rule in book.rules],
                # A run narrowed by -k cannot tell: the failure that a waiver admits may be outside of it.
                stale_waivers=[] if options.expression else [rule.describe() for rule in book.stale(records)],
                suspicions=end.suspicions,
                stopped=end.stopped,
                excluded=plan.excluded,
            )
            _write(folder, result)
    print_outcome(console, result, folder)
    return result.exit_code


def _load_plugin(options: RunOptions, suites: Sequence[LoadedSuite]) -> LoadedPlugin:
    provider = suites[0].session_provider
    if provider is not None:
        loaded: LoadedPlugin = provider.load_plugin(options.plugin)
        return loaded
    import adapter_sdk
    from adapter_sdk.errors import AdapterError, PluginNotFound

    probe_plugin(options.plugin)
    try:
        return adapter_sdk.load(options.plugin)
    except PluginNotFound as error:
        raise UsageProblem(str(error)) from error
    except AdapterError as error:
        raise ConformError(str(error)) from error


def _prepare(folder: OutputFolder, console: Console) -> None:
    moved = folder.prepare()
    if moved:
        names = ", ".join(path.name for path in moved)
        console.print(Text(f"{folder.root} holds an older run; its files are kept as {names}"), soft_wrap=True)


def _say_if_empty(
    options: RunOptions, suites: Sequence[LoadedSuite], plugin: LoadedPlugin, plan: Plan, console: Console
) -> None:
    if plan.cases or options.expression is None:
        return
    everything = make_plan(dataclasses.replace(options, expression=None), suites, plugin)
    near = nearest_ids(options.expression, [planned.case.id for planned in everything.cases])
    console.print(Text(f"-k {options.expression!r} selects none of {plan.available} cases."), soft_wrap=True)
    for case_id in near:
        console.print(Text(f"  close: {case_id}"), soft_wrap=True)


def _execute(
    options: RunOptions,
    suites: Sequence[LoadedSuite],
    plan: Plan,
    book: WaiverBook,
    folder: OutputFolder,
    interruption: Interruption,
    console: Console,
) -> tuple[list[Record], PoolEnd]:
    """Runs the plan; the records come back in its order."""
    found: dict[int, Record] = {}
    with RecordWriter(folder.records) as writer, ProgressView(console, len(plan.cases)) as view:

        def sink(planned: PlannedCase, record: Record) -> None:
            record = book.apply(record)
            found[planned.index] = record
            with _writing(folder):
                writer.write(record)
            view.add(record)

        end = Supervisor(
            plan.cases,
            sink,
            plugin=options.plugin,
            seed=options.seed,
            session_suite=suites[0].spec if suites[0].session_provider is not None else None,
            jobs=options.jobs,
            case_timeout=options.case_timeout,
            log_folder=folder.logs,
            interrupted=lambda: _interrupted(interruption),
            progress=view.tick,
        ).run()
    return [found[planned.index] for planned in plan.cases], end


def _interrupted(interruption: Interruption) -> str | None:
    return None if interruption.name is None else f"{interruption.name} (Ctrl-C or kill)"


def _nothing_planned(
    options: RunOptions, suites: Sequence[LoadedSuite], why: str, started: datetime.datetime
) -> RunResult:
    """The result of a run whose plugin cannot even be asked what it declares: nothing executed, inconclusive."""
    plugin: dict[str, Any] = {"name": options.plugin, "error": why}
    return RunResult(
        options=options,
        suite_names=[loaded.suite.name for loaded in suites],
        records=[],
        available=0,
        plugin=plugin,
        environment=describe_host(),
        kernels=[],
        started=started.isoformat(timespec="seconds"),
        elapsed_s=0.0,
        stopped=why,
    )


@contextmanager
def _writing(folder: OutputFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # no space, a vanished mount...
        raise ConformError(
            f"cannot write to {error.filename or folder.root}: {error.strerror or error}\n"
            f"What ran until then is in {folder.records}. Make room or give another --out, and run again."
        ) from error


def _write(folder: OutputFolder, result: RunResult) -> None:
    with _writing(folder):
        folder.write(folder.summary, compact(build_summary(result)) + "\n")
        folder.write(folder.junit, render_junit(result))
        folder.write(folder.html, render_html(result))
        if not folder.records.exists():
            folder.records.touch()
