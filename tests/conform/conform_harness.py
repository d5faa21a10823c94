"""Runs `adapter-conform` as users do, in a process of its own, against the fake suite of this folder."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
FAKE = "fake_suite:SUITE"


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its exit code, what it printed, and the folder with its files."""

    code: int
    stdout: str
    stderr: str
    out: Path

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]

    @property
    def logs(self) -> str:
        """What all workers wrote."""
        return "".join(path.read_text(errors="replace") for path in sorted((self.out / "logs").iterdir()))

    @property
    def states(self) -> dict[str, str]:
        """What a case was made to do -> how it ended."""
        return {record["id"].split("/")[-1].split(" ")[0]: record["state"] for record in self.records}


def conform_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "adapter_conform", *arguments]


def conform_environment() -> dict[str, str]:
    rooms = [HERE, REPOSITORY / "conformance", REPOSITORY / "tests" / "faults", REPOSITORY]
    paths = [*map(str, rooms), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_conform(
    out: Path, *arguments: str, timeout: float = 300, largest_file: int | None = None, **environment: str
) -> Finished:
    """Runs the tool with reports in ``out`` and ``environment`` added to its own, and waits for it.

    ``largest_file``, in bytes, stands in for a full disk: a write beyond it fails with an OSError.
    """

    def limit_files() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    done = subprocess.run(
        conform_command("--out", str(out), *arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**conform_environment(), **environment},
        preexec_fn=limit_files,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr, out)


Conform = Callable[..., Finished]
