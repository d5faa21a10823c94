"""Carries a plan out: hands its cases to the supervisor, writes down what comes, reports at the end."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from adapter_conform.cases import Record
from adapter_conform.journal import Journal, Story
from adapter_conform.manifest import Manifest
from adapter_conform.plan import LoadedSuite, Plan, PlannedCase, RunOptions
from adapter_conform.report.folder import OutputFolder, RecordWriter
from adapter_conform.report.terminal import ProgressView, print_outcome
from adapter_conform.repro import write_repros
from adapter_conform.results import run_result, write_reports, writing
from adapter_conform.states import ExitCode
from adapter_conform.supervisor import Interruption, Note, PoolEnd, Supervisor
from adapter_conform.waivers import WaiverBook

__all__ = ["Job", "conduct"]


@dataclass(frozen=True)
class Job:
    """A plan, the folder for what comes of it, and what an earlier session of the same run has left there."""

    manifest: Manifest
    options: RunOptions
    suites: Sequence[LoadedSuite]
    plan: Plan
    folder: OutputFolder
    clock: float
    """``time.monotonic()`` when this session began."""
    kept: Mapping[str, Record] = field(default_factory=dict)
    story: Story = field(default_factory=Story)


def conduct(job: Job, console: Console) -> ExitCode:
    """Runs every case that has no record yet, and writes the reports on all.

    Raises:
        ConformError: there is no room for the files; what was measured is in them.
    """
    folder = job.folder
    with writing(folder):
        journal = Journal(folder.journal, job.story)

    def note(event: str, /, **facts: object) -> None:
        with writing(folder):
            journal.note(event, time.monotonic() - job.clock, **facts)

    earlier = job.story.elapsed_s
    try:
        with Interruption() as interruption:
            note("session", started=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))
            records, end = _execute(job, note, interruption, console)
            if job.options.shrink:
                records = write_repros(
                    job.options, job.plan.cases, records, folder, lambda: _why_stop(job, interruption)
                )
            note("end", stopped=end.stopped, quarantined=end.quarantined)
            job.story.elapsed_s = earlier + time.monotonic() - job.clock
            result = run_result(job.manifest, job.options, records, job.story)
            write_reports(folder, result)
    finally:
        journal.close()
    print_outcome(console, result, folder)
    return result.exit_code


def _execute(job: Job, note: Note, interruption: Interruption, console: Console) -> tuple[list[Record], PoolEnd]:
    """Runs the plan; the records come back in its order."""
    found = dict(job.kept)
    left = [planned for planned in job.plan.cases if planned.case.id not in found]
    book = WaiverBook(job.manifest.rules(), job.manifest.day)
    with writing(job.folder):
        writer = RecordWriter(job.folder.records)
    with ProgressView(console, len(left)) as view:

        def sink(planned: PlannedCase, record: Record) -> None:
            record = book.apply(record)
            found[planned.case.id] = record
            with writing(job.folder):
                writer.write(record)
            view.add(record)

        try:
            end = Supervisor(
                left,
                sink,
                note,
                plugin=job.options.plugin,
                seed=job.options.seed,
                session_suite=job.suites[0].spec if job.suites[0].session_provider is not None else None,
                jobs=job.options.jobs,
                case_timeout=job.options.case_timeout,
                log_folder=job.folder.logs,
                interrupted=lambda: _why_stop(job, interruption),
                progress=view.tick,
                first_worker=sum(1 for _ in job.folder.logs.iterdir()) + 1,
            ).run()
        finally:
            writer.close()
    return [found[planned.case.id] for planned in job.plan.cases], end


def _why_stop(job: Job, interruption: Interruption) -> str | None:
    if interruption.name is not None:
        return f"{interruption.name} (Ctrl-C or kill)"
    budget = job.options.time_budget
    if budget is not None and time.monotonic() - job.clock > budget:
        return f"the time budget of {budget:g} s (--time-budget) is used up"
    return None
