"""What a reader makes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Item", "Subject", "limited"]


@dataclass(frozen=True)
class Item:
    """A question with its answer."""

    id: str
    """``subject/number``; the number counts from 0 in the order of the file."""
    question: str
    answer: str
    """As the file gives it: a letter, ``yes``, a text; letters in alphabetic order where several are right."""
    choices: tuple[str, ...] = ()
    """In the order of the file; empty where the answer is free."""
    passage: str = ""
    explanation: str = ""
    """Of an example: the reasoning that leads to the answer."""
    test: str = ""
    """Code that tests the answer, where the answer is code."""
    entry_point: str = ""
    """The function that ``test`` tests."""

    @property
    def right(self) -> tuple[int, ...]:
        """Places among ``choices`` of those that the letters of ``answer`` name."""
        return tuple(ord(letter) - ord("A") for letter in self.answer)


@dataclass(frozen=True)
class Subject:
    """Questions that share their examples."""

    name: str
    items: tuple[Item, ...]
    shots: tuple[Item, ...] = ()
    """Examples, in the order of their file."""
    title: str = ""
    """What the prompt calls it, or how it introduces it."""


def limited(subjects: Sequence[Subject], most: int | None) -> list[Subject]:
    """The first ``most`` items of each subject."""
    return [
        Subject(subject.name, subject.items if most is None else subject.items[:most], subject.shots, subject.title)
        for subject in subjects
    ]
