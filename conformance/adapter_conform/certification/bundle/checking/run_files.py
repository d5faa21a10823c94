"""Plan, records and summary of the run agree with one another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.journal import read_story
from adapter_conform.manifest import read_manifest
from adapter_conform.report.folder import OutputFolder
from adapter_conform.report.summary import RunResult, build_summary
from adapter_conform.results import read_records, run_result

__all__ = ["check_run_files", "stored_result"]

_TIMED = ("elapsed_s",)
"""Keys of results.json that a clock wrote."""


def stored_result(root: Path) -> RunResult:
    """The outcome of the run in ``root``, from plan, records and journal; cases without a record are left out.

    Raises:
        UsageProblem: one of the files cannot be used.
    """
    folder = OutputFolder(root)
    manifest = read_manifest(folder.manifest)
    found = read_records(folder, manifest.cases)
    records = [found[name] for name in manifest.shard_cases() if name in found]
    return run_result(manifest, manifest.options(root), records, read_story(folder.journal))


def check_run_files(root: Path) -> Iterator[Finding]:
    """Raises UsageProblem where a file cannot be used at all."""
    manifest = read_manifest(root / "plan.json")
    result = stored_result(root)
    recorded = {record.id for record in result.records}
    for name in manifest.shard_cases():
        if name not in recorded:
            yield Finding("plan", name, "planned, and results.jsonl has no record of it")
    try:
        written = json.loads((root / "results.json").read_bytes())
        expected = json.loads(json.dumps(build_summary(result), default=str))
        keys = sorted((written.keys() | expected.keys()) - set(_TIMED))
    except (OSError, ValueError, AttributeError) as error:
        yield Finding("record", "results.json", f"cannot be read: {error}")
        return
    for key in keys:
        if written.get(key) != expected.get(key):
            yield Finding(
                "record", "results.json", f"{key!r} does not follow from the records: {_short(written.get(key))}"
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 120 else text[:117] + "..."
