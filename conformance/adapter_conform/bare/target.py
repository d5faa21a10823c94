"""What is to be judged: a plugin by name, or a bare device by its type and library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Target"]

_MARK = "device:"


@dataclass(frozen=True)
class Target:
    """``str(target)`` travels to worker processes and into ``plan.json``; :meth:`of` reads it again."""

    name: str
    """Of the plugin, or the type of a bare device."""
    library: Path | None = None
    """Of a bare device, absolute; None for a plugin."""

    @classmethod
    def of(cls, text: str) -> Target:
        if not text.startswith(_MARK):
            return cls(text)
        name, _, library = text.removeprefix(_MARK).partition("@")
        return cls(name, Path(library))

    def __str__(self) -> str:
        return self.name if self.library is None else f"{_MARK}{self.name}@{self.library}"

    def words(self) -> list[str]:
        """The options of ``adapter-conform`` that name it."""
        if self.library is None:
            return ["--plugin", self.name]
        return ["--device", self.name, "--library", str(self.library)]
