"""ROUGE against PaddleNLP's, and against figures of rouge-score 0.1.2."""

from __future__ import annotations

import pytest
from adapter_conform.certification.acceptance.rouge import exact_match, rouge_l, rouge_n
from hypothesis import given, settings
from hypothesis import strategies as st

tokens = st.lists(st.integers(0, 5), min_size=1, max_size=12)


def test_by_hand() -> None:
    answer, expected = (1, 2, 2, 3), (1, 2, 4, 3)
    assert rouge_n(answer, expected, 1) == 3 / 4
    assert rouge_n(answer, expected, 2) == 1 / 3
    assert rouge_l(answer, expected) == 3 / 4
    assert rouge_l((), expected) == 0
    assert rouge_n(answer, (1,), 2) == 0
    assert exact_match([1, 2], (1, 2)) == 1
    assert exact_match([1, 2, 3], (1, 2)) == 0


# rouge_scorer.RougeScorer(["rougeL"], tokenizer=split).score(expected, answer)["rougeL"].fmeasure
ROUGE_SCORE = [
    ([3, 0, 2, 4, 3, 3, 2], [2, 4, 1, 4, 1, 2, 1, 0], 0.39999999999999997),
    ([2, 4, 5, 4, 1, 2, 0, 5, 0, 5], [3, 4, 0, 2, 3, 2], 0.25),
    ([5, 1, 4, 3, 3, 4, 2, 0, 4, 0], [5, 3], 0.33333333333333337),
    ([4], [2, 1, 5, 2, 5, 0, 1, 4], 0.2222222222222222),
    ([1, 1, 4, 3], [0, 2], 0.0),
    ([3, 0, 2, 4, 2, 5, 0, 4, 2], [1, 4, 4, 4, 2, 3, 0, 4, 3], 0.4444444444444444),
    ([4, 1, 2, 1, 1, 1], [4], 0.2857142857142857),
    ([3, 0, 0, 5, 1], [0, 0, 5], 0.7499999999999999),
]


@pytest.mark.parametrize(("answer", "expected", "figure"), ROUGE_SCORE)
def test_rouge_l_is_that_of_rouge_score(answer: list[int], expected: list[int], figure: float) -> None:
    assert rouge_l(answer, expected) == pytest.approx(figure, abs=1e-15)


@pytest.mark.paddle
@settings(max_examples=60, deadline=None)
@given(tokens, tokens)
def test_all_are_those_of_paddlenlp(answer: list[int], expected: list[int]) -> None:
    rouge = pytest.importorskip("paddlenlp.metrics.rouge")
    longest = rouge.RougeL(gamma=1.0)
    longest.add_inst(answer, [expected])
    assert rouge_l(answer, expected) == pytest.approx(longest.score(), abs=1e-15)
    for n, theirs in ((1, rouge.Rouge1()), (2, rouge.Rouge2())):
        if len(expected) >= n:  # theirs divides by zero otherwise
            assert rouge_n(answer, expected, n) == theirs.score([answer], [expected])
