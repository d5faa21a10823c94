"""What the model is shown, letter by letter; and that a runner with a planted error refuses to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from _samples import WRITERS
from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation import benchmarks, prompts
from adapter_conform.evaluation.benchmarks import BENCHMARKS, Question, questions_of
from adapter_conform.evaluation.checks import RunnerWrong, check_questions
from adapter_conform.evaluation.items import Item, Subject, limited
from adapter_conform.evaluation.prompts import FORMATS, Prompt


def asked(folder: Path, name: str, shots: int | None = None) -> tuple[list[Subject], list[Question]]:
    subjects = BENCHMARKS[name].read(WRITERS[name](folder))
    return subjects, questions_of(BENCHMARKS[name], subjects, shots)


def question(folder: Path, name: str, id: str, shots: int | None = None) -> Question:
    return next(one for one in asked(folder, name, shots)[1] if one.item.id == id)


def test_mmlu(tmp_path: Path) -> None:
    one = question(tmp_path, "mmlu", "logic/1", shots=1)
    assert one.prompt.text() == (
        "The following are multiple choice questions (with answers) about logic.\n\n"
        "What is 105 plus 0?\nA. 95\nB. 105\nC. 115\nD. 125\nAnswer: B\n\n"
        "What is 205 plus 3?\nA. 208\nB. 218\nC. 228\nD. 238\nAnswer:"
    )
    assert (one.continuations, one.right) == ((" A", " B", " C", " D"), 0)


def test_ceval(tmp_path: Path) -> None:
    one = question(tmp_path, "ceval", "law/0", shots=1)
    assert one.prompt.text() == (
        "以下是中国关于法学考试的单项选择题，请选出其中的正确答案。\n\n"
        "What is 103 plus 0?\nA. 73\nB. 83\nC. 93\nD. 103\n答案：D\n\n"
        "What is 203 plus 0?\nA. 173\nB. 183\nC. 193\nD. 203\n答案："
    )
    assert (one.continuations, one.right) == (("A", "B", "C", "D"), 3)


def test_boolq(tmp_path: Path) -> None:
    one = question(tmp_path, "boolq", "boolq/2", shots=1)
    assert one.prompt.text() == (
        "50 is a number.\nQuestion: is 50 even?\nAnswer: yes\n\n2 is a number.\nQuestion: is 2 even?\nAnswer:"
    )
    assert (one.continuations, one.right) == ((" no", " yes"), 1)


def test_bbh(tmp_path: Path) -> None:
    one = question(tmp_path, "bbh", "above/4", shots=1)
    assert one.prompt.text() == (
        "Compare numbers.\n\n"
        "Q: Is 9 above 3?\nOptions:\n- Yes\n- No\nA: Let's think step by step.\nWe look at 9. So the answer is Yes.\n\n"
        "Q: Is 4 above 3?\nOptions:\n- Yes\n- No\nA: Let's think step by step.\n"
    )
    assert (one.continuations, one.stops, one.limit) == ((), ("\n\n", "\nQ:"), 1024)


def test_agieval(tmp_path: Path) -> None:
    _, questions = asked(tmp_path, "agieval")
    several, cloze, single = questions[0], questions[1], questions[2]
    assert several.prompt.text() == "问题：哪些是对的 选项：(A)甲 (B)乙 (C)丙 (D)丁\n答案：从A到D, 我们应选择"
    assert several.continuations == ()
    assert cloze.prompt.text() == "Q: What is $1+1$?\nA: The answer is"
    assert single.prompt.text() == (
        "Q: Which is it, 0? Answer Choices: (A)one (B)two hundred (C)three (D)four\nA: Among A through D, the answer is"
    )
    assert single.continuations == (" (A)one", " (B)two hundred", " (C)three", " (D)four")


def test_examples_of_agieval(tmp_path: Path) -> None:
    subjects = [one for one in BENCHMARKS["agieval"].read(WRITERS["agieval"](tmp_path)) if one.shots]
    cloze, single = questions_of(BENCHMARKS["agieval"], subjects, 1)[:2]
    assert cloze.prompt.shots == ("Q: What is $2+0$?\nA: The answer is 2\n\n",)
    assert single.prompt.shots[0].endswith("A: Among A through D, the answer is (B)two hundred\n\n")


def test_humaneval(tmp_path: Path) -> None:
    one = question(tmp_path, "humaneval", "HumanEval/0")
    assert one.prompt.text() == 'def add0(x):\n    """Adds 0."""\n'
    assert one.stops == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_all_prompts_are_right_and_the_same_each_time(tmp_path: Path, name: str) -> None:
    most = {"agieval": 0, "humaneval": 0}.get(name, 3)
    for shots in range(most + 1):
        subjects, questions = asked(tmp_path / str(shots), name, shots)
        check_questions(questions, subjects, shots)
        assert questions == questions_of(BENCHMARKS[name], subjects, shots)
        assert {len(one.prompt.shots) for one in questions} == {shots}


def test_fewer_examples_than_asked_for_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"--shots 6: there are 5 examples for high_school_sums"):
        asked(tmp_path, "mmlu", 6)


def test_limit_takes_the_first_of_each_subject(tmp_path: Path) -> None:
    subjects = limited(BENCHMARKS["mmlu"].read(WRITERS["mmlu"](tmp_path)), 2)
    assert [item.id for one in subjects for item in one.items] == [
        "high_school_sums/0", "high_school_sums/1", "logic/0", "logic/1",
    ]  # fmt: skip


def test_an_example_that_asks_the_same_gives_its_place_to_the_next(tmp_path: Path) -> None:
    (first, _) = BENCHMARKS["mmlu"].read(WRITERS["mmlu"](tmp_path))
    twin = replace(first.shots[0], question=f" {first.items[0].question}\n")
    subject = replace(first, shots=(twin, *first.shots[1:]), items=first.items[:2])
    leaking, other = questions_of(BENCHMARKS["mmlu"], [subject], 4)
    check_questions([leaking, other], [subject], 4)
    assert [one.question for one in first.shots[1:5]] == [shot.split("\nA. ")[0] for shot in leaking.prompt.shots]
    assert len(other.prompt.shots) == 4
    assert twin.question in other.prompt.text()


# ---- planted errors -------------------------------------------------------------------------------------------------


def wrong_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choices are shown the other way round."""
    lettered = prompts._lettered
    monkeypatch.setattr(prompts, "_lettered", lambda item: lettered(replace(item, choices=item.choices[::-1])))


