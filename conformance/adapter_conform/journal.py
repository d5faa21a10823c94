"""``journal.jsonl``: what befell a run beside its cases, a line an event. A resumed or merged run knows it by that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.appending import AppendedFile, whole_lines
from adapter_conform.errors import UsageProblem

__all__ = ["Journal", "Story", "merged_story", "read_story"]


@dataclass
class Story:
    """The events of one run, or of several shards, summed up."""

    suspicions: list[str] = field(default_factory=list)
    """Each once."""
    replacements: list[str] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    """As the first worker found them."""
    environment: dict[str, Any] = field(default_factory=dict)
    sessions: int = 0
    elapsed_s: float = 0.0
    """Of all sessions, each up to its last event."""
    last_started: str = ""
    """When the last session began: ISO 8601, UTC."""
    stopped: str | None = None
    """Why the last session ended early."""
    quarantined: bool = False
    """It did because the device was found sick."""

    def suspect(self, what: str) -> None:
        if what not in self.suspicions:
            self.suspicions.append(what)

    def take(self, event: Mapping[str, Any]) -> None:
        """Adds one event.

        Raises:
            KeyError: it lacks something.
        """
        kind = event["event"]
        if kind == "session":
            self.sessions += 1
            self.last_started, self.stopped, self.quarantined = event["started"], None, False
        elif kind == "end":
            self.stopped, self.quarantined = event["stopped"], event["quarantined"]
        elif kind == "suspicion":
            self.suspect(event["what"])
        elif kind == "replacement":
            self.replacements.append(event["what"])
        elif kind == "ready":
            self._take_kernels(event["kernels"])
            self.environment = self.environment or event["environment"]

    def _take_kernels(self, kernels: list[dict[str, Any]]) -> None:
        """Workers of one device agree on what is registered; where they do not, nothing is proved."""
        if not self.kernels:
            self.kernels = kernels
            return
        for mine, yours in zip(self.kernels, kernels, strict=False):
            if mine != yours:
                self.suspect(
                    f"workers disagree on kernel {mine.get('operator')}/{mine.get('dtype')}: "
                    f"{mine.get('registration')} first, {yours.get('operator')}/{yours.get('dtype')} "
                    f"{yours.get('registration')} later"
                )
                return
        if len(self.kernels) != len(kernels):
            self.suspect(f"workers disagree on the number of kernels: {len(self.kernels)}, then {len(kernels)}")


class Journal:
    """Appends events, each with the seconds since its session began, and keeps the sum of them all."""

    def __init__(self, path: Path, story: Story) -> None:
        self.story = story
        self._file = AppendedFile(path)

    def note(self, event: str, elapsed_s: float, **facts: Any) -> None:
        """Writes an event down. Raises OSError."""
        line = {"event": event, "elapsed_s": round(elapsed_s, 3), **facts}
        self.story.take(line)
        self._file.append(line)

    def close(self) -> None:
        self._file.close()


def read_story(path: Path) -> Story:
    """What the journal at ``path`` tells; nothing where there is none.

    Raises:
        UsageProblem: it is damaged.
    """
    story = Story()
    ends: list[float] = []
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            event = json.loads(line)
            story.take(event)
            if event["event"] == "session":
                ends.append(0.0)
            ends[-1] = max(ends[-1], float(event["elapsed_s"]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UsageProblem(
                f"{path}: line {number} is no event: {type(error).__name__}: {error}\n"
                "Something else has written there; start the run again."
            ) from error
    story.elapsed_s = sum(ends)
    return story


def merged_story(stories: Iterable[tuple[str, Story]]) -> Story:
    """The stories of shards, named, as one."""
    whole = Story()
    for name, story in stories:
        for what in story.suspicions:
            whole.suspect(f"shard {name}: {what}")
        whole.replacements += [f"shard {name}: {what}" for what in story.replacements]
        if story.kernels:
            whole._take_kernels(story.kernels)
        whole.environment = whole.environment or story.environment
        if story.stopped is not None:
            whole.stopped = "\n".join(filter(None, [whole.stopped, f"shard {name}: {story.stopped}"]))
        whole.quarantined |= story.quarantined
        whole.sessions += story.sessions
        whole.elapsed_s += story.elapsed_s
    return whole
