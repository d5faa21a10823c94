"""A selftest of the real `adapter-conform` on the real refchip, with a sample of the faults."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conform_harness import Finished, conform_command, conform_environment

SAMPLE = (
    "swapped_lanes",
    "bfloat16_accumulator",
    "swallowed_nan",
    "not_summed_over_broadcast",
    "gradient_twice",
    "overwritten_input",
    "write_out_of_bounds",
    "unwritten_tail",
    "stale_output",
    "nothing_at_all",
    "one_call_in_twenty",
    "crash",
    "hang",
    "kept_scratch",
    "shared_scratch",
    "silent_fallback",
    "widened_inside",
    "wait_for_event_does_nothing",
)
"""One fault of each kind that the records tell apart, in operators that are quick to judge."""


@dataclass(frozen=True)
class Proof:
    """A selftest that has ended."""

    code: int
    stdout: str
    out: Path
    page: Path

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "selftest.json").read_text())
        return found

    @property
    def rounds(self) -> list[Finished]:
        """The runs with faults in them."""
        folders = sorted((self.out / "seed-0" / "faults").iterdir(), key=lambda path: int(path.name))
        return [
            Finished(json.loads((path / "results.json").read_text())["exit_code"], "", "", path) for path in folders
        ]

    def record(self, case_id: str) -> dict[str, Any]:
        """The one record of a case that a fault concerned."""
        (found,) = (record for done in self.rounds for record in done.records if record["id"] == case_id)
        return found


def run_selftest(folder: Path, *more: str) -> Proof:
    """`adapter-conform selftest` with the sample, results in ``folder``."""
    words = ["selftest", "--out", str(folder / "out"), "--faults", ",".join(SAMPLE), "--jobs", "2"]
    command = [*conform_command()[:3], *words, "--markdown", str(folder / "page.md"), *more]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=conform_environment(), cwd=folder, check=False
    )
    assert (folder / "out" / "selftest.json").exists(), done.stdout + done.stderr
    return Proof(done.returncode, done.stdout, folder / "out", folder / "page.md")
