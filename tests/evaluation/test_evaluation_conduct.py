"""The run without a device: a model that is a few lines of Python, killed, tripped and gone on with."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _samples import LETTERS, WRITERS, mmlu
from adapter_conform.cli import cli
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.evaluation.benchmarks import BENCHMARKS, Question, questions_of
from adapter_conform.evaluation.conduct import Asked, Conduct, opened
from adapter_conform.evaluation.model.client import DeviceFailed
from adapter_conform.evaluation.model.language import Answer, Text, Writing, answers
from adapter_conform.evaluation.model.request import ModelRequest
from adapter_conform.evaluation.model.tokenizer import tokenizer_without_file
from adapter_conform.evaluation.outcomes import Outcome, read_outcomes
from adapter_conform.evaluation.report import Report, report_of, write_report
from adapter_conform.evaluation.request import EvaluationRequest, digest_of
from adapter_conform.evaluation.sandbox import SandboxUnavailable, isolation
from adapter_conform.states import ExitCode


class Puppet:
    """Answers by ``solve``, which is given what the device would be told: the prompt's text, and the continuations."""

    def __init__(self, solve: Callable[[str, list[str]], Any], calls: str = "matmul/float32") -> None:
        self.kernels: Counter[str] = Counter()
        self.asked: list[str] = []
        self._solve, self._calls = solve, calls

    def ask(self, questions: Sequence[dict[str, Any]]) -> list[Answer]:
        self.asked += [question["id"] for question in questions]
        found = [self._answer(question) for question in questions]
        self.kernels[self._calls] += 7
        return found

    def _answer(self, question: dict[str, Any]) -> Answer:
        text = question["introduction"] + "".join(question["shots"]) + question["question"]
        said = self._solve(text, question["continuations"])
        if question["continuations"]:
            return Answer(question["id"], len(question["shots"]), tuple(said))
        return Answer(question["id"], len(question["shots"]), text=said)


def adds(text: str, continuations: list[str]) -> list[float]:
    """Reads the last question as a person would: computes the sum, looks where it stands, prefers its letter."""
    *_, asked = text.strip().split("\n\n")
    lines = asked.split("\n")
    left, right = (int(part) for part in lines[0].removeprefix("What is ").removesuffix("?").split(" plus "))
    letter = next(line[0] for line in lines[1:] if line[1:3] == ". " and line[3:] == str(left + right))
    return [0.0 if one.strip() == letter else -5.0 for one in continuations]


def wrongly(text: str, continuations: list[str]) -> list[float]:
    return [-5.0 - figure for figure in adds(text, continuations)]


def request_for(questions: Sequence[Question], benchmark: str = "mmlu", batch: int = 4) -> EvaluationRequest:
    model = ModelRequest("puppet", "puppet", None, "f", batch=batch)
    return EvaluationRequest(benchmark, 5, None, 0, digest_of(questions), model)


def run(
    folder: Path, model: Any, benchmark: str = "mmlu", count: int = 6, resume: bool = False
) -> tuple[list[Question], Asked]:
    data = folder / f"data-{benchmark}-{count}"
    if not data.exists():
        mmlu(data, count) if benchmark == "mmlu" else WRITERS[benchmark](data)
    shots = 0 if benchmark == "agieval" else None
    questions = questions_of(BENCHMARKS[benchmark], BENCHMARKS[benchmark].read(data), shots)
    request = request_for(questions, benchmark)
    done = opened(folder / "out", request, resume)
    asked = Conduct(BENCHMARKS[benchmark], request, model, folder / "out", lambda line: None).run(questions, done)
    return questions, asked


def reported(questions: list[Question], asked: Asked, reference: dict[str, Outcome] | None = None) -> Report:
    return report_of(BENCHMARKS["mmlu"], questions, asked, reference, 0.01)


