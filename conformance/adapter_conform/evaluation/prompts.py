"""What the model is shown: an introduction, examples with their answers, the question. The same every time.

Examples are the first of their file, in its order, but never one that asks what the question asks. The wording is that
of each benchmark's authors or, for BoolQ, of lm-evaluation-harness; docs/evaluating.md has a sample of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from adapter_conform.evaluation.items import Item, Subject
from adapter_conform.evaluation.readers.bbh import STEPS

__all__ = ["FORMATS", "Format", "Prompt", "prompt_for", "shots_for"]


@dataclass(frozen=True)
class Prompt:
    """Text in parts, so that examples can be left away where all of it is longer than the model's positions."""

    introduction: str
    shots: tuple[str, ...]
    question: str

    def text(self, shots: int | None = None) -> str:
        """With the first ``shots`` examples, by default all."""
        return self.introduction + "".join(self.shots[:shots]) + self.question

    @property
    def digest(self) -> str:
        """Of the whole text: two answers can be compared only where it is the same."""
        return sha256(self.text().encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Format:
    """How a benchmark words things."""

    introduce: Callable[[Subject], str]
    ask: Callable[[Item], str]
    """The question, up to where the answer begins."""
    answer: Callable[[Item], str]
    """What follows a question in an example, up to where the next begins."""
    continuations: Callable[[Item], tuple[str, ...]] = lambda item: ()
    """The texts whose likelihoods are compared, in the order of ``Item.choices``; none: the model writes its answer."""


def prompt_for(style: Format, subject: Subject, item: Item, shots: int) -> Prompt:
    examples = shots_for(subject, item, shots)
    return Prompt(
        style.introduce(subject),
        tuple(style.ask(shot) + style.answer(shot) for shot in examples),
        style.ask(item),
    )


def shots_for(subject: Subject, item: Item, count: int) -> Sequence[Item]:
    """The first ``count`` examples that do not ask what ``item`` asks."""
    return [shot for shot in subject.shots if _asked(shot) != _asked(item)][:count]


def _asked(item: Item) -> tuple[str, str]:
    return " ".join(item.question.split()), " ".join(item.passage.split())


def letters(item: Item) -> tuple[str, ...]:
    return tuple(chr(ord("A") + place) for place in range(len(item.choices)))


# ---- MMLU and C-Eval ------------------------------------------------------------------------------------------------


def _lettered(item: Item) -> str:
    """The question, and below it the choices with their letters."""
    return item.question + "".join(f"\n{mark}. {one}" for mark, one in zip(letters(item), item.choices, strict=True))


_MMLU = Format(
    introduce=lambda subject: f"The following are multiple choice questions (with answers) about {subject.title}.\n\n",
    ask=lambda item: _lettered(item) + "\nAnswer:",
    answer=lambda item: f" {item.answer}\n\n",
    continuations=lambda item: tuple(f" {mark}" for mark in letters(item)),
)

_CEVAL = Format(
    introduce=lambda subject: f"以下是中国关于{subject.title}考试的单项选择题，请选出其中的正确答案。\n\n",
    ask=lambda item: _lettered(item) + "\n答案：",
    answer=lambda item: f"{item.answer}\n\n",
    continuations=letters,
)

# ---- BoolQ ----------------------------------------------------------------------------------------------------------

YES_NO = ("no", "yes")

_BOOLQ = Format(
    introduce=lambda subject: "",
    ask=lambda item: f"{item.passage}\nQuestion: {item.question}?\nAnswer:",
    answer=lambda item: f" {item.answer}\n\n",
    continuations=lambda item: tuple(f" {word}" for word in YES_NO),
)

# ---- BIG-Bench Hard -------------------------------------------------------------------------------------------------

_BBH = Format(
    introduce=lambda subject: f"{subject.title}\n\n" if subject.title else "",
    ask=lambda item: f"Q: {item.question}\nA: {STEPS}\n",
    answer=lambda item: f"{item.explanation}\n\n",
)

# ---- AGIEval --------------------------------------------------------------------------------------------------------

CHINESE = ("logiqa-zh", "jec-qa-kd", "jec-qa-ca", "gaokao-")
ENGLISH = ("gaokao-english",)
MANY_RIGHT = ("jec-qa-kd", "jec-qa-ca", "gaokao-physics")
"""Tasks in which several options may be right: the model writes the letters."""


def is_chinese(item: Item) -> bool:
    return item.id.startswith(CHINESE) and not item.id.startswith(ENGLISH)


def _examined(item: Item) -> str:
    lead, choices, asked = ("问题：", "选项：", "答案：") if is_chinese(item) else ("Q: ", "Answer Choices: ", "A: ")
    passage = "" if item.id.startswith("sat-en-without-passage/") else item.passage
    if not item.choices:
        return f"{passage}{lead}{item.question}\n{asked}" + ("" if is_chinese(item) else "The answer is")
    last = letters(item)[-1]
    wanted = f"从A到{last}, 我们应选择" if is_chinese(item) else f"Among A through {last}, the answer is"
    return f"{passage}{lead}{item.question} {choices}{' '.join(item.choices)}\n{asked}{wanted}"


def _examined_answer(item: Item) -> str:
    space = "" if is_chinese(item) else " "
    if not item.choices or item.id.startswith(MANY_RIGHT):
        return f"{space}{item.answer}\n\n"
    return f"{space}{item.choices[item.right[0]]}\n\n"


def _options(item: Item) -> tuple[str, ...]:
    if item.id.startswith(MANY_RIGHT) or len(item.answer) != 1:
        return ()
    space = "" if is_chinese(item) else " "
    return tuple(space + choice for choice in item.choices)


_AGIEVAL = Format(
    introduce=lambda subject: "",
    ask=_examined,
    answer=_examined_answer,
    continuations=_options,
)

# ---- HumanEval ------------------------------------------------------------------------------------------------------

_HUMANEVAL = Format(introduce=lambda subject: "", ask=lambda item: item.question, answer=lambda item: item.answer)

FORMATS = {
    "mmlu": _MMLU,
    "ceval": _CEVAL,
    "boolq": _BOOLQ,
    "bbh": _BBH,
    "agieval": _AGIEVAL,
    "humaneval": _HUMANEVAL,
}
