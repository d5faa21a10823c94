"""The run: asks what is not answered yet, writes down each answer, sums up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from adapter_conform.appending import AppendedFile, drop_torn_line
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.evaluation.benchmarks import Benchmark, Question
from adapter_conform.evaluation.model.client import DeviceFailed
from adapter_conform.evaluation.model.language import Answer
from adapter_conform.evaluation.outcomes import Outcome, read_outcomes
from adapter_conform.evaluation.request import EvaluationRequest
from adapter_conform.evaluation.sandbox import Limits, run_program
from adapter_conform.evaluation.scoring import Judged, judge_choice, judge_text, program_of
from adapter_conform.jsondata import compact, jsonable

__all__ = ["Asked", "Conduct", "Model", "opened"]

OUTCOMES = "outcomes.jsonl"
_MOST_FAILURES = 3
"""Questions at which the device may fail before the run ends."""
_PROGRESS_SECONDS = 10.0


class Model(Protocol):
    """A :class:`ModelClient`."""

    kernels: Counter[str]

    def ask(self, questions: Sequence[dict[str, Any]]) -> list[Answer]: ...


@dataclass
class Asked:
    """What became of the questions."""

    outcomes: dict[str, Outcome]
    failures: list[str] = field(default_factory=list)
    """Questions that the device did not answer, and why."""
    interrupted: bool = False


def opened(folder: Path, request: EvaluationRequest, resume: bool) -> dict[str, Outcome]:
    """Outcomes that are there already; makes the folder where there are none.

    Raises:
        UsageProblem: the folder holds an evaluation and is not to be gone on with, or one of something else.
    """
    path = folder / OUTCOMES
    header = jsonable(request.header())
    if not resume:
        if path.exists():
            raise UsageProblem(f"{folder} holds an evaluation already: go on with --resume, or give another --out")
        folder.mkdir(parents=True, exist_ok=True)
        file = AppendedFile(path)
        file.append(header)
        file.close()
        return {}
    if not path.exists():
        raise UsageProblem(f"--resume: there is no evaluation in {folder}: {path} is missing")
    drop_torn_line(path)
    found, outcomes = read_outcomes(path)
    other = [name for name in {**header, **found} if header.get(name) != found.get(name)]
    if other:
        said = "; ".join(f"{name} {compact(found.get(name))}, now {compact(header.get(name))}" for name in other)
        raise UsageProblem(f"--resume: the evaluation in {folder} is of something else: {said}\nGive its own options.")
    return outcomes


@dataclass
class Conduct:
    benchmark: Benchmark
    request: EvaluationRequest
    model: Model
    folder: Path
    say: Callable[[str], None]
    code_limits: Limits = field(default_factory=Limits)

    def run(self, questions: Sequence[Question], done: Mapping[str, Outcome]) -> Asked:
        """Asks what is not in ``done``. Each answer is in the file before the next question is asked.

        Raises:
            ConformError: the model cannot be brought to the device, or there is no room for the answers.
        """
        asked = Asked({question.item.id: done[question.item.id] for question in questions if question.item.id in done})
        open_questions = [question for question in questions if question.item.id not in done]
        file = AppendedFile(self.folder / OUTCOMES)
        progress = _Progress(len(questions), self.say)
        try:
            for group in _groups(open_questions, self.request.model.batch):
                for outcome in self._outcomes(group, asked):
                    file.append(outcome)
                    asked.outcomes[outcome.id] = outcome
                    progress.tell(asked.outcomes)
                if len(asked.failures) >= _MOST_FAILURES:
                    break
        except KeyboardInterrupt:
            asked.interrupted = True
        except OSError as error:
            raise ConformError(f"outcomes cannot be written: {error}; make room and go on with --resume") from error
        finally:
            file.close()
        return asked

    def _outcomes(self, group: Sequence[Question], asked: Asked) -> Iterator[Outcome]:
        """Of questions that are answered together; one by one where the device fails at them."""
        try:
            answers, calls = self._answers(group)
        except DeviceFailed as error:
            if len(group) > 1:
                self.say(f"the device failed ({error}); asking one by one")
                for question in group:
                    if len(asked.failures) < _MOST_FAILURES:
                        yield from self._outcomes([question], asked)
            else:
                asked.failures.append(f"{group[0].item.id}: {error}")
                self.say(f"the device failed at {asked.failures[-1]}")
            return
        for question, answer in zip(group, answers, strict=True):
            yield self._outcome(question, answer, calls)

    def _answers(self, group: Sequence[Question]) -> tuple[list[Answer], int]:
        """And how often the device's kernels were called in the precision that was asked for."""
        before = self._calls()
        answers = self.model.ask([_message(question) for question in group])
        if [answer.id for answer in answers] != [question.item.id for question in group]:
            raise ConformError("the answers are not those of the questions")
        return answers, self._calls() - before

    def _calls(self) -> int:
        suffix = f"/{self.request.model.precision}"
        return sum(count for name, count in self.model.kernels.items() if name.endswith(suffix))

    def _outcome(self, question: Question, answer: Answer, calls: int) -> Outcome:
        judged = Judged("", 0.0, fault=answer.fault) if answer.fault else self._judged(question, answer)
        item = question.item
        return Outcome(
            id=item.id,
            subject=question.subject,
            expected="" if self.benchmark.runs_code else item.answer,
            answer=judged.answer,
            score=judged.score,
            prompt=question.prompt.digest,
            shots=answer.shots,
            other_score=judged.other_score,
            likelihoods=answer.likelihoods,
            text=answer.text,
            fault=judged.fault,
            kernel_calls=calls,
        )

    def _judged(self, question: Question, answer: Answer) -> Judged:
        if question.continuations:
            return judge_choice(self.benchmark, question, answer.likelihoods)
        if self.benchmark.runs_code:
            verdict = run_program(program_of(question, answer.text), self.code_limits)
            return Judged("passed" if verdict.passed else verdict.why, float(verdict.passed))
        return judge_text(self.benchmark, question, answer.text)


def _message(question: Question) -> dict[str, Any]:
    prompt = question.prompt
    return {
        "id": question.item.id,
        "introduction": prompt.introduction,
        "shots": list(prompt.shots),
        "question": prompt.question,
        "continuations": list(question.continuations),
        "stops": list(question.stops),
        "limit": question.limit,
    }


def _groups(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), size):
        yield questions[start : start + size]


class _Progress:
    """A line now and then. The first answer, which waits for the model, is left out of the time that is foretold."""

    def __init__(self, whole: int, say: Callable[[str], None]) -> None:
        self._whole, self._say = whole, say
        self._first: tuple[int, float] | None = None
        self._last = 0.0

    def tell(self, outcomes: Mapping[str, Outcome]) -> None:
        now, done = time.monotonic(), len(outcomes)
        if self._first is None:
            self._first, self._last = (done, now), now
        if now - self._last < _PROGRESS_SECONDS:
            return
        self._last = now
        before, start = self._first
        left = (now - start) / max(1, done - before) * (self._whole - done)
        score = sum(outcome.score for outcome in outcomes.values()) / done
        self._say(f"{done} of {self._whole} questions, {score:.1%} right so far, about {left / 60:.0f} min left")
