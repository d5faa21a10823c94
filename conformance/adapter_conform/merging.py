"""Joins the shards of a run: one verdict, as if it had been one run."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter_conform.cases import Record
from adapter_conform.errors import UsageProblem
from adapter_conform.journal import Story, merged_story, read_story
from adapter_conform.jsondata import compact
from adapter_conform.manifest import Manifest, read_manifest
from adapter_conform.report.folder import OutputFolder, RecordWriter
from adapter_conform.report.summary import RunResult
from adapter_conform.results import read_records, run_result, write_reports, writing
from adapter_conform.shards import Shard

__all__ = ["merge"]


@dataclass(frozen=True)
class _Part:
    """What one shard left in its folder."""

    folder: OutputFolder
    shard: Shard
    manifest: Manifest
    records: dict[str, Record]
    story: Story


def merge(roots: Sequence[Path], out: Path) -> tuple[RunResult, OutputFolder, list[Path]]:
    """The result of all shards in ``roots`` together, with its files in ``out``; and what an older run's files there
    are called now.

    Raises:
        UsageProblem: the folders are not the complete shards of one plan, judged with one plugin; nothing is written.
        ConformError: the files cannot be written.
    """
    parts = sorted((_read(root) for root in roots), key=lambda part: part.shard.number)
    _check_partition(parts)
    _check_alike(parts)
    for part in parts:
        _check_complete(part)
    folder = OutputFolder(out)
    _check_apart(folder, parts)
    moved = folder.prepare()
    first = parts[0].manifest
    started = min((part.manifest.started for part in parts), key=datetime.datetime.fromisoformat)
    manifest = dataclasses.replace(first, shard=None, started=started, narrowed_by=_wider(first.narrowed_by))
    found = {case_id: record for part in parts for case_id, record in part.records.items()}
    records = [found[case_id] for case_id in manifest.cases]
    story = merged_story((str(part.shard), part.story) for part in parts)
    with writing(folder):
        folder.write(folder.manifest, compact(manifest.to_json()) + "\n")
        _copy_logs(parts, folder)
        writer = RecordWriter(folder.records)
        for record in records:
            writer.write(record)
        writer.close()
    result = run_result(manifest, manifest.options(out), records, story)
    result.shards = len(parts)
    write_reports(folder, result)
    return result, folder, moved


def _read(root: Path) -> _Part:
    folder = OutputFolder(root)
    manifest = read_manifest(folder.manifest)
    if manifest.shard is None:
        raise UsageProblem(f"{root} is a whole run, not a shard of one: there is nothing to merge it with")
    records = read_records(folder, manifest.shard_cases())
    shard = Shard.parse(manifest.shard)
    logs = f"logs/shard-{shard.number}/"
    for record in records.values():
        if isinstance(log := record.details.get("log"), str):
            record.details["log"] = logs + log.removeprefix("logs/")
    return _Part(folder, shard, manifest, records, read_story(folder.journal))


def _check_partition(parts: Sequence[_Part]) -> None:
    """Every shard of one division, once."""
    counts = {part.shard.count for part in parts}
    if len(counts) > 1:
        listing = ", ".join(f"{part.folder.root} is {part.shard}" for part in parts)
        raise UsageProblem(f"these are parts of different divisions, which overlap: {listing}")
    (count,) = counts
    by_number: dict[int, list[Path]] = {}
    for part in parts:
        by_number.setdefault(part.shard.number, []).append(part.folder.root)
    for number, roots in by_number.items():
        if len(roots) > 1:
            raise UsageProblem(f"shard {number}/{count} is there twice: {', '.join(map(str, roots))}")
    missing = [f"{number}/{count}" for number in range(1, count + 1) if number not in by_number]
    if missing:
        raise UsageProblem(
            f"{len(missing)} of {count} shards are missing: {', '.join(missing[:20])}\n"
            "Run them with the same options and --shard, and name their folders too."
        )


def _check_alike(parts: Sequence[_Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        differences = list(first.manifest.differences(part.manifest))
        if differences:
            listing = "\n".join(f"  {words}" for words in differences)
            raise UsageProblem(
                f"{first.folder.root} and {part.folder.root} are no parts of one run:\n{listing}\n"
                "Run all shards with the same options, plugin and versions."
            )


def _check_complete(part: _Part) -> None:
    cases = part.manifest.shard_cases()
    missing = [case_id for case_id in cases if case_id not in part.records]
    if missing:
        raise UsageProblem(
            f"shard {part.shard} in {part.folder.root} is not finished: {len(missing)} of {len(cases)} cases have no "
            f"record, e.g. {missing[0]!r}\nGo on with it: adapter-conform --resume {part.folder.root}"
        )


def _check_apart(folder: OutputFolder, parts: Sequence[_Part]) -> None:
    for part in parts:
        if part.folder.root.resolve() == folder.root.resolve():
            raise UsageProblem(f"--out {folder.root} is one of the shards; give another folder")


def _wider(narrowed_by: Sequence[str]) -> tuple[str, ...]:
    return tuple(option for option in narrowed_by if not option.startswith("--shard "))


def _copy_logs(parts: Sequence[_Part], folder: OutputFolder) -> None:
    for part in parts:
        if part.folder.logs.is_dir():
            shutil.copytree(part.folder.logs, folder.logs / f"shard-{part.shard.number}")
