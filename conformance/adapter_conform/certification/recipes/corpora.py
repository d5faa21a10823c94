"""Seeded, learnable data that every machine draws alike. NumPy only.

Streams of ``numpy.random.RandomState`` are frozen by NumPy's policy, those of ``Generator`` are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes.recipe import Recipe
from adapter_conform.models.data import markov_batches

__all__ = ["CORPORA", "IGNORED", "Corpus", "Preferences", "Questions", "corpus_of", "preferences_of"]

Tokens = NDArray[np.int64]

IGNORED = -100
"""Label of positions that teach nothing."""

_BEGIN, _END, _SEPARATOR, _FIRST, _SYMBOLS, _WORD = 1, 2, 27, 3, 24, 8


@dataclass(frozen=True)
class Questions:
    """Held-out items: the model continues each prompt greedily; ``answers`` is what it should write."""

    prompts: Tokens
    """[items, prompt length]"""
    answers: Tokens
    """[items, answer length]"""


@dataclass(frozen=True)
class Preferences:
    """Pairs of answers of one length to the same prompt, the better and the worse."""

    prompts: Tokens
    """[..., prompt length]"""
    chosen: Tokens
    """[..., answer length]"""
    rejected: Tokens


@dataclass(frozen=True)
class Corpus:
    """``training`` and ``validation`` give inputs and labels, int64 [batches, rows, length]."""

    training: Callable[[Recipe], tuple[Tokens, Tokens]]
    validation: Callable[[Recipe], tuple[Tokens, Tokens]]
    questions: Callable[[Recipe], Questions]


def corpus_of(recipe: Recipe) -> Corpus:
    return CORPORA[recipe.corpus]


def _markov(recipe: Recipe, batches: int, first: int) -> tuple[Tokens, Tokens]:
    """Walks on the chain of the recipe's seed; batches before ``first`` are drawn and left out."""
    schedule = recipe.schedule
    vocabulary = int(recipe.settings["vocab_size"])
    inputs, labels = markov_batches(vocabulary, first + batches, schedule.rows, schedule.length, recipe.seed)
    return inputs[first:], labels[first:]


def _markov_questions(recipe: Recipe) -> Questions:
    """One token after a walk: what the model finds likeliest against what came."""
    schedule = recipe.schedule
    count = -(-recipe.evaluation.items // schedule.rows)
    first = schedule.steps + recipe.evaluation.validation_batches
    inputs, labels = _markov(recipe, count, first)
    rows = inputs.reshape(-1, schedule.length)[: recipe.evaluation.items]
    last = labels.reshape(-1, schedule.length)[: recipe.evaluation.items, -1:]
    return Questions(rows, last)


Rewrite = Callable[[Tokens], Tokens]


def _instructions(rewrite: Rewrite, rows: int, seed: int) -> Tokens:
    """``[begin] s1..s8 [separator] rewritten [end]``: int64 [rows, 19]."""
    symbols = np.random.RandomState(seed).randint(_FIRST, _FIRST + _SYMBOLS, (rows, _WORD))
    column = np.ones((rows, 1), dtype=np.int64)
    parts = (column * _BEGIN, symbols, column * _SEPARATOR, rewrite(symbols), column * _END)
    rows_of_tokens: Tokens = np.concatenate(parts, axis=1).astype(np.int64)
    return rows_of_tokens


def _supervised(rewrite: Rewrite, recipe: Recipe, batches: int, seed: int, mistakes: float) -> tuple[Tokens, Tokens]:
    """``mistakes`` is the share of symbols in the answers that are replaced by any symbol."""
    rows = _instructions(rewrite, batches * recipe.schedule.rows, seed)
    draw = np.random.RandomState(seed + 1)
    answers = rows[:, _WORD + 2 : -1]
    wrong = draw.random_sample(answers.shape) < mistakes
    answers[wrong] = draw.randint(_FIRST, _FIRST + _SYMBOLS, answers.shape)[wrong]
    rows = rows.reshape(batches, recipe.schedule.rows, -1)
    inputs, labels = rows[:, :, :-1].copy(), rows[:, :, 1:].copy()
    labels[:, :, : _WORD + 1] = IGNORED
    return inputs, labels


_MISTAKES = 0.1
"""In training. They keep the loss well above zero, where a relative error means something, while the likeliest answer
stays the right one."""


def _instruction_corpus(rewrite: Rewrite, offset: int = 0) -> Corpus:
    """Training, validation and questions are drawn by seeds of their own; of 24^8 words hardly any comes twice.
    ``offset`` gives other words for training."""

    def questions(recipe: Recipe) -> Questions:
        rows = _instructions(rewrite, recipe.evaluation.items, recipe.seed + 2_000_003)
        return Questions(rows[:, : _WORD + 2], rows[:, _WORD + 2 :])

    return Corpus(
        lambda recipe: _supervised(rewrite, recipe, recipe.schedule.steps, recipe.seed + offset, _MISTAKES),
        lambda recipe: _supervised(
            rewrite, recipe, recipe.evaluation.validation_batches, recipe.seed + 1_000_003, _MISTAKES
        ),
        questions,
    )


def preferences_of(recipe: Recipe) -> tuple[Preferences, Preferences]:
    """Of a DPO recipe: training pairs [steps, rows, length] and held-out pairs [items, length].

    Chosen is the word reversed; rejected is the same with two neighbours swapped.
    """
    schedule = recipe.schedule
    training = _pairs(schedule.steps * schedule.rows, recipe.seed + 3_000_017)
    batched = (array.reshape(schedule.steps, schedule.rows, -1) for array in training)
    return Preferences(*batched), Preferences(*_pairs(recipe.evaluation.items, recipe.seed + 4_000_037))


def _pairs(rows: int, seed: int) -> tuple[Tokens, Tokens, Tokens]:
    whole = _instructions(lambda symbols: symbols[:, ::-1], rows, seed)
    prompts, chosen = whole[:, : _WORD + 2], whole[:, _WORD + 2 :]
    # Where the two neighbours are equal, the next pair is swapped, and so on: the answers always differ.
    place = np.random.RandomState(seed + 1).randint(0, _WORD - 1, rows)
    each = np.arange(rows)
    for _ in range(_WORD):
        equal = chosen[each, place] == chosen[each, place + 1]
        place = np.where(equal, (place + 1) % (_WORD - 1), place)
    rejected = chosen.copy()
    rejected[each, place], rejected[each, place + 1] = chosen[each, place + 1], chosen[each, place]
    return np.ascontiguousarray(prompts), np.ascontiguousarray(chosen), rejected


CORPORA = {
    "markov": Corpus(
        lambda recipe: _markov(recipe, recipe.schedule.steps, 0),
        lambda recipe: _markov(recipe, recipe.evaluation.validation_batches, recipe.schedule.steps),
        _markov_questions,
    ),
    "reverse": _instruction_corpus(lambda symbols: symbols[:, ::-1]),
    "reverse-base": _instruction_corpus(lambda symbols: symbols[:, ::-1], 5_000_011),
    "copy": _instruction_corpus(lambda symbols: symbols),
    "rotate": _instruction_corpus(lambda symbols: np.roll(symbols, 1, axis=1)),
}
