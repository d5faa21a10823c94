"""Direct preference optimisation: the model learns to prefer one of two answers to the same prompt.

PaddleNLP's criterion, on rows packed as PaddleNLP packs them. The reference policy is the model as it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.measurement import Item
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.corpora import Preferences, preferences_of
from adapter_conform.certification.tasks.workplace import Task, Workplace
from adapter_conform.models.paddlenlp_adapter import dpo_criterion, forward_logits

__all__ = ["packed", "preference_task"]

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class _Packed:
    """``prompt[:-1] | last + chosen[:-1] | last + rejected[:-1]``, where neither answer sees the other."""

    ids: Tokens
    positions: Tokens
    mask: NDArray[np.bool_]
    chosen: Tokens
    rejected: Tokens
    response: Tokens


def packed(prompts: Tokens, chosen: Tokens, rejected: Tokens) -> _Packed:
    """Rows of one prompt and two answers of one length."""
    rows, answer = chosen.shape
    begin = prompts.shape[1] - 1
    middle, end = begin + answer, begin + 2 * answer
    last = prompts[:, -1:]
    ids = np.concatenate([prompts[:, :-1], last, chosen[:, :-1], last, rejected[:, :-1]], axis=1)
    positions = np.concatenate([np.arange(middle), np.arange(begin, middle)])
    mask = np.tril(np.ones((end, end), dtype=np.bool_))
    mask[middle:, begin:middle] = False
    labels = np.zeros((2, rows, end), dtype=np.int64)
    labels[0, :, begin:middle], labels[1, :, middle:] = chosen, rejected
    response = np.array([[row, begin, middle, end] for row in range(rows)], dtype=np.int64)
    return _Packed(
        ids,
        np.broadcast_to(positions, ids.shape),
        np.broadcast_to(mask, (rows, 1, end, end)),
        labels[0],
        labels[1],
        response,
    )


def preference_task(place: Workplace, recipe: Recipe, model: Any) -> Task:
    """Raises KeyError where the recipe gives no beta."""
    paddle, beta = place.paddle, recipe.option("beta")
    criterion = dpo_criterion(model, beta)
    training, held_out = preferences_of(recipe)

    def outcome(rows: Preferences, reference: Sequence[Any]) -> Any:
        batch = {
            name: place.tensor(array) for name, array in vars(packed(rows.prompts, rows.chosen, rows.rejected)).items()
        }
        with place.autocast():
            logits = forward_logits(
                model(input_ids=batch["ids"], position_ids=batch["positions"], attention_mask=batch["mask"])
            )
            return criterion(logits, (batch["chosen"], batch["rejected"], batch["response"], *reference))

    def batches(pairs: Preferences, count: int) -> list[Preferences]:
        arrays = (array.reshape(count, -1, array.shape[-1]) for array in vars(pairs).values())
        return [Preferences(*batch) for batch in zip(*arrays, strict=True)]

    def log_probabilities(parts: Sequence[Preferences]) -> list[list[Any]]:
        with paddle.no_grad():
            return [[item.detach() for item in outcome(part, (None, None))] for part in parts]

    steps = batches(training, recipe.schedule.steps)
    asked, rows = recipe.evaluation.items, recipe.schedule.rows
    questions = batches(held_out, asked // rows if asked % rows == 0 else 1)
    before, asked_before = log_probabilities(steps), log_probabilities(questions)

    def loss(step: int) -> tuple[Any, dict[str, float]]:
        chosen, rejected, *_, total = outcome(steps[step], before[step])
        margins = beta * ((chosen - before[step][0]) - (rejected - before[step][1])).detach().numpy()
        return total, {"margin": float(margins.mean()), "accuracy": float((margins > 0.0).mean())}

    def ratios() -> NDArray[np.float64]:
        """Log probability ratios of the held-out answers: chosen and rejected [2, items]."""
        parts = [
            [(now - then).numpy() for now, then in zip(after, earlier, strict=True)]
            for after, earlier in zip(log_probabilities(questions), asked_before, strict=True)
        ]
        return np.asarray(np.concatenate(parts, axis=1), dtype=np.float64)

    def validate() -> float:
        chosen, rejected = ratios()
        return float(np.logaddexp(0.0, -beta * (chosen - rejected)).mean())

    def answer() -> list[Item]:
        pairs = zip(*ratios(), strict=True)
        return [Item(str(n), figures={"chosen": float(a), "rejected": float(b)}) for n, (a, b) in enumerate(pairs)]

    return Task(model, loss, validate, answer)
