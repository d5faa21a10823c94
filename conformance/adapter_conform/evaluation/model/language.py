"""What an evaluation asks of a model, and how prompts become tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

from adapter_conform.evaluation.model.tokenizer import TextTokenizer

__all__ = ["Answer", "LanguageModel", "Text", "Writing", "answers", "shortened"]


@dataclass(frozen=True)
class Text:
    """Tokens whose likelihood is asked for, from ``first`` on, given those before."""

    tokens: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Writing:
    """A text to go on with."""

    prompt: tuple[int, ...]
    limit: int
    ended: Callable[[Sequence[int]], bool]
    """Whether what was written is complete."""


class LanguageModel(Protocol):
    positions: int
    """Longest sequence, prompt and answer together."""

    def likelihoods(self, texts: Sequence[Text]) -> list[float]:
        """Log-likelihood of each, natural logarithm."""

    def write(self, wanted: Sequence[Writing]) -> list[list[int]]:
        """The tokens that greedy decoding appends to each."""


@dataclass(frozen=True)
class Answer:
    id: str
    shots: int
    """Examples that had room."""
    likelihoods: tuple[float, ...] = ()
    text: str = ""
    fault: str = ""


Message = Mapping[str, Any]


def answers(
    model: LanguageModel, tokenizer: TextTokenizer, ends: frozenset[int], asked: Sequence[Message]
) -> list[Answer]:
    """Answers questions together. A question: ``id``, ``introduction``, ``shots``, ``question``, and either
    ``continuations``, or ``stops`` and ``limit``."""
    compared = [message for message in asked if message["continuations"]]
    written = [message for message in asked if not message["continuations"]]
    found = [*_compared(model, tokenizer, compared), *_written(model, tokenizer, ends, written)]
    by_id = {answer.id: answer for answer in found}
    return [by_id[message["id"]] for message in asked]


def _compared(model: LanguageModel, tokenizer: TextTokenizer, asked: Sequence[Message]) -> list[Answer]:
    plans: list[tuple[Message, int, list[Text]]] = []
    faults = []
    for message in asked:
        for shots in range(len(message["shots"]), -1, -1):
            texts = _texts(tokenizer, _prompt(message, shots), message["continuations"])
            if max(len(text.tokens) for text in texts) <= model.positions:
                plans.append((message, shots, texts))
                break
        else:
            faults.append(Answer(message["id"], 0, fault=_too_long(model)))
    figures = iter(model.likelihoods([text for _, _, texts in plans for text in texts]))
    return faults + [
        Answer(message["id"], shots, tuple(next(figures) for _ in texts)) for message, shots, texts in plans
    ]


def _written(
    model: LanguageModel, tokenizer: TextTokenizer, ends: frozenset[int], asked: Sequence[Message]
) -> list[Answer]:
    plans: list[tuple[Message, int, Writing]] = []
    faults = []
    for message in asked:
        room = min(message["limit"], model.positions // 2)
        for shots in range(len(message["shots"]), -1, -1):
            prompt = (*tokenizer.prefix, *tokenizer.encode(_prompt(message, shots)))
            if len(prompt) + room <= model.positions:
                limit = min(message["limit"], model.positions - len(prompt))
                stops = message["stops"]
                plans.append((message, shots, Writing(prompt, limit, _ender(tokenizer, ends, stops))))
                break
        else:
            faults.append(Answer(message["id"], 0, fault=_too_long(model)))
    tokens = model.write([writing for _, _, writing in plans])
    return faults + [
        Answer(message["id"], shots, text=shortened(_decoded(tokenizer, ends, written), message["stops"]))
        for (message, shots, _), written in zip(plans, tokens, strict=True)
    ]


def shortened(text: str, stops: Iterable[str]) -> str:
    """``text`` up to the first of ``stops``."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _texts(tokenizer: TextTokenizer, prompt: str, continuations: Sequence[str]) -> list[Text]:
    """Prompt and continuation are encoded as one text, since they may be joined where they meet. What all have in
    common with the prompt's own tokens is given; what follows is scored."""
    alone = tokenizer.encode(prompt)
    wholes = [tokenizer.encode(prompt + continuation) for continuation in continuations]
    common = min(_common(alone, whole) for whole in wholes)
    common = min(common, *(len(whole) - 1 for whole in wholes))
    prefix = tokenizer.prefix
    first = max(1, len(prefix) + common)  # the first token of all has nothing before it
    return [Text((*prefix, *whole), first) for whole in wholes]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _prompt(message: Message, shots: int) -> str:
    return str(message["introduction"]) + "".join(message["shots"][:shots]) + str(message["question"])


def _ender(tokenizer: TextTokenizer, ends: frozenset[int], stops: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    def ended(tokens: Sequence[int]) -> bool:
        if tokens and tokens[-1] in ends:
            return True
        text = tokenizer.decode(tokens)
        return any(stop in text for stop in stops)

    return ended


def _decoded(tokenizer: TextTokenizer, ends: frozenset[int], tokens: Sequence[int]) -> str:
    return tokenizer.decode(list(takewhile(lambda token: token not in ends, tokens)))


def _too_long(model: LanguageModel) -> str:
    return f"even without examples the question does not fit into {model.positions} positions"
