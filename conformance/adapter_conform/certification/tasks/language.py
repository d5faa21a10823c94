"""Pretraining and supervised fine-tuning of a language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.measurement import Item
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.corpora import Questions, corpus_of
from adapter_conform.certification.tasks.workplace import Task, Workplace, token_loss
from adapter_conform.models.paddlenlp_adapter import forward_logits, greedy_tokens

__all__ = ["language_task", "written_answers"]

Tokens = NDArray[np.int64]

_PROMPTS = 64
"""Answered at a time."""


def language_task(place: Workplace, recipe: Recipe, model: Any) -> Task:
    """``model`` learns the recipe's corpus: every parameter that is trainable in it."""
    corpus = corpus_of(recipe)
    inputs, labels = corpus.training(recipe)
    learner = place.shared(model)

    def loss(step: int) -> tuple[Any, dict[str, float]]:
        rows, wanted = place.share(inputs[step]), place.share(labels[step])
        return token_loss(place, learner(input_ids=place.tensor(rows)), wanted), {}

    task = Task(model, loss, may_lack_gradients=(".experts.",))
    if recipe.evaluation.validation_batches:
        task.validate = lambda: _validation_loss(place, model, *corpus.validation(recipe))
    if recipe.evaluation.items:
        questions = corpus.questions(recipe)
        answer = _next_tokens if recipe.task == "pretrain" else written_answers
        task.answer = lambda: answer(place, model, questions)
    return task


def _validation_loss(place: Workplace, model: Any, inputs: Tokens, labels: Tokens) -> float:
    losses = []
    with place.paddle.no_grad(), place.autocast():
        for rows, wanted in zip(inputs, labels, strict=True):
            losses.append(float(token_loss(place, model(input_ids=place.tensor(rows)), wanted)))
    return float(np.mean(losses))


def written_answers(place: Workplace, model: Any, questions: Questions) -> list[Item]:
    """What greedy decoding writes after each prompt, as many tokens as the answer has."""

    def decode(prompts: Tokens) -> NDArray[Any]:
        tokens = greedy_tokens(place.paddle, model, place.tensor(prompts), questions.answers.shape[1])
        return np.asarray(tokens.numpy())

    return _answered(place, questions, decode)


def _next_tokens(place: Workplace, model: Any, questions: Questions) -> list[Item]:
    """The token that the model finds likeliest after each prompt."""

    def likeliest(prompts: Tokens) -> NDArray[Any]:
        logits = forward_logits(model(input_ids=place.tensor(prompts))).astype("float32").numpy()
        return np.asarray(np.asarray(logits)[:, -1:].argmax(axis=-1))

    return _answered(place, questions, likeliest)


def _answered(place: Workplace, questions: Questions, answer: Callable[[Tokens], NDArray[Any]]) -> list[Item]:
    """A few prompts at a time: a mixture of experts makes a table of all pairs of its tokens."""
    with place.paddle.no_grad(), place.autocast():
        starts = range(0, len(questions.prompts), _PROMPTS)
        answers = [answer(questions.prompts[start : start + _PROMPTS]) for start in starts]
    return _items(questions, np.concatenate(answers))


def _items(questions: Questions, answers: NDArray[Any]) -> list[Item]:
    return [
        Item(str(number), tuple(map(int, wanted)), tuple(map(int, given)))
        for number, (wanted, given) in enumerate(zip(questions.answers, answers, strict=True))
    ]
