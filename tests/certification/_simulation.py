"""Measurements of a made-up device and reference: a falling loss, rounding that the weights carry on, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import _inference
import numpy as np
from adapter_conform.certification.arrays import as_text
from adapter_conform.certification.measurement import Item, Measurement
from adapter_conform.certification.recipes import Recipe, recipes_of

ROUNDING = {"float32": 2e-8, "bfloat16": 2e-5}
"""Relative size of the first error of a loss; it grows tenfold in 1000 steps."""
CARRIED = 0.9
"""Correlation of the errors of successive steps."""
ITEMS = 1024
DIGESTS = {name: name[0] * 64 for name in ("training", "validation", "questions", "weights")}


def curve(recipe: Recipe) -> np.ndarray:
    """The loss without rounding: the same for everyone, with the noise of the data."""
    steps = np.arange(recipe.schedule.steps)
    noise = np.random.RandomState(len(recipe.id)).normal(0, 0.05, steps.size)
    return 1.2 + 3.5 * np.exp(-steps / 150) + noise


def rounding(seed: int, steps: int, size: float, carried: float = CARRIED) -> np.ndarray:
    """An autoregressive error that grows with the steps."""
    draws = np.random.RandomState(seed).normal(size=steps)
    error = np.empty(steps)
    state = draws[0]
    for step, draw in enumerate(draws):
        state = carried * state + np.sqrt(1 - carried**2) * draw
        error[step] = state
    return size * error * 10 ** (np.arange(steps) / 1000)


def answers(recipe: Recipe, changed: int = 0, seed: int = 3) -> list[Item]:
    """Items that the reference gets right in 95 of 100 cases; of ``changed`` right ones the answer is another."""
    state = np.random.RandomState(seed)
    items = []
    for number in range(ITEMS):
        expected = tuple(int(token) for token in state.randint(3, 27, 8))
        answer = expected if state.rand() < 0.95 else (*expected[:7], 2)
        figures = {"chosen": 1.0 + 0.1 * state.normal(), "rejected": -1.0 + state.normal()}
        items.append(Item(f"q{number}", expected, answer, figures if recipe.task == "dpo" else {}))
    for number, item in enumerate(items):
        if changed and item.answer == item.expected:
            other = {"chosen": item.figures["rejected"], "rejected": item.figures["chosen"]} if item.figures else {}
            items[number] = replace(item, answer=(*item.answer[:6], 2, 2), figures=other)
            changed -= 1
    return items


SHAPES = {
    **{f"part {name}": (1, 4, 8, 8) for name in ("text encoder", "encoder", "decoder", "unet")},
    "gradients": (50,),
    "noise": (4, 1, 4, 8, 8),
    "latents": (1, 4, 8, 8),
    "pictures": (1, 3, 16, 16),
}


def painted(size: float, seed: int) -> dict[str, dict[str, Any]]:
    """Outputs of a diffusion model: everyone's, but for rounding of the relative ``size``."""
    draw, common = np.random.RandomState(seed), np.random.RandomState(0)
    return {
        name: as_text(common.standard_normal(shape) * (1 + size * draw.standard_normal(shape)))
        for name, shape in SHAPES.items()
    }


def simulated(recipe: Recipe, precision: str, variant: str = "base", seed: int = 0, **changes: Any) -> Measurement:
    """One run; ``seed`` draws its rounding. ``changes`` replace fields."""
    steps = recipe.schedule.steps
    size = ROUNDING[precision]
    clean = curve(recipe) * (1 + (1e-6 if precision == "bfloat16" else 0.0))
    losses = clean * (1 + rounding(seed, steps, size))
    norms = (0.5 + 2 * np.exp(-np.arange(steps) / 200)) * (1 + rounding(seed + 1, steps, 10 * size))
    paints = recipe.standard_model.architecture == "stable_diffusion"
    last = {} if recipe.performance_only else {str(steps): float(losses[-20:].mean())}
    executed = {"kernels": {f"matmul/{precision}": 10 * steps, "softmax/float32": steps}}
    values: dict[str, Any] = {
        "losses": losses.tolist(),
        "gradient_norms": norms.tolist(),
        "seconds": (0.1 + 0.01 * np.random.RandomState(seed).rand(steps)).tolist(),
        "validation_losses": last,
        "arrays": painted(10 * size, seed) if paints else {},
        "items": [] if recipe.performance_only or paints else answers(recipe),
        "curves": {"margin": (0.002 * np.arange(steps) * (1 + rounding(seed + 2, steps, size))).tolist()}
        if recipe.task == "dpo"
        else {},
        "checks": {"lora reloaded": "", "lora merged": ""} if recipe.task == "lora" else {},
        "figures": {"lora merged": 2e-6} if recipe.task == "lora" else {},
        "tokens_per_step": recipe.schedule.tokens_per_step,
        "digests": dict(DIGESTS),
        "executed": {**executed, "fell_back": [], "off_device": []},
        "environment": {"device": "simulated"},
    }
    values.update(recipe=recipe.id, recipe_digest=recipe.digest, precision=precision, variant=variant)
    return Measurement(**{**values, **changes})


def reference_runs(recipe: Recipe, precision: str, repeats: int = 2) -> list[Measurement]:
    names = ["base", *(f"repeat{number}" for number in range(repeats))]
    return [simulated(recipe, precision, name, seed=100 + 10 * place) for place, name in enumerate(names)]


def level(name: str) -> list[Recipe]:
    return recipes_of(name)


def whole(
    recipes: list[Recipe], change: Callable[[Measurement], Measurement] = lambda run: run
) -> tuple[list[Measurement], list[Measurement]]:
    """Device and reference runs of all recipes; ``change`` is applied to each of the device's."""
    device, references = [], []
    for recipe in recipes:
        for precision in recipe.precisions:
            if recipe.task == "inference":
                device.append(change(_inference.device(recipe, precision)))
            else:
                device.append(change(simulated(recipe, precision, "device", seed=7)))
                references += reference_runs(recipe, precision)
        if recipe.task == "inference":
            references += _inference.references(recipe)
    return device, references
