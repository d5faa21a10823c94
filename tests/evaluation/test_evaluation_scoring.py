"""Answers within texts, likelihoods with and without lengths, scores with intervals, and files of outcomes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from adapter_conform.certification.datafiles.errors import DataError
from adapter_conform.evaluation.benchmarks import BENCHMARKS, Question
from adapter_conform.evaluation.items import Item
from adapter_conform.evaluation.model.language import shortened
from adapter_conform.evaluation.outcomes import Outcome, read_outcomes
from adapter_conform.evaluation.prompts import Prompt
from adapter_conform.evaluation.scoring import judge_choice, judge_text, program_of
from adapter_conform.evaluation.summary import compared, score_of, wilson
from hypothesis import given, settings
from hypothesis import strategies as st


def choice(*continuations: str, right: int = 0) -> Question:
    item = Item("x/0", "q", "ABCD"[right], tuple(one.strip() for one in continuations))
    return Question(item, "x", Prompt("", (), "q"), continuations, right, (), 0)


def free(answer: str, id: str = "x/0", choices: tuple[str, ...] = ()) -> Question:
    return Question(Item(id, "q", answer, choices), "x", Prompt("", (), "q"), (), -1, (), 8)


def test_the_likeliest_choice_is_the_answer() -> None:
    judged = judge_choice(BENCHMARKS["mmlu"], choice(" A", " B", " C", " D", right=2), [-3.0, -2.0, -1.0, -4.0])
    assert (judged.answer, judged.score, judged.other_score) == ("C", 1.0, None)
    equal = judge_choice(BENCHMARKS["mmlu"], choice(" A", " B", right=1), [-1.0, -1.0])
    assert (equal.answer, equal.score) == ("A", 0.0)


def test_lengths_count_where_the_benchmark_says_so() -> None:
    question = choice(" four", " a long answer", right=1)
    figures = [-4.0, -6.5]  # -1 and -0.5 a character
    by_length = judge_choice(BENCHMARKS["agieval"], question, figures)
    whole = judge_choice(BENCHMARKS["mmlu"], question, figures)
    assert (by_length.answer, by_length.score, by_length.other_score) == ("B", 1.0, 0.0)
    assert (whole.answer, whole.score, whole.other_score) == ("A", 0.0, 1.0)


@pytest.mark.parametrize("figures", [[math.nan, -1.0], [-1.0], [-1.0, -2.0, -3.0]])
def test_figures_that_are_none_are_no_answer(figures: list[float]) -> None:
    judged = judge_choice(BENCHMARKS["mmlu"], choice(" A", " B"), figures)
    assert judged.fault
    assert judged.score == 0.0


@pytest.mark.parametrize(
    ("text", "answer", "score"),
    [
        ("It is even. So the answer is Yes.", "Yes", 1.0),
        ("so the answer is Yes", "Yes", 1.0),
        ("First the answer is No. Then the answer is Yes.", "Yes", 1.0),
        ("So the answer is yes.", "yes", 0.0),
        ("So the answer is No.", "No", 0.0),
        ("Yes.", "", 0.0),
        ("", "", 0.0),
    ],
)
def test_conclusions_of_bbh(text: str, answer: str, score: float) -> None:
    judged = judge_text(BENCHMARKS["bbh"], free("Yes"), text)
    assert (judged.answer, judged.score) == (answer, score)


@pytest.mark.parametrize(
    ("question", "text", "score"),
    [
        (free("AC", "jec-qa-kd/0", ("a", "b", "c", "d")), " C、A。", 1.0),
        (free("AC", "jec-qa-kd/0", ("a", "b", "c", "d")), "A", 0.0),
        (free("AC", "jec-qa-kd/0", ("a", "b", "c", "d")), "ABC", 0.0),
        (free("AC", "jec-qa-kd/0", ("a", "b", "c", "d")), "A\nC", 0.0),
        (free("", "jec-qa-kd/0", ("a", "b", "c", "d")), "none", 1.0),
        (free("2", "math/0"), " $2$.", 1.0),
        (free(r"\frac{1}{2}", "math/0"), r" therefore $\frac{1} {2}$", 0.0),
        (free(r"\frac{1}{2}", "math/0"), r" $\frac{1} {2}$." "\nmore", 1.0),
        (free("2", "math/0"), "", 0.0),
    ],
)
def test_answers_that_agieval_lets_the_model_write(question: Question, text: str, score: float) -> None:
    assert judge_text(BENCHMARKS["agieval"], question, text).score == score


def test_a_text_ends_at_the_first_of_its_stops() -> None:
    assert shortened("a\nQ: b\n\nc", ("\n\n", "\nQ:")) == "a"
    assert shortened("a b", ("\n\n",)) == "a b"


def test_the_program_that_tests_a_completion() -> None:
    item = Item("HumanEval/0", "def f():\n", "", test="def check(c):\n    assert c() == 1", entry_point="f")
    question = Question(item, "humaneval", Prompt("", (), item.question), (), -1, (), 8)
    assert program_of(question, "    return 1") == (
        "def f():\n    return 1\ndef check(c):\n    assert c() == 1\ncheck(f)\n"
    )


# ---- scores ---------------------------------------------------------------------------------------------------------


def outcomes(scores: dict[str, list[float]]) -> list[Outcome]:
    return [
        Outcome(f"{subject}/{i}", subject, "A", "A", score, prompt="p", kernel_calls=1)
        for subject, group in scores.items()
        for i, score in enumerate(group)
    ]


def test_wilson() -> None:
    """81 of 263 is an example of Newcombe (1998)."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10)[0] == pytest.approx(0.0, abs=1e-12)
    assert wilson(10, 10)[1] == pytest.approx(1.0)


