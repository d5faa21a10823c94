"""What certify_rounds.py and inference_rounds.py share: `adapter-conform` as a user runs it, step by step.

A step that came to its end leaves a file beside what it made, and is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults"
SCALE = ("--scale", "sample")
CONFORMANT, NOT_CONFORMANT, USAGE_ERROR, INCONCLUSIVE = range(4)
_OPEN = "inconclusive: "
"""Begins the note of a figure that failed for want of proof."""


class Interrupted(Exception):
    """The time is up; what is done is kept."""


class Clock:
    """After ``seconds`` nothing further begins."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raises Interrupted."""
        if time.monotonic() > self._end:
            raise Interrupted


def parser_of(words: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N-1 [5]")
    parser.add_argument("--torch-python", required=True, metavar="PATH", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser


def conform(*arguments: str, fault: str = "") -> int:
    """Runs ``adapter-conform``, with ``fault`` (module:function of tests/faults) in each of its workers; what it writes
    goes to the terminal."""
    environment = dict(os.environ)
    if fault:
        environment["ADAPTER_CONFORM_PRELOAD"] = fault
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "adapter_conform", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def recorded(pack: Path, seed: int, torch_python: str, *further: str) -> None:
    """A pack of ``seed``. Ends the program where the recorder failed."""
    done = pack.with_suffix(".recorded")
    if done.exists():
        return
    request = ["--device", "cpu", *SCALE, "--out", str(pack), "--torch-python", torch_python]
    resume = ["--resume"] * (pack / "pack.json").exists()
    code = conform("record", *request, *resume, "--", "--seed", str(seed), "--leave-out-drawn", *further)
    if code != CONFORMANT:
        stop(f"{pack} could not be recorded (exit code {code})")
    done.touch()


def certified(out: Path, request: Sequence[str], fault: str = "") -> int:
    """Exit code of a certification into ``out``. Ends the program where there is no verdict."""
    # Beside the bundle, which holds nothing that is not its own; only a certification that came to its end has one.
    kept = out.with_suffix(".code")
    if not kept.exists():
        going_on = (out / "plan.json").exists()
        code = conform("certify", *(["--resume", str(out)] if going_on else [*request, "--out", str(out)]), fault=fault)
        if code not in (CONFORMANT, NOT_CONFORMANT, INCONCLUSIVE):
            stop(f"{out}: no verdict (exit code {code})")
        kept.write_text(str(code), encoding="utf-8")
    return int(kept.read_text(encoding="utf-8"))


def stop(why: str) -> None:
    print(f"{why}; the same command goes on", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def certificate_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    return found


def records_of(out: Path) -> dict[str, dict[str, Any]]:
    """Case -> its record."""
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["id"]: record for record in map(json.loads, lines)}


def wrong_figures(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that show something to be wrong."""
    return [one for one in record["errors"] if not one["passed"] and not one["note"].startswith(_OPEN)]


def failed_gates(record: Mapping[str, Any]) -> list[str]:
    """Of wrong figures, each once."""
    return list(dict.fromkeys(one["gate"] for one in wrong_figures(record)))


def faulty_figures(record: Mapping[str, Any]) -> list[str]:
    """Those that did not pass, in words."""
    return [f"{one['gate']}, {one['output']}: {one['note']}" for one in record["errors"] if not one["passed"]]


def row(*words: object) -> str:
    """Of a table in Markdown."""
    return f"| {' | '.join(map(str, words))} |"


def table(*titles: object) -> list[str]:
    return [row(*titles), "|" + " --- |" * len(titles)]


def publish(folder: Path, lines: Sequence[str]) -> None:
    """To the terminal and to ``tables.md``."""
    text = "\n".join(lines) + "\n"
    print(f"\n{text}", end="")
    (folder / "tables.md").write_text(text, encoding="utf-8")
