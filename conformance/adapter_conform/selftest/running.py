"""Runs of the real ``adapter-conform``, with and without faults, each in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Record
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.states import ExitCode
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE

if TYPE_CHECKING:
    from adapter_faults import Fault

__all__ = ["Planned", "Result", "run"]

TOOL = "adapter_faults:plant"
SHORT_TIMEOUT = 5.0
"""Seconds that a case has in the run of a fault that hangs; no other case is in that run."""


@dataclass(frozen=True)
class Planned:
    """One run to make."""

    folder: Path
    plugin: str
    seed: int
    jobs: int
    suites: tuple[str, ...]
    expression: str | None
    faults: tuple[Fault, ...] = ()
    """None for the healthy device."""

    @property
    def command(self) -> list[str]:
        words = [sys.executable, "-m", "adapter_conform", "--plugin", self.plugin, "--profile", "standard"]
        words += ["--suite", ",".join(self.suites), "--seed", str(self.seed), "--jobs", str(self.jobs)]
        words += ["--out", str(self.folder), "--no-shrink"]
        if self.expression is not None:
            words += ["-k", self.expression]
        if any(fault.alone for fault in self.faults):
            words += ["--case-timeout", f"{SHORT_TIMEOUT:g}"]
        return words

    @property
    def environment(self) -> dict[str, str]:
        from adapter_faults import FAULT_VARIABLE

        env = {key: value for key, value in os.environ.items() if key not in (PRELOAD_VARIABLE, FAULT_VARIABLE)}
        if self.faults:
            env[PRELOAD_VARIABLE] = TOOL
            env[FAULT_VARIABLE] = ",".join(fault.name for fault in self.faults)
        return env


@dataclass
class Result:
    """What came of a run."""

    records: list[Record]
    planted: dict[str, set[str]] = field(default_factory=dict)
    """Fault -> ids of the cases in which it came into effect."""
    broken: dict[str, str] = field(default_factory=dict)
    """Fault -> why the fault itself broke down."""


def run(planned: Planned) -> Result:
    """Makes the run.

    Raises:
        UsageProblem: the run refused its arguments, e.g. the plugin's name.
        ConformError: it came to no end; what it printed is in the message.
    """
    _execute(planned)
    lines = (planned.folder / "results.jsonl").read_text().splitlines()
    records = [Record.from_json(json.loads(line)) for line in lines]
    return Result(records, *_read_logs(planned.folder / "logs"))


def _execute(planned: Planned) -> None:
    done = subprocess.run(planned.command, capture_output=True, text=True, env=planned.environment, check=False)
    found: dict[str, Any] = {}
    summary = planned.folder / "results.json"
    if summary.exists():
        found = json.loads(summary.read_text())
    if done.returncode == ExitCode.USAGE_ERROR:
        raise UsageProblem(done.stderr.strip().removeprefix("Error: "))
    if not found or found.get("stopped") or not found.get("planned"):
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ConformError(f"a run of the selftest came to no end: {' '.join(planned.command[1:])}\n{tail}")


_PLANTED = re.compile(r"planted (\w+) in (\S+)")
_BROKEN = re.compile(r"fault (\w+) broke down in (.*)", re.DOTALL)


def _read_logs(folder: Path) -> tuple[dict[str, set[str]], dict[str, str]]:
    planted: dict[str, set[str]] = {}
    broken: dict[str, str] = {}
    for line in _lines(sorted(folder.glob("worker-*.log"))):
        if match := _PLANTED.search(line):
            planted.setdefault(match[1], set()).add(match[2])
        elif match := _BROKEN.search(line):
            broken.setdefault(match[1], match[2])
    return planted, broken


def _lines(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        yield from path.read_text(errors="replace").splitlines()