def test_a_model_that_can_add_is_right(tmp_path: Path) -> None:
    questions, asked = run(tmp_path, Puppet(adds))
    report = reported(questions, asked)
    assert report.score is not None
    assert (report.score.value, report.score.items, report.code) == (1.0, 12, ExitCode.CONFORMANT)
    assert {one.answer for one in asked.outcomes.values()} <= set(LETTERS)
    lines = write_report(tmp_path / "out", request_for(questions), report, {})
    assert "mmlu, 5 shots, float32: 1.0000" in lines[0]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["subjects"]["logic"]["value"] == 1.0


def test_a_model_that_prefers_all_others_is_wrong(tmp_path: Path) -> None:
    questions, asked = run(tmp_path, Puppet(wrongly))
    score = reported(questions, asked).score
    assert score is not None
    assert score.value == 0.0


def test_every_outcome_is_in_the_file(tmp_path: Path) -> None:
    _, asked = run(tmp_path, Puppet(adds))
    header, found = read_outcomes(tmp_path / "out" / "outcomes.jsonl")
    assert found == asked.outcomes
    assert header["benchmark"] == "mmlu"
    assert all(one.kernel_calls == 7 for one in found.values())


class Killed(BaseException):
    pass


@pytest.mark.parametrize("torn", [False, True])
def test_what_was_answered_is_not_asked_again(tmp_path: Path, torn: bool) -> None:
    killed = Puppet(adds)

    def until(text: str, continuations: list[str]) -> list[float]:
        if len(killed.asked) > 8:
            raise Killed
        return adds(text, continuations)

    killed._solve = until
    with pytest.raises(Killed):
        run(tmp_path, killed)
    path = tmp_path / "out" / "outcomes.jsonl"
    assert len(read_outcomes(path)[1]) == 8
    if torn:
        path.write_bytes(path.read_bytes()[:-20])
    again = Puppet(adds)
    questions, asked = run(tmp_path, again, resume=True)
    assert len(again.asked) == (5 if torn else 4)
    assert reported(questions, asked).code is ExitCode.CONFORMANT
    assert len(read_outcomes(path)[1]) == 12


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    interrupted = Puppet(adds)

    def until(text: str, continuations: list[str]) -> list[float]:
        if len(interrupted.asked) > 4:
            raise KeyboardInterrupt
        return adds(text, continuations)

    interrupted._solve = until
    questions, asked = run(tmp_path, interrupted)
    report = reported(questions, asked)
    assert report.code is ExitCode.INCONCLUSIVE
    assert report.reasons == ("8 of 12 questions are not answered: interrupted; go on with --resume",)


def test_a_folder_is_not_written_over_nor_mixed_up(tmp_path: Path) -> None:
    run(tmp_path, Puppet(adds))
    with pytest.raises(UsageProblem, match="holds an evaluation already"):
        run(tmp_path, Puppet(adds))
    with pytest.raises(UsageProblem, match="is of something else: data"):
        run(tmp_path, Puppet(adds), count=5, resume=True)
    with pytest.raises(UsageProblem, match="there is no evaluation in"):
        run(tmp_path / "elsewhere", Puppet(adds), resume=True)


def failing_at(*ids: str) -> Puppet:
    """A device that fails whenever one of ``ids`` is among what is asked."""
    puppet = Puppet(adds)
    ask = puppet.ask

    def tripped(questions: Sequence[dict[str, Any]]) -> list[Answer]:
        if {question["id"] for question in questions} & set(ids):
            raise DeviceFailed("no answer within 9 seconds")
        return ask(questions)

    puppet.ask = tripped  # type: ignore[method-assign]
    return puppet


def test_one_question_that_the_device_cannot_bear(tmp_path: Path) -> None:
    questions, asked = run(tmp_path, failing_at("logic/2"))
    report = reported(questions, asked)
    assert len(asked.outcomes) == 11
    assert report.code is ExitCode.INCONCLUSIVE
    assert "logic/2: no answer within 9 seconds" in report.reasons[0]
    questions, asked = run(tmp_path, Puppet(adds), resume=True)
    assert reported(questions, asked).code is ExitCode.CONFORMANT


