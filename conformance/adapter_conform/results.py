"""From the files of a run to its outcome, and from the outcome to the reports."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from adapter_conform.appending import whole_lines
from adapter_conform.cases import Record
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.journal import Story
from adapter_conform.jsondata import compact
from adapter_conform.manifest import Manifest
from adapter_conform.plan import RunOptions
from adapter_conform.report.folder import OutputFolder
from adapter_conform.report.html import render_html
from adapter_conform.report.junit import render_junit
from adapter_conform.report.summary import RunResult, build_summary
from adapter_conform.waivers import WaiverBook

__all__ = ["read_records", "run_result", "write_reports", "writing"]


def run_result(manifest: Manifest, options: RunOptions, records: Sequence[Record], story: Story) -> RunResult:
    """What ``manifest`` set out to do, and what came of it. ``records`` are in the order of the plan."""
    book = WaiverBook(manifest.rules(), manifest.day)
    # A narrowed run cannot tell: the failure that a waiver admits may be outside of it.
    stale = [] if manifest.narrowed_by else book.stale(records)
    return RunResult(
        options=options,
        suite_names=manifest.suite_names,
        records=records,
        available=manifest.available,
        plugin=manifest.plugin,
        environment={**manifest.environment, **story.environment},
        kernels=story.kernels,
        started=manifest.started,
        elapsed_s=story.elapsed_s,
        waivers=[rule.describe() for rule in book.rules],
        stale_waivers=[rule.describe() for rule in stale],
        suspicions=story.suspicions,
        replacements=story.replacements,
        stopped=story.stopped,
        quarantined=story.quarantined,
        excluded=manifest.excluded,
        narrowed_by=manifest.narrowed_by,
        sessions=story.sessions,
    )


def read_records(folder: OutputFolder, ids: Collection[str]) -> dict[str, Record]:
    """The records in ``results.jsonl`` by id; a last line that was torn off is left out.

    Raises:
        UsageProblem: a line is no record, or its case is not in ``ids`` or stands there twice.
    """
    known = frozenset(ids)
    records: dict[str, Record] = {}
    for number, line in enumerate(whole_lines(folder.records), start=1):
        try:
            record = Record.from_json(json.loads(line))
            if record.id not in known:
                raise ValueError(f"case {record.id!r} is not in the plan of this run")
            if record.id in records:
                raise ValueError(f"case {record.id!r} has two records")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageProblem(
                f"{folder.records}: line {number} cannot be used: {type(error).__name__}: {error}\n"
                "Something else than adapter-conform has written there; start the run again."
            ) from error
        records[record.id] = record
    return records


def write_reports(folder: OutputFolder, result: RunResult) -> None:
    """Raises ConformError when the files cannot be written."""
    with writing(folder):
        folder.write(folder.summary, compact(build_summary(result)) + "\n")
        folder.write(folder.junit, render_junit(result))
        folder.write(folder.html, render_html(result))
        if not folder.records.exists():
            folder.records.touch()


@contextmanager
def writing(folder: OutputFolder) -> Iterator[None]:
    """Raises ConformError for an OSError inside the block: no space, a vanished mount..."""
    try:
        yield
    except OSError as error:
        raise ConformError(
            f"cannot write to {error.filename or folder.root}: {error.strerror or error}\n"
            f"What ran until then is in {folder.records}. Make room, then go on with --resume {folder.root}"
        ) from error
