"""Parameter-efficient tuning: low-rank adapters and prefixes on a model whose own weights stay as they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe, lora_weights, prefix_weights
from adapter_conform.certification.recipes.corpora import corpus_of
from adapter_conform.certification.recipes.starting import LORA_TARGETS
from adapter_conform.certification.tasks.language import language_task
from adapter_conform.certification.tasks.workplace import Task, Workplace
from adapter_conform.models.paddlenlp_adapter import forward_logits, greedy_tokens, saved_lora, with_lora, with_prefix

__all__ = ["MERGED_LIMIT", "lora_task", "prefix_task"]

MERGED_LIMIT = 1e-4
"""Largest difference of a logit after merging, relative to the largest logit. Merging adds B A to the weights once
instead of to every product: the same sums in another order. What that alone does was measured on Paddle's own CPU
kernels, with the adapters of the LLaMA proxy after 200 steps: 9.2e-6. The limit is ten times that, the factor by which
acceptance multiplies the spread of correct runs."""

_PROBED = 32
"""Questions whose logits and answers are compared after reloading and merging."""


def lora_task(place: Workplace, recipe: Recipe, build: Callable[[], Any]) -> Task:
    """``build`` gives the base model, anew each time it is called."""
    rank, alpha = int(recipe.option("rank")), int(recipe.option("alpha"))
    model = with_lora(place.paddle, build(), rank, alpha, LORA_TARGETS)
    _start(model, recipe)
    task = language_task(place, recipe, model)
    task.check = lambda: _reloaded_and_merged(place, recipe, model, build)
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


def _reloaded_and_merged(place: Workplace, recipe: Recipe, model: Any, build: Callable[[], Any]) -> dict[str, str]:
    """Adapters written and read back give the same bits; merged into the weights they give the same answers."""
    questions = corpus_of(recipe).questions(recipe)
    prompts, count = questions.prompts[:_PROBED], questions.answers.shape[1]

    def outputs(adapted: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        adapted.eval()
        with place.paddle.no_grad():
            logits = forward_logits(adapted(input_ids=place.tensor(prompts))).astype("float32").numpy()
        return logits, greedy_tokens(place.paddle, adapted, place.tensor(prompts), count).numpy()

    trained = outputs(model)
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        again = saved_lora(place.paddle, model, build(), folder)
    reloaded = outputs(again)
    again.merge()
    merged = outputs(again)
    return {
        "lora reloaded": _difference(trained, reloaded, 0.0),
        "lora merged": _difference(trained, merged, MERGED_LIMIT),
    }


def _difference(wanted: tuple[NDArray[Any], NDArray[Any]], got: tuple[NDArray[Any], NDArray[Any]], limit: float) -> str:
    scale = float(np.abs(wanted[0]).max())
    error = float(np.abs(got[0] - wanted[0]).max()) / scale if scale > 0.0 else float("nan")
    if not error <= limit:
        return f"a logit differs by {error:.3g} of the largest, {scale:.6g}; limit {limit:g}"
    changed = int((wanted[1] != got[1]).any(axis=1).sum())
    return f"{changed} of {len(wanted[1])} greedy answers differ" if changed else ""
