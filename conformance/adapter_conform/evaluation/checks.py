"""What has to be true of every question before it is asked: a runner that is wrong measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from adapter_conform.errors import ConformError
from adapter_conform.evaluation.benchmarks import Question
from adapter_conform.evaluation.items import Item, Subject

__all__ = ["RunnerWrong", "check_questions", "faults_of"]


class RunnerWrong(ConformError):
    """A question contradicts the file that it comes from. Nothing was asked."""


def check_questions(questions: Sequence[Question], subjects: Sequence[Subject], shots: int) -> None:
    """Raises RunnerWrong, with the first faults."""
    by_name = {subject.name: subject for subject in subjects}
    faults = [
        f"{question.item.id}: {fault}"
        for question in questions
        for fault in faults_of(question, by_name[question.subject], shots)
    ]
    asked = [question.item.id for question in questions]
    if sorted(asked) != sorted(item.id for subject in subjects for item in subject.items):
        faults.append(f"{len(asked)} questions are not the {sum(len(one.items) for one in subjects)} items, each once")
    if faults:
        more = f"\n  and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise RunnerWrong("questions are not those of the files:\n  " + "\n  ".join(faults[:5]) + more)


def faults_of(question: Question, subject: Subject, shots: int) -> list[str]:
    """What is wrong with a question that is to have ``shots`` examples."""
    return [*_of_shots(question, subject, shots), *_of_choices(question)]


def _of_shots(question: Question, subject: Subject, shots: int) -> list[str]:
    prompt, asked = question.prompt, question.item
    if any(shot.startswith(prompt.question.rstrip()) for shot in prompt.shots):
        return ["its own answer stands among the examples"]
    own = (asked.question.split(), asked.passage.split())
    wanted = [one for one in subject.shots if (one.question.split(), one.passage.split()) != own][:shots]
    if len(prompt.shots) != len(wanted):
        return [f"{len(prompt.shots)} examples in place of {len(wanted)}"]
    return [
        f"example {place + 1} is not {example.id}"
        for place, (shown, example) in enumerate(zip(prompt.shots, wanted, strict=True))
        if example.question not in shown or not _answers(shown, example)
    ]


def _answers(shown: str, example: Item) -> bool:
    """Whether an example ends as its file answers it."""
    end = shown.rstrip().removesuffix(".")
    options = [example.choices[place].strip() for place in example.right] if example.choices else []
    return any(end.endswith(answer.strip().removesuffix(".")) for answer in (example.answer, *options))


def _of_choices(question: Question) -> list[str]:
    item, shown = question.item, question.prompt.question
    faults = []
    places = []
    at = shown.find(item.question) + len(item.question)
    for choice in item.choices:
        at = shown.find(choice, at)
        places.append(at)
        at += len(choice)
    if any(place < 0 for place in places):
        faults.append("the choices are not shown in the order of the file")
    if question.continuations:
        if item.choices and len(question.continuations) != len(item.choices):
            faults.append(f"{len(question.continuations)} likelihoods are asked for, of {len(item.choices)} choices")
        elif not 0 <= question.right < len(question.continuations):
            faults.append("no choice is right")
        elif not _says(question):
            faults.append(f"{question.continuations[question.right]!r} is taken for {item.answer!r}")
    return faults


def _says(question: Question) -> bool:
    """Whether the continuation that counts as right is the letter, the word or the choice that the file calls right."""
    item, right = question.item, question.continuations[question.right].strip()
    if right == item.answer:
        return True
    return bool(item.choices) and right == item.choices["ABCDEFG".index(item.answer)].strip()
