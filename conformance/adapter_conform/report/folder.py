"""The output folder: checked before anything runs, and never robbed of an older run's results."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from adapter_conform.appending import AppendedFile
from adapter_conform.cases import Record
from adapter_conform.errors import UsageProblem

__all__ = ["OutputFolder", "RecordWriter"]


class OutputFolder:
    """Paths of a run's files under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "results.jsonl"
        self.summary = root / "results.json"
        self.manifest = root / "plan.json"
        self.journal = root / "journal.jsonl"
        self.junit = root / "junit.xml"
        self.html = root / "report.html"
        self.logs = root / "logs"
        self.repro = root / "repro"
        self._lock: int | None = None

    def prepare(self) -> list[Path]:
        """Makes the folder ready for a new run; returns where an older run's files were moved to, if there were any.

        Raises:
            UsageProblem: it is a file, not writable, or another run is still at work in it.
        """
        with self._usable("--out"):
            self.root.mkdir(parents=True, exist_ok=True)
            self._probe()
            self._claim()
            moved = self._move_aside()
            self.logs.mkdir()
        return moved

    def reopen(self) -> None:
        """Takes up the folder of a run that has ended or died.

        Raises:
            UsageProblem: it is not there, not writable, or the run is still at work in it.
        """
        if not self.root.is_dir():
            raise UsageProblem(
                f"--resume {self.root}: there is no such folder\nGive the --out folder of an earlier run."
            )
        with self._usable("--resume"):
            self._claim()
            self._probe()
            self.logs.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def _usable(self, option: str) -> Iterator[None]:
        try:
            yield
        except BlockingIOError as error:
            raise UsageProblem(
                f"{option} {self.root}: another run is still writing there\nWait for its end, or give another folder."
            ) from error
        except FileExistsError as error:
            raise UsageProblem(
                f"{option} {self.root}: it, or a folder above it, is a file\nGive a folder with --out."
            ) from error
        except OSError as error:
            raise UsageProblem(
                f"{option} {self.root}: cannot be written: {error.strerror or error}\n"
                "Give another folder, or make this one writable."
            ) from error

    def _probe(self) -> None:
        probe = self.root / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()

    def _claim(self) -> None:
        """Locks the folder until this process ends: two runs in one folder would overwrite each other's reports."""
        if self._lock is None:
            self._lock = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _move_aside(self) -> list[Path]:
        files = (
            self.records,
            self.summary,
            self.junit,
            self.html,
            self.logs,
            self.manifest,
            self.journal,
            self.repro,
        )
        present = [path for path in files if path.exists()]
        if not present:
            return []
        newest = max(path.stat().st_mtime for path in present)
        stamp = datetime.datetime.fromtimestamp(newest).strftime("%Y%m%d-%H%M%S")
        suffix, count = stamp, 1
        while any(_with_suffix(path, suffix).exists() for path in present):
            count += 1
            suffix = f"{stamp}-{count}"
        return [path.rename(_with_suffix(path, suffix)) for path in present]

    def write(self, path: Path, text: str) -> None:
        """Writes a file so that a reader sees either the old one or the whole new one."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


class RecordWriter:
    """Appends records to ``results.jsonl``, each handed to the system whole before the next case ends."""

    def __init__(self, path: Path) -> None:
        self._file = AppendedFile(path)

    def write(self, record: Record) -> None:
        self._file.append(record.to_json())

    def close(self) -> None:
        self._file.close()
