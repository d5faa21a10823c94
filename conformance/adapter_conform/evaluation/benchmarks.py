"""The benchmarks, each with the conventions that its published figures follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapter_conform.errors import UsageProblem
from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.prompts import FORMATS, MANY_RIGHT, YES_NO, Format, Prompt, prompt_for
from adapter_conform.evaluation.readers import agieval, bbh, boolq, ceval, humaneval, mmlu

__all__ = ["BENCHMARKS", "Benchmark", "Question", "questions_of"]


@dataclass(frozen=True)
class Benchmark:
    name: str
    read: Callable[[Path], list[Subject]]
    shots: int
    """Examples, unless the user says otherwise."""
    by_length: bool = False
    """Whether the log-likelihood of a choice is divided by its number of characters before choices are compared."""
    by_subject: bool = False
    """Whether the score is the mean over subjects of their means; else the mean over items."""
    stops: tuple[str, ...] = ()
    """Texts that end what the model writes."""
    limit: int = 0
    """Tokens that the model may write."""
    extract: Callable[[str, Item], str] = lambda text, item: text
    """The answer within what the model wrote."""
    runs_code: bool = False

    @property
    def style(self) -> Format:
        return FORMATS[self.name]


@dataclass(frozen=True)
class Question:
    """What the model is asked."""

    item: Item
    subject: str
    prompt: Prompt
    continuations: tuple[str, ...]
    """Empty where the model writes its answer."""
    right: int
    """Place of the right one among ``continuations``; -1 where there are none."""
    stops: tuple[str, ...]
    limit: int


def questions_of(
    benchmark: Benchmark, subjects: Sequence[Subject], shots: int | None = None, limit: int = 0
) -> list[Question]:
    """All questions of ``subjects``.

    Args:
        shots: examples; by default as many as the benchmark's published figures rest on.
        limit: tokens that the model may write; 0: as the benchmark has it.

    Raises:
        UsageProblem: there are fewer examples than ``shots``.
    """
    count = benchmark.shots if shots is None else shots
    found = []
    for subject in subjects:
        if count > len(subject.shots):
            raise UsageProblem(
                f"--shots {count}: there are {len(subject.shots)} examples for {subject.name}\n"
                f"Give --shots {len(subject.shots)}, or all of the benchmark's files; `adapter-conform evaluate -h` "
                "says where examples lie."
            )
        found += [_question(benchmark, subject, item, count, limit or benchmark.limit) for item in subject.items]
    return found


def _question(benchmark: Benchmark, subject: Subject, item: Item, shots: int, limit: int) -> Question:
    style = benchmark.style
    continuations = style.continuations(item)
    right = -1
    if continuations:
        right = YES_NO.index(item.answer) if item.answer in YES_NO else item.right[0]
    return Question(
        item,
        subject.name,
        prompt_for(style, subject, item, shots),
        continuations,
        right,
        benchmark.stops or _ENDS,
        limit,
    )


# ---- answers within texts -------------------------------------------------------------------------------------------

_ENDS = ("\n\n",)
_STATED = re.compile(r"^\s*(?:the answer is(?: therefore)?|答案是)\s*[:：]?\s*", re.IGNORECASE)


def _conclusion(text: str, _item: Item) -> str:
    """What follows the last "the answer is", without the full stop; nothing where the model never concludes."""
    _before, concluded, answer = text.rpartition("answer is ")
    return answer.strip().split("\n", 1)[0].strip().removesuffix(".").strip() if concluded else ""


def _examined(text: str, item: Item) -> str:
    """Letters, sorted; of a cloze, the first line without its introduction and the marks of a formula."""
    if item.choices:
        letters = sorted(set(re.findall(r"[A-G]", text.split("\n", 1)[0])))
        return "".join(letters if item.id.startswith(MANY_RIGHT) or len(item.answer) != 1 else letters[:1])
    return plain(_STATED.sub("", text.strip().split("\n", 1)[0]))


def plain(answer: str) -> str:
    """A formula without what does not change it: dollar signs, spaces, the full stop at its end."""
    return re.sub(r"[\s$]", "", answer).rstrip(".。")


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("mmlu", mmlu.read, shots=5),
        Benchmark("ceval", ceval.read, shots=5, by_subject=True),
        Benchmark("boolq", boolq.read, shots=0),
        Benchmark("bbh", bbh.read, shots=3, by_subject=True, stops=("\n\n", "\nQ:"), limit=1024, extract=_conclusion),
        Benchmark("agieval", agieval.read, shots=0, by_length=True, by_subject=True, limit=64, extract=_examined),
        Benchmark(
            "humaneval",
            humaneval.read,
            shots=0,
            stops=("\nclass", "\ndef", "\n#", "\nif", "\nprint"),
            limit=512,
            runs_code=True,
        ),
    )
}
