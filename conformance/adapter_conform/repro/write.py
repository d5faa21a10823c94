"""After a run: the first failure of each operator, dtype and complaint, shrunk and written to ``repro/``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapter_conform.cases import Case, Record
from adapter_conform.plan import PlannedCase, RunOptions
from adapter_conform.report.folder import OutputFolder
from adapter_conform.states import State
from adapter_conform.supervisor import Supervisor

__all__ = ["MOST", "write_repros"]

MOST = 24
"""Failures that are shrunk in one run; a device that fails everywhere has to be mended first anyway."""

TIMEOUT = 60.0
"""Seconds for one failure, the search's own five among them."""

SHRINKER = "adapter_conform.repro.shrink:SUITE"


def write_repros(
    options: RunOptions,
    planned: Sequence[PlannedCase],
    records: Sequence[Record],
    output: OutputFolder,
    interrupted: Callable[[], str | None],
) -> list[Record]:
    """``records``, those that were shrunk with ``details["repro"]``: the smallest example and the file that shows it.
    The same stands in ``repro/index.json``.

    Worker processes of their own do the search: a device that crashes meanwhile loses nothing that was measured.
    """
    chosen = _first_failures(planned, records)
    if not chosen or interrupted() is not None:
        return list(records)
    cases = [_shrink_case(i, planned[index], output.repro) for i, index in enumerate(chosen)]
    found: dict[int, Record] = {}

    def sink(case: PlannedCase, record: Record) -> None:
        found[chosen[case.index]] = record

    Supervisor(
        cases,
        sink,
        plugin=options.plugin,
        seed=options.seed,
        session_suite=None,
        jobs=options.jobs,
        case_timeout=TIMEOUT,
        log_folder=_made(output.repro / "logs"),
        interrupted=interrupted,
        progress=lambda: None,
    ).run()
    shown = [_with_repro(record, found.get(index), output.root) for index, record in enumerate(records)]
    listing = [{"id": shown[index].id, **shown[index].details["repro"]} for index in chosen if index in found]
    output.repro.mkdir(exist_ok=True)
    (output.repro / "index.json").write_text(json.dumps(listing, indent=1) + "\n", "utf-8")
    return shown


def _made(folder: Path) -> Path:
    """Apart from the logs of the run, which are evidence of what was judged."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _first_failures(planned: Sequence[PlannedCase], records: Sequence[Record]) -> list[int]:
    """Places in the plan of the failures to shrink: operators of the catalogue, one of each kind of complaint."""
    seen: set[tuple[str, str, str]] = set()
    chosen: list[int] = []
    for index, (case, record) in enumerate(zip(planned, records, strict=True)):
        payload = case.case.payload
        if record.state not in (State.FAILED, State.WAIVED) or record.suite != "ops" or payload.get("bias"):
            continue
        missed = next((figure.gate for figure in record.errors if not figure.passed), "raised")
        key = (record.operator, record.dtype, missed)
        if key not in seen and len(chosen) < MOST:
            seen.add(key)
            chosen.append(index)
    return chosen


def _shrink_case(index: int, failed: PlannedCase, folder: Path) -> PlannedCase:
    case = failed.case
    name = re.sub(r"\W+", "_", case.id.removeprefix("ops/"))
    payload = {"case": case.payload, "id": case.id, "file": str((folder / f"{name}.py").resolve())}
    shrunk = Case(f"shrink/{case.id}", "shrink", case.operator, case.dtype, payload, timeout=TIMEOUT)
    return PlannedCase(index, SHRINKER, shrunk, failed.repro)


def _with_repro(record: Record, found: Record | None, root: Path) -> Record:
    if found is None:
        return record
    details: dict[str, Any] = {"why_not": found.message or found.state.value}
    if found.state is State.PASSED:
        details = {key: found.details[key] for key in ("example", "message", "no_file") if key in found.details}
        if "file" in found.details:
            details["file"] = str(Path(found.details["file"]).relative_to(root.resolve()))
    return replace(record, details={**record.details, "repro": details})
