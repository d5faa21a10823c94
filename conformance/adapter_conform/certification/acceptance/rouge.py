"""ROUGE of token sequences, as PaddleNLP computes it.

ROUGE-1 and -2 are the recall of n-gram *sets*; ROUGE-L is the F1 of the longest common subsequence, which is what
rouge-score gives (Lin 2004, with beta 1) and PaddleNLP's ``RougeL(gamma=1.0)``.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["exact_match", "rouge_l", "rouge_n"]


def rouge_n(answer: Sequence[int], expected: Sequence[int], n: int) -> float:
    """Share of the n-grams of ``expected`` that ``answer`` has; 0 where ``expected`` is too short to have one."""
    wanted = _grams(expected, n)
    return len(wanted & _grams(answer, n)) / len(wanted) if wanted else 0.0


def rouge_l(answer: Sequence[int], expected: Sequence[int]) -> float:
    """F1; 0 where nothing is common."""
    if answer and tuple(answer) == tuple(expected):  # most are: the rest is quadratic
        return 1.0
    common = _longest_common(answer, expected)
    return 2 * common / (len(answer) + len(expected)) if common else 0.0


def exact_match(answer: Sequence[int], expected: Sequence[int]) -> float:
    return float(tuple(answer) == tuple(expected))


def _grams(tokens: Sequence[int], n: int) -> set[tuple[int, ...]]:
    return {tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)}


def _longest_common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the longest common subsequence; memory of one row."""
    row = [0] * (len(other) + 1)
    for left in one:
        diagonal = 0
        for place, right in enumerate(other, start=1):
            above = row[place]
            row[place] = diagonal + 1 if left == right else max(above, row[place - 1])
            diagonal = above
    return row[-1]
