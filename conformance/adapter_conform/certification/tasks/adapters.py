"""Parameter-efficient tuning: low-rank adapters and prefixes on a model whose own weights stay as they are."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe, lora_weights, prefix_weights
from adapter_conform.certification.recipes.corpora import corpus_of
from adapter_conform.certification.recipes.starting import LORA_TARGETS, MERGED_PROBES
from adapter_conform.certification.tasks.language import language_task
from adapter_conform.certification.tasks.workplace import Task, Workplace
from adapter_conform.models.paddlenlp_adapter import forward_logits, greedy_tokens, saved_lora, with_lora, with_prefix

__all__ = ["lora_task", "prefix_task"]


def lora_task(place: Workplace, recipe: Recipe, build: Callable[[], Any]) -> Task:
    """``build`` gives the base model, anew each time it is called."""
    rank, alpha = int(recipe.option("rank")), int(recipe.option("alpha"))
    model = with_lora(place.paddle, build(), rank, alpha, LORA_TARGETS)
    _start(model, recipe)
    task = language_task(place, recipe, model)
    task.check = lambda: _reloaded_and_merged(place, recipe, task, build)
    return task


def prefix_task(place: Workplace, recipe: Recipe, build: Callable[[], Any]) -> Task:
    model = with_prefix(place.paddle, build(), int(recipe.option("tokens")))
    table = prefix_weights(recipe)
    (target,) = (parameter for name, parameter in model.named_parameters() if not parameter.stop_gradient)
    target.set_value(table.reshape(table.shape[0], -1))
    return language_task(place, recipe, model)


def _start(model: Any, recipe: Recipe) -> None:
    """Sets the adapters to those that the recipe starts from; Paddle's are the transposes of peft's."""
    targets = {name: item for name, item in model.named_parameters() if not item.stop_gradient}
    names = {name[name.index(".layers.") :]: name for name in targets}
    drawn = {name[name.index(".layers.") :]: array for name, array in lora_weights(recipe).items()}
    if names.keys() != drawn.keys():
        odd = sorted(names.keys() ^ drawn.keys())
        raise ValueError(f"recipe {recipe.id}: adapters of model and recipe differ: {', '.join(odd[:4])}")
    for name, array in drawn.items():
        targets[names[name]].set_value(np.ascontiguousarray(array.T))


def _reloaded_and_merged(place: Workplace, recipe: Recipe, task: Task, build: Callable[[], Any]) -> dict[str, str]:
    """Adapters written and read back give the same bits; merged into the weights they give the same answers. How far
    merging moves the logits goes to the task's figures."""
    questions = corpus_of(recipe).questions(recipe)
    prompts, count = questions.prompts[:MERGED_PROBES], questions.answers.shape[1]

    def outputs(adapted: Any) -> _Outputs:
        adapted.eval()
        with place.paddle.no_grad():
            logits = forward_logits(adapted(input_ids=place.tensor(prompts))).astype("float32").numpy()
            return _Outputs(logits, greedy_tokens(place.paddle, adapted, place.tensor(prompts), count).numpy())

    trained = outputs(task.model)
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        again = saved_lora(place.paddle, task.model, build(), folder)
    reloaded = outputs(again)
    again.merge()
    merged = outputs(again)
    task.figures["lora merged"] = trained.distance(merged)
    distance = trained.distance(reloaded)
    moved = "" if distance == 0.0 else f"a logit differs by {distance:.3g} of the largest"
    return {"lora reloaded": moved or trained.other_answers(reloaded), "lora merged": trained.other_answers(merged)}


@dataclass(frozen=True)
class _Outputs:
    """``logits`` [prompts, length, vocabulary], ``answers`` [prompts, tokens]"""

    logits: NDArray[Any]
    answers: NDArray[Any]

    def distance(self, other: _Outputs) -> float:
        """Largest difference of a logit, relative to the largest logit; infinite where one is no number."""
        error = float(np.abs(other.logits - self.logits).max()) / float(np.abs(self.logits).max())
        return error if math.isfinite(error) else math.inf

    def other_answers(self, other: _Outputs) -> str:
        changed = int((self.answers != other.answers).any(axis=1).sum())
        return f"{changed} of {len(self.answers)} greedy answers differ" if changed else ""
