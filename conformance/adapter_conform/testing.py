"""Conformance cases from tests: :func:`conformance` runs the tool and gives its records."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adapter_conform.cases import Record
from adapter_conform.errors import ConformError
from adapter_conform.report.junit import describe_figure
from adapter_conform.states import BAD, ExitCode

__all__ = ["ConformanceRun", "conformance", "explain"]


@dataclass(frozen=True)
class ConformanceRun:
    """What came of a run."""

    code: int
    """Exit code of ``adapter-conform``: 0 conformant, 1 not conformant, 3 inconclusive."""
    records: tuple[Record, ...]

    @property
    def bad(self) -> list[Record]:
        """Records that speak against the device: failed, crashed, hung, fell back."""
        return [record for record in self.records if record.state in BAD]

    def count(self, state: str) -> int:
        """Records in ``state``, e.g. ``"passed"``."""
        return sum(record.state.value == state for record in self.records)

    def explain(self) -> str:
        """Every bad record, with indices, values and limits."""
        return "\n".join(explain(record) for record in self.bad) or f"nothing is wrong in {len(self.records)} cases"


def conformance(
    plugin: str, *, expression: str | None = None, suites: Iterable[str] = ("ops",), profile: str = "smoke"
) -> ConformanceRun:
    """Runs conformance cases of an installed plugin, in worker processes as ``adapter-conform`` does.

    ``expression`` selects cases as ``-k`` does.

    Raises:
        ConformError: the run could not be made; with what the tool said.
    """
    with tempfile.TemporaryDirectory(prefix="conformance_") as out:
        command = [sys.executable, "-m", "adapter_conform", "--plugin", plugin, "--profile", profile]
        command += ["--suite", ",".join(suites), "--out", out]
        command += ["-k", expression] if expression else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        results = Path(out) / "results.jsonl"
        if done.returncode == ExitCode.USAGE_ERROR or not results.is_file():
            raise ConformError(f"adapter-conform ended with {done.returncode}: {done.stderr or done.stdout}")
        lines = results.read_text(encoding="utf-8").splitlines()
        if not lines:
            raise ConformError(f"adapter-conform ran no case: {done.stdout}{done.stderr}")
        return ConformanceRun(done.returncode, tuple(Record.from_json(json.loads(line)) for line in lines))


def explain(record: Record) -> str:
    """A record in words: state and message, each gate that was not kept with where, what, and the limit; the rerun."""
    lines = [f"{record.id}: {record.state.value}", *(f"  {line}" for line in record.message.strip().splitlines())]
    lines += [f"  {describe_figure(figure)}" for figure in record.errors if not figure.passed]
    return "\n".join([*lines, f"  rerun: {record.repro}"])