def test_mean_of_items_and_mean_of_subjects() -> None:
    some = outcomes({"a": [1.0] * 9 + [0.0], "b": [0.0, 1.0]})
    assert score_of(some, by_subject=False).value == pytest.approx(10 / 12)
    score = score_of(some, by_subject=True)
    assert score.value == pytest.approx(0.7)
    assert score.low < 0.7 < score.high


def test_one_subject_has_wilsons_interval() -> None:
    some = outcomes({"a": [1.0, 0.0, 1.0]})
    score = score_of(some, by_subject=True)
    assert (score.low, score.high) == pytest.approx(wilson(2, 3))


def test_intervals_of_means_of_subjects_hold_what_they_promise() -> None:
    """Of 400 drawn evaluations of three subjects, about 95% hold the true mean: 360 is six deviations below."""
    draw = np.random.RandomState(0)
    truth = np.array([0.3, 0.6, 0.9])
    held = 0
    for _ in range(400):
        drawn = {str(i): (draw.rand(25) < share).astype(float).tolist() for i, share in enumerate(truth)}
        score = score_of(outcomes(drawn), by_subject=True)
        held += score.low <= truth.mean() <= score.high
    assert 360 < held <= 400


def by_id(some: list[Outcome]) -> dict[str, Outcome]:
    return {one.id: one for one in some}


def test_equal_outcomes_are_equivalent_and_worse_ones_are_not() -> None:
    reference = by_id(outcomes({"a": [1.0] * 300 + [0.0] * 100}))
    same, _ = compared(reference, reference, 0.01)
    assert same is not None
    assert same.accepted
    worse = {id: replace(one, score=0.0) if i % 4 == 0 else one for i, (id, one) in enumerate(reference.items())}
    found, _ = compared(worse, reference, 0.01)
    assert found is not None
    assert found.rejected
    few, _ = compared(dict(list(reference.items())[:50]), dict(list(reference.items())[:50]), 0.01)
    assert few is not None
    assert not few.accepted
    assert not few.rejected


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda o: {}, "400 items of the reference are missing"),
        (lambda o: {**o, "z": o["a/0"]}, "1 are not the reference's"),
        (lambda o: {**o, "a/0": replace(o["a/0"], expected="B")}, "'B' was expected here"),
        (lambda o: {**o, "a/0": replace(o["a/0"], prompt="other")}, "another prompt"),
    ],
)
def test_what_cannot_be_paired(change: object, says: str) -> None:
    assert callable(change)
    reference = by_id(outcomes({"a": [1.0] * 400}))
    found, why = compared(change(reference), reference, 0.01)
    assert found is None
    assert says in why


# ---- files ----------------------------------------------------------------------------------------------------------

HEADER = {"format": 1, "benchmark": "mmlu"}
LINE = {"id": "a/0", "expected": "A", "score": 1}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_reference_needs_little(tmp_path: Path) -> None:
    header, found = read_outcomes(write(tmp_path / "o.jsonl", HEADER, LINE))
    assert header["benchmark"] == "mmlu"
    assert found == {"a/0": Outcome("a/0", "", "A", "", 1.0)}


@settings(max_examples=30, deadline=None)
@given(
    texts=st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=8)] * 3),
    score=st.floats(0, 1),
    likelihoods=st.lists(st.floats(allow_nan=False), max_size=4),
)
def test_outcomes_survive(
    tmp_path_factory: pytest.TempPathFactory, texts: tuple[str, str, str], score: float, likelihoods: list[float]
) -> None:
    from adapter_conform.appending import AppendedFile

    one = Outcome("i", *texts, score, text=texts[0], likelihoods=tuple(likelihoods), kernel_calls=3)
    path = tmp_path_factory.mktemp("outcomes") / "o.jsonl"
    file = AppendedFile(path)
    for line in (HEADER, one):
        file.append(line)
    file.close()
    assert read_outcomes(path)[1] == {"i": one}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "there are no outcomes"),
        ([{"format": 2, "benchmark": "mmlu"}], "no header of format 1"),
        (["[]"], "line 1: no JSON object"),
        ([HEADER, "{"], "line 2: no JSON"),
        ([HEADER, {"id": "a"}], "line 2: expected, score is missing"),
        ([HEADER, {**LINE, "score": 2}], "line 2: score is '2'"),
        ([HEADER, {**LINE, "score": True}], "line 2: score is 'True'"),
        ([HEADER, {**LINE, "score": math.nan}], "line 2: score is 'nan'"),
        ([HEADER, {**LINE, "prompt": 1}], "line 2: prompt is no text"),
        ([HEADER, LINE, LINE], "line 3: a/0 stands there twice"),
    ],
)
def test_files_that_hold_no_outcomes(tmp_path: Path, lines: list[object], says: str) -> None:
    with pytest.raises(DataError, match=says.replace("(", r"\(")):
        read_outcomes(write(tmp_path / "o.jsonl", *lines))


def test_every_field_of_an_outcome_is_written() -> None:
    assert set(asdict(Outcome("i", "s", "e", "a", 1.0))) >= {
        "id",
        "expected",
        "answer",
        "score",
        "prompt",
        "kernel_calls",
    }
