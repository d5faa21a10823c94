"""One line of JSON a beat, appended and handed to the system whole; a torn last line is dropped when it is read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["FORMAT", "Beat", "append", "read"]

FORMAT = 1


@dataclass(frozen=True)
class Beat:
    """What stands in ``heartbeat.jsonl``. Of resources, the rank that uses most counts."""

    time: float
    """Seconds since 1970 (UTC)."""
    elapsed_s: float
    """Of training, all sessions together; stretches in which the soak did not run do not count."""
    step: int
    """Steps made."""
    loss: float
    """Of the last step; the first replica's."""
    step_s: float
    """Mean seconds of a step since the last beat."""
    device_bytes: int
    """Allocated on a card, by the device's own account."""
    host_bytes: int
    """Resident memory of a rank."""
    handles: int
    """Open files of a rank."""
    session: int
    """Counts from 1; ``--resume`` begins a new one."""
    restarts: int
    """Times that the ranks were started again because something went wrong, all sessions together."""
    format: int = FORMAT

    @property
    def sound(self) -> bool:
        return math.isfinite(self.loss)


def append(path: Path, beat: Beat) -> None:
    """Adds a line and sees to it that it is on the disk. JSON has no NaN: such a loss is written as a string."""
    data = asdict(beat)
    if not beat.sound:
        data["loss"] = str(beat.loss)
    with path.open("ab") as file:
        file.write(json.dumps(data).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> Sequence[Beat]:
    """The beats in the file, in order; none where there is no file.

    Raises:
        ValueError: a line is no heartbeat; the message says which.
    """
    if not path.exists():
        return []
    beats = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            data = json.loads(line)
            beats.append(Beat(**{**data, "loss": float(data["loss"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number} is no heartbeat: {error}") from error
    return beats
