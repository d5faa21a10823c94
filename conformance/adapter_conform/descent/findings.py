"""What a descent tells as it goes: lines of JSON in a file, so that a crash loses nothing of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Finding", "Story", "append", "read_story"]


@dataclass
class Finding:
    """An operator whose result left its bound, or that the device would not run."""

    index: int
    """Which call of the run it was, from 0."""
    call: str
    direction: str
    """``"forward"`` or ``"backward"``."""
    state: str
    message: str
    kernels: dict[str, int] = field(default_factory=dict)
    """Calls of the plugin's kernels in it, by ``operator/dtype``."""
    repro: str = ""
    """A file that shows it alone."""
    parts: list[str] = field(default_factory=list)
    """For a call of several operators: those of them that leave their own bounds."""


@dataclass
class Story:
    """A descent so far."""

    examined: int = 0
    backward_examined: int = 0
    finding: Finding | None = None
    unexamined: dict[str, int] = field(default_factory=dict)
    """Reason -> number of calls."""
    last_started: str = ""
    finished: bool = False
    error: str = ""


def append(path: Path, event: str, **values: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, **values}) + "\n")


def finding_event(path: Path, finding: Finding) -> None:
    append(path, "finding", finding=asdict(finding))


def read_story(path: Path) -> Story:
    """What the lines of ``path`` come to; a line that was cut off is the last, and left out."""
    story = Story()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            break
        _take(story, row)
    return story


def _take(story: Story, row: dict[str, Any]) -> None:
    event = row["event"]
    if event == "start":
        story.last_started = row["call"]
    elif event == "end":
        story.examined, story.backward_examined = row["examined"], row["backward_examined"]
        story.unexamined, story.finished = row["unexamined"], True
    elif event == "finding":
        story.finding = Finding(**row["finding"])
    elif event == "error":
        story.error = row["message"]