def test_a_device_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    gone = failing_at(*(f"logic/{i}" for i in range(6)), *(f"high_school_sums/{i}" for i in range(6)))
    questions, asked = run(tmp_path, gone)
    assert len(asked.failures) == 3
    assert not asked.outcomes
    assert reported(questions, asked).score is None


def test_no_kernel_no_proof(tmp_path: Path) -> None:
    questions, asked = run(tmp_path, Puppet(adds, calls="matmul/bfloat16"))
    report = reported(questions, asked)
    assert report.code is ExitCode.INCONCLUSIVE
    assert report.reasons == ("12 answers came without a kernel of the device in the precision asked for",)


def test_a_tool_beside_the_device_takes_the_proof_away(tmp_path: Path) -> None:
    questions, asked = run(tmp_path, Puppet(adds))
    report = report_of(BENCHMARKS["mmlu"], questions, asked, None, 0.01, "tool.so")
    assert report.code is ExitCode.INCONCLUSIVE


def test_a_worse_device_is_shown_to_be_worse(tmp_path: Path) -> None:
    questions, asked = run(tmp_path / "reference", Puppet(adds), count=200)
    reference = asked.outcomes
    assert reported(questions, asked, reference).code is ExitCode.CONFORMANT
    seen = Counter[str]()

    def worse(text: str, continuations: list[str]) -> list[float]:
        seen["all"] += 1
        return (wrongly if seen["all"] % 8 == 0 else adds)(text, continuations)

    questions, asked = run(tmp_path / "device", Puppet(worse), count=200)
    report = reported(questions, asked, reference)
    assert report.code is ExitCode.NOT_CONFORMANT
    assert "differs from the reference's by more than 0.01" in report.reasons[0]
    few, asked = run(tmp_path / "few", Puppet(adds), count=6)
    assert reported(few, asked, dict(asked.outcomes)).code is ExitCode.INCONCLUSIVE


def test_code_is_run_and_judged(tmp_path: Path) -> None:
    try:
        isolation()
    except SandboxUnavailable as error:
        pytest.skip(str(error))

    def writes(text: str, _continuations: list[str]) -> str:
        number = int(text.split("add")[1].split("(")[0])
        return f"    return x + {number}\n" if number != 1 else "    return x\n"

    _, asked = run(tmp_path, Puppet(writes), "humaneval")
    assert [one.score for one in asked.outcomes.values()] == [1.0, 0.0, 1.0]
    assert asked.outcomes["HumanEval/1"].answer == "AssertionError: "


def test_reasoning_is_read_and_judged(tmp_path: Path) -> None:
    def reasons(text: str, _continuations: list[str]) -> str:
        number = int(text.rsplit("Is ", 1)[1].split(" ")[0])
        return f"Let us see. So the answer is {'Yes' if number > 3 else 'No'}."

    _, asked = run(tmp_path, Puppet(reasons), "bbh")
    assert [one.score for one in asked.outcomes.values()] == [1.0] * 5


# ---- prompts become tokens ------------------------------------------------------------------------------------------


class Counting:
    """A model with ``positions`` that prefers long texts, and writes what it is told to."""

    def __init__(self, positions: int, says: str = "") -> None:
        self.positions, self._says = positions, says
        self.texts: list[Text] = []

    def likelihoods(self, texts: Sequence[Text]) -> list[float]:
        self.texts += texts
        return [float(len(text.tokens) - text.first) for text in texts]

    def write(self, wanted: Sequence[Writing]) -> list[list[int]]:
        written = []
        for writing in wanted:
            tokens: list[int] = []
            for token in tokenizer_without_file(300).encode(self._says)[: writing.limit]:
                tokens.append(token)
                if writing.ended(tokens):
                    break
            written.append(tokens)
        return written


def message(**changes: Any) -> dict[str, Any]:
    asked = {"id": "q", "introduction": "", "shots": ["12345", "67890"], "question": "?"}
    return {**asked, "continuations": [" a", " bc"], "stops": ["\n\n"], "limit": 8, **changes}


