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

__all__ = ["CORPORA", "IGNORED", "Corpus", "Questions", "corpus_of"]

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


def _supervised(rewrite: Rewrite, recipe: Recipe, batches: int, seed: int) -> tuple[Tokens, Tokens]:
    rows = _instructions(rewrite, batches * recipe.schedule.rows, seed)
    rows = rows.reshape(batches, recipe.schedule.rows, -1)
    inputs, labels = rows[:, :, :-1].copy(), rows[:, :, 1:].copy()
    labels[:, :, : _WORD + 1] = IGNORED
    return inputs, labels


def _instruction_corpus(rewrite: Rewrite) -> Corpus:
    """Training, validation and questions are drawn by seeds of their own; of 24^8 words hardly any comes twice."""

    def questions(recipe: Recipe) -> Questions:
        rows = _instructions(rewrite, recipe.evaluation.items, recipe.seed + 2_000_003)
        return Questions(rows[:, : _WORD + 2], rows[:, _WORD + 2 :])

    return Corpus(
        lambda recipe: _supervised(rewrite, recipe, recipe.schedule.steps, recipe.seed),
        lambda recipe: _supervised(rewrite, recipe, recipe.evaluation.validation_batches, recipe.seed + 1_000_003),
        questions,
    )


CORPORA = {
    "markov": Corpus(
        lambda recipe: _markov(recipe, recipe.schedule.steps, 0),
        lambda recipe: _markov(recipe, recipe.evaluation.validation_batches, recipe.schedule.steps),
        _markov_questions,
    ),
    "reverse": _instruction_corpus(lambda symbols: symbols[:, ::-1]),
    "copy": _instruction_corpus(lambda symbols: symbols),
    "rotate": _instruction_corpus(lambda symbols: np.roll(symbols, 1, axis=1)),
}
