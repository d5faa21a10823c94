"""A run from end to end: open, plan, execute, judge, write; anew, or where an earlier session of it ended."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from adapter_conform.appending import drop_torn_line
from adapter_conform.bare.target import Target
from adapter_conform.conduct import Job, conduct
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.journal import Story, read_story
from adapter_conform.jsondata import compact
from adapter_conform.manifest import Manifest, library_digest, read_manifest
from adapter_conform.plan import LoadedSuite, Plan, RunOptions, load_suites, make_plan, narrowed_by, nearest_ids
from adapter_conform.report.folder import OutputFolder
from adapter_conform.report.summary import RunResult
from adapter_conform.report.terminal import print_outcome
from adapter_conform.results import read_records, write_reports, writing
from adapter_conform.states import ExitCode
from adapter_conform.supervisor.describe import describe_host, describe_plugin
from adapter_conform.supervisor.probe import probe_plugin
from adapter_conform.supervisor.records import is_pending
from adapter_conform.waivers import read_waivers

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["list_cases", "resume", "run"]


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
        ConformError: the files cannot be written; what was measured is in them.
    """
    suites = load_suites(options.suites)
    folder = OutputFolder(options.out)
    clock, started = time.monotonic(), datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    try:  # Ctrl-C ends these at once: a plugin's hook may hang, and there is nothing to keep yet
        plugin = _load_plugin(options, suites)
        plan = make_plan(options, suites, plugin)
        manifest = _manifest(options, suites, plugin, plan, started)
    except UsageProblem:
        raise
    except ConformError as error:
        _prepare(folder, console)
        result = _nothing_planned(options, suites, str(error), started)
        write_reports(folder, result)
        print_outcome(console, result, folder)
        return result.exit_code
    _prepare(folder, console)
    _say_misfits(plugin, console)
    _say_if_empty(options, suites, plugin, plan, console)
    with writing(folder):
        folder.write(folder.manifest, compact(manifest.to_json()) + "\n")
    return conduct(Job(manifest, options, suites, plan, folder, clock), console)


def resume(root: Path, jobs: int, time_budget: float | None, console: Console) -> ExitCode:
    """Goes on with the run in ``root``: cases with a record are kept, all others are run.

    Raises:
        UsageProblem: there is no such run, it is still at work, or what it would run now is something else.
        ConformError: the plugin cannot be loaded, or the files cannot be written.
    """
    clock = time.monotonic()
    folder = OutputFolder(root)
    folder.reopen()
    manifest = read_manifest(folder.manifest)
    options = manifest.options(root, jobs=jobs, time_budget=time_budget)
    if options.replay is not None and not options.replay.is_file():
        raise UsageProblem(
            f"--resume {root}: its replay file {options.replay} is not here; resume where the run was started"
        )
    suites = load_suites(options.suites)
    plugin = _load_plugin(options, suites)
    plan = make_plan(options, suites, plugin)
    _check_same(root, manifest, _manifest(options, suites, plugin, plan, manifest.started))
    story = read_story(folder.journal)
    found = read_records(folder, [planned.case.id for planned in plan.cases])
    kept = {case_id: record for case_id, record in found.items() if not is_pending(record)}
    story.elapsed_s = max(story.elapsed_s, _seconds_until_last_record(folder, story))
    with writing(folder):
        drop_torn_line(folder.journal)
        if len(kept) < len(found):  # those put off would have two records
            folder.write(folder.records, "".join(compact(record.to_json()) + "\n" for record in kept.values()))
        else:
            drop_torn_line(folder.records)
    words = f"{len(kept)} of {len(plan.cases)} cases have a record; {len(plan.cases) - len(kept)} are left"
    console.print(Text(f"resuming {root}: {words}"), soft_wrap=True)
    return conduct(Job(manifest, options, suites, plan, folder, clock, kept, story), console)


