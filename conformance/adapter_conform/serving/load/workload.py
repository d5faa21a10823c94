"""What arrives when: seeded, so that the same load can be put on two servers. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Arrival", "Lengths", "Workload"]


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in tokens: ``"32"`` always 32, ``"8-64"`` evenly from 8 to 64, ``"exp:32:200"``
    exponential with mean 32, rounded up and cut at 200."""

    text: str
    least: int
    most: int
    mean: float = 0.0
    """Of an exponential distribution; else 0."""

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """Raises ValueError for any other text."""
        try:
            if text.startswith("exp:"):
                _, mean, most = text.split(":")
                found = cls(text, 1, int(most), float(mean))
            else:
                least, _, upper = text.partition("-")
                found = cls(text, int(least), int(upper or least))
        except ValueError:
            raise ValueError(f"{text!r} is no distribution of lengths, such as 32, 8-64 or exp:32:200") from None
        if not 1 <= found.least <= found.most or found.mean < 0 or (found.mean == 0 and text.startswith("exp")):
            raise ValueError(f"{text!r}: lengths have to be at least 1 and in order")
        return found

    def draw(self, random: np.random.RandomState, count: int) -> list[int]:
        if self.mean:
            lengths = np.ceil(random.exponential(self.mean, count)).clip(self.least, self.most)
        else:
            lengths = random.randint(self.least, self.most + 1, count)
        return [int(length) for length in lengths]


@dataclass(frozen=True)
class Arrival:
    at: float
    """Seconds from the beginning."""
    prompt: tuple[int, ...]
    limit: int
    """Tokens to generate."""


@dataclass(frozen=True)
class Workload:
    prompts: Lengths
    answers: Lengths
    vocabulary: int
    seed: int = 0
    shared: int = 0
    """Tokens that all prompts begin with."""

    def arrivals(self, rate: float, count: int, part: int = 0) -> list[Arrival]:
        """``count`` requests that arrive as a Poisson process of ``rate`` a second; all at once where the rate is
        infinite. ``part`` gives other requests for each number."""
        random = np.random.RandomState([self.seed, part])
        gaps = random.exponential(1.0, count)
        times = np.cumsum(gaps) / rate if np.isfinite(rate) else np.zeros(count)
        prompts, answers = self.prompts.draw(random, count), self.answers.draw(random, count)
        begin = tuple(int(t) for t in np.random.RandomState(self.seed).randint(3, self.vocabulary, self.shared))
        found = []
        for at, length, limit in zip(times, prompts, answers, strict=True):
            own = random.randint(3, self.vocabulary, length)
            found.append(Arrival(float(at), begin + tuple(int(t) for t in own), limit))
        return found