@pytest.mark.parametrize(("positions", "shots"), [(15, 2), (14, 1), (10, 1), (9, 0), (5, 0)])
def test_examples_without_room_are_left_away(positions: int, shots: int) -> None:
    """Prefix 1, question 1, each example 5, the longest continuation 3."""
    model = Counting(positions)
    (answer,) = answers(model, tokenizer_without_file(300), frozenset(), [message()])
    assert (answer.shots, answer.likelihoods, answer.fault) == (shots, (2.0, 3.0), "")
    assert all(len(text.tokens) <= positions for text in model.texts)


def test_a_question_without_room_has_no_answer() -> None:
    found = answers(
        Counting(4), tokenizer_without_file(300), frozenset(), [message(), message(id="w", continuations=[])]
    )
    assert [bool(answer.fault) for answer in found] == [True, False]
    (long,) = answers(
        Counting(4), tokenizer_without_file(300), frozenset(), [message(question="?" * 9, continuations=[])]
    )
    assert "does not fit into 4 positions" in long.fault


def test_a_text_ends_at_its_stop_or_at_the_end() -> None:
    tokenizer = tokenizer_without_file(300)
    (stopped,) = answers(Counting(64, "yes\n\nno"), tokenizer, frozenset(), [message(continuations=[])])
    assert stopped.text == "yes"
    ends = frozenset(tokenizer.encode("e"))
    (ended,) = answers(Counting(64, "yes"), tokenizer, ends, [message(continuations=[])])
    assert ended.text == "y"
    (cut,) = answers(Counting(64, "0123456789"), tokenizer, frozenset(), [message(continuations=[])])
    assert cut.text == "01234567"


class Merging:
    """A tokenizer that joins ``: `` and ``:A``, so that prompt and continuation meet within a token."""

    prefix = (1,)

    def encode(self, text: str) -> list[int]:
        return [9 if pair == ":A" else 8 if pair == ": " else ord(pair[0]) for pair in _pairs(text)]

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(chr(token) for token in tokens)


def _pairs(text: str) -> list[str]:
    found, place = [], 0
    while place < len(text):
        pair = text[place : place + 2]
        found.append(pair if pair in (":A", ": ") else text[place])
        place += len(found[-1])
    return found


def test_tokens_that_join_across_the_border_are_scored_from_before_it() -> None:
    model = Counting(64)
    answers(model, Merging(), frozenset(), [message(shots=[], question="x:", continuations=["A", "B"])])
    one, other = model.texts
    assert (one.tokens, one.first) == ((1, ord("x"), 9), 2)
    assert (other.tokens, other.first) == ((1, ord("x"), ord(":"), ord("B")), 2)


# ---- the command line -----------------------------------------------------------------------------------------------


def command(*arguments: object) -> None:
    cli.main(["evaluate", *map(str, arguments)], standalone_mode=False)


def test_code_is_not_run_unasked(tmp_path: Path) -> None:
    data = WRITERS["humaneval"](tmp_path / "data")
    with pytest.raises(UsageProblem, match="--allow-code-execution"):
        command(
            "--plugin", "refchip", "--benchmark", "humaneval", "--data", data, "--model", "x", "--out", tmp_path / "o"
        )
    assert not (tmp_path / "o").exists()


def test_wrong_data_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="Give the folder that holds MMLU"):
        command("--plugin", "refchip", "--benchmark", "mmlu", "--data", tmp_path, "--model", "x")


def test_a_runner_that_is_wrong_is_an_inconclusive_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapter_conform.evaluation import prompts

    monkeypatch.setattr(prompts, "shots_for", lambda subject, item, count: [item, *subject.shots][:count])
    with pytest.raises(ConformError, match="its own answer stands among the examples") as raised:
        command("--plugin", "refchip", "--benchmark", "mmlu", "--data", mmlu(tmp_path / "data"), "--model", "x")
    assert not isinstance(raised.value, UsageProblem)
    assert "refchip" not in os.listdir(tmp_path)
