"""The output folder: checked before anything runs, and never robbed of an older run's results."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from adapter_conform.cases import Record
from adapter_conform.errors import UsageProblem
from adapter_conform.jsondata import compact, jsonable

__all__ = ["OutputFolder", "RecordWriter"]


class OutputFolder:
    """Paths of a run's files under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records = root / "results.jsonl"
        self.summary = root / "results.json"
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
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._probe()
            self._claim()
            moved = self._move_aside()
            self.logs.mkdir()
        except BlockingIOError as error:
            raise UsageProblem(
                f"--out {self.root}: another run is still writing there\nWait for its end, or give another folder."
            ) from error
        except FileExistsError as error:
            raise UsageProblem(
                f"--out {self.root}: it, or a folder above it, is a file\nGive a folder with --out."
            ) from error
        except OSError as error:
            raise UsageProblem(
                f"--out {self.root}: cannot be written: {error.strerror or error}\n"
                "Give another folder with --out, or make this one writable."
            ) from error
        return moved

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
        present = [p for p in (self.records, self.summary, self.junit, self.html, self.logs, self.repro) if p.exists()]
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
    """Appends records to ``results.jsonl``, each complete on disk before the next case ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8")

    def write(self, record: Record) -> None:
        data: Mapping[str, object] = jsonable(record.to_json())
        self._file.write(compact(data) + "\n")
        self._file.flush()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After a failed write, closing tries to write the rest again; that second error would hide the first.
        with contextlib.suppress(OSError) if kind is not None else contextlib.nullcontext():
            self._file.close()
