"""From what the model gave to an answer and its score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from adapter_conform.evaluation.benchmarks import Benchmark, Question, plain

__all__ = ["Judged", "judge_choice", "judge_text", "program_of"]


@dataclass(frozen=True)
class Judged:
    answer: str
    score: float
    """1 where it is right, else 0."""
    other_score: float | None = None
    """Of a choice: the score by the rule that is not the benchmark's, with lengths or without; None where all choices
    are as long as each other."""
    fault: str = ""
    """Why no answer could be had; it counts as wrong."""


def judge_choice(benchmark: Benchmark, question: Question, likelihoods: Sequence[float]) -> Judged:
    """The choice whose text is the likeliest; the first of those that are equal.

    Args:
        likelihoods: log-likelihood of each continuation, given the prompt.
    """
    if len(likelihoods) != len(question.continuations):
        return Judged("", 0.0, fault=f"{len(likelihoods)} likelihoods for {len(question.continuations)} choices")
    if any(math.isnan(one) for one in likelihoods):
        return Judged("", 0.0, fault="a likelihood is not a number")
    lengths = [max(1, len(text.strip())) for text in question.continuations]
    whole = _best(likelihoods)
    by_length = _best([one / length for one, length in zip(likelihoods, lengths, strict=True)])
    chosen, other = (by_length, whole) if benchmark.by_length else (whole, by_length)
    other_score = float(other == question.right) if len(set(lengths)) > 1 else None
    return Judged(_name(question, chosen), float(chosen == question.right), other_score)


def judge_text(benchmark: Benchmark, question: Question, text: str) -> Judged:
    """Whether the answer within ``text`` is the expected one, letter by letter; of a formula, see :func:`plain`."""
    answer = benchmark.extract(text, question.item)
    expected = question.item.answer
    same = answer == expected or (bool(answer) and not question.item.choices and plain(answer) == plain(expected))
    return Judged(answer, float(same))


def program_of(question: Question, completion: str) -> str:
    """What is run to test a completion."""
    item = question.item
    return f"{item.question}{completion}\n{item.test}\ncheck({item.entry_point})\n"


def _best(figures: Sequence[float]) -> int:
    return max(range(len(figures)), key=lambda place: (figures[place], -place))


def _name(question: Question, place: int) -> str:
    """The letter of a choice, or the word itself where choices have no letters."""
    return chr(ord("A") + place) if question.item.choices else question.continuations[place].strip()