def wrong_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likelihoods are asked for in another order than choices are shown in."""
    style = FORMATS["mmlu"]
    turned = replace(style, continuations=lambda item: style.continuations(item)[::-1])
    monkeypatch.setitem(FORMATS, "mmlu", turned)


def wrong_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The letter after the right one counts as right."""
    right = property(lambda item: tuple((ord(letter) - ord("A") + 1) % 4 for letter in item.answer))
    monkeypatch.setattr(Item, "right", right)


def example_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = prompts.shots_for
    monkeypatch.setattr(prompts, "shots_for", lambda subject, item, count: chosen(subject, item, count - 1))


def example_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = prompts.shots_for
    monkeypatch.setattr(prompts, "shots_for", lambda subject, item, count: chosen(subject, item, count + 1))


def examples_one_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second to the last in place of the first."""

    def shifted(subject: Subject, item: Item, count: int) -> Sequence[Item]:
        return subject.shots[1 : count + 1]

    monkeypatch.setattr(prompts, "shots_for", shifted)


def example_with_the_next_ones_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(subject: Subject, item: Item, count: int) -> Sequence[Item]:
        answers = [shot.answer for shot in subject.shots]
        return [replace(shot, answer=answers[i + 1]) for i, shot in enumerate(subject.shots[:count])]

    monkeypatch.setattr(prompts, "shots_for", mixed)


def own_answer_among_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "shots_for", lambda subject, item, count: [item, *subject.shots][:count])


def own_answer_in_the_file_of_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples hold a question of the test, and nobody leaves it away."""
    monkeypatch.setattr(prompts, "shots_for", lambda subject, item, count: [*subject.shots[:-1], item][-count:])


def item_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made = benchmarks._question
    monkeypatch.setattr(
        benchmarks, "_question", lambda b, subject, item, *rest: made(b, subject, subject.items[0], *rest)
    )


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        (wrong_order, "not shown in the order of the file"),
        (wrong_letters, "is taken for"),
        (wrong_right_one, "is taken for"),
        (example_too_few, "2 examples in place of 3"),
        (example_too_many, "4 examples in place of 3"),
        (examples_one_off, "example 1 is not"),
        (example_with_the_next_ones_answer, "is not high_school_sums/dev/"),
        (own_answer_among_the_examples, "its own answer stands among the examples"),
        (own_answer_in_the_file_of_examples, "its own answer stands among the examples"),
        (item_left_out, "each once"),
    ],
)
def test_a_runner_that_is_wrong_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: object, says: str
) -> None:
    assert callable(planted)
    planted(monkeypatch)
    subjects, questions = asked(tmp_path, "mmlu", 3)
    with pytest.raises(RunnerWrong, match=says):
        check_questions(questions, subjects, 3)


def test_prompts_are_told_apart_by_their_digest() -> None:
    one, other = Prompt("i", ("a", "b"), "q"), Prompt("i", ("a",), "bq")
    assert one.text() == other.text() == "iabq"
    assert one.digest == other.digest
    assert Prompt("i", ("b", "a"), "q").digest != one.digest
    assert one.text(1) == "iaq"