def _manifest(
    options: RunOptions, suites: Sequence[LoadedSuite], plugin: LoadedPlugin, plan: Plan, started: str
) -> Manifest:
    return Manifest.of(
        options,
        suites,
        plan,
        plugin=describe_plugin(plugin),
        library_sha256=library_digest(plugin),
        host=describe_host(),
        waivers=read_waivers(plugin.waivers),
        started=started,
    )


def _check_same(root: Path, then: Manifest, now: Manifest) -> None:
    differences = list(then.differences(now))
    if differences:
        listing = "\n".join(f"  {words}" for words in differences)
        raise UsageProblem(
            f"--resume {root}: what would run now is not what ran then (then and now):\n{listing}\n"
            "Bring back what has changed, or start a new run."
        )


def _seconds_until_last_record(folder: OutputFolder, story: Story) -> float:
    """How long a run of one session took that was killed before it could say so."""
    if story.sessions != 1 or not folder.records.exists():
        return 0.0
    started = datetime.datetime.fromisoformat(story.last_started).timestamp()
    return max(0.0, folder.records.stat().st_mtime - started)


def _load_plugin(options: RunOptions, suites: Sequence[LoadedSuite]) -> LoadedPlugin:
    provider = suites[0].session_provider
    if provider is not None:
        loaded: LoadedPlugin = provider.load_plugin(options.plugin)
        return loaded
    target = Target.of(options.plugin)
    if target.library is not None:
        from adapter_conform.bare.load import load_bare

        return load_bare(target)
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


_MOST_MISFITS = 10


def _say_misfits(plugin: LoadedPlugin, console: Console) -> None:
    """Of a bare device, before anything runs: which of its kernels this Paddle cannot call."""
    description = getattr(plugin, "description", None)
    if description is None:
        return
    misfits = description.misfits
    words = f"{len(misfits)} of {len(description.kernels)} kernels do not fit Paddle {description.paddle}"
    console.print(Text(f"signatures: {words}" + (", and are not called:" if misfits else "")), soft_wrap=True)
    for (operator, dtype), why in list(misfits.items())[:_MOST_MISFITS]:
        console.print(Text(f"  {operator}/{dtype}: {why}", style="yellow"), soft_wrap=True)
    if len(misfits) > _MOST_MISFITS:
        console.print(Text(f"  ... and {len(misfits) - _MOST_MISFITS} more, all in the report"), soft_wrap=True)
    if unknown := description.unknown:
        names = ", ".join(unknown[:_MOST_MISFITS]) + (", ..." if len(unknown) > _MOST_MISFITS else "")
        console.print(Text(f"  of {len(unknown)} operators nothing here knows the signature: {names}"), soft_wrap=True)


def _say_if_empty(
    options: RunOptions, suites: Sequence[LoadedSuite], plugin: LoadedPlugin, plan: Plan, console: Console
) -> None:
    if plan.ids or options.expression is None:
        return
    everything = make_plan(dataclasses.replace(options, expression=None), suites, plugin)
    near = nearest_ids(options.expression, [planned.case.id for planned in everything.cases])
    console.print(Text(f"-k {options.expression!r} selects none of {plan.available} cases."), soft_wrap=True)
    for case_id in near:
        console.print(Text(f"  close: {case_id}"), soft_wrap=True)


def _nothing_planned(options: RunOptions, suites: Sequence[LoadedSuite], why: str, started: str) -> RunResult:
    """The result of a run whose plugin cannot even be asked what it declares: nothing executed, inconclusive."""
    plugin: dict[str, Any] = {"name": Target.of(options.plugin).name, "error": why}
    return RunResult(
        options=options,
        suite_names=[loaded.suite.name for loaded in suites],
        records=[],
        available=0,
        plugin=plugin,
        environment=describe_host(),
        kernels=[],
        started=started,
        elapsed_s=0.0,
        stopped=why,
        narrowed_by=narrowed_by(options, suites),
    )
