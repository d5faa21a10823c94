"""A whole recipe on the device: from recorded weights to a measurement with its proof of execution."""

from __future__ import annotations

import datetime
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adapter_conform.certification.arrays import as_text
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.tasks.adapters import lora_task, prefix_task
from adapter_conform.certification.tasks.building import build, build_empty
from adapter_conform.certification.tasks.descent import Trainer
from adapter_conform.certification.tasks.diffusion import build_stable_diffusion, diffusion_task
from adapter_conform.certification.tasks.digests import data_digests
from adapter_conform.certification.tasks.language import language_task
from adapter_conform.certification.tasks.preference import preference_task
from adapter_conform.certification.tasks.workplace import Arrays, Task, Workplace, precision_of
from adapter_conform.models.weights import Weights
from adapter_conform.supervisor.describe import describe_host

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["blank_measurement", "environment", "measure", "plain_model", "plain_task", "task_of"]

_REPORTED_EVERY = 50
_GATED_PRODUCTS = 9
"""Matrix products of a layer: four projections and two products of attention, three of a gated feed-forward part."""
_LAYER_PRODUCTS = {"gpt3": 8}
_ROUTER_PRODUCTS = 2
"""A mixture of experts computes the scores of its router in float32, once a layer, and says so in its source."""


def _no_look(_model: Any) -> None:
    return


def task_of(place: Workplace, recipe: Recipe, weights: Weights) -> Task:
    """What the recipe trains, ready to go."""

    def base() -> Any:
        return plain_model(place.paddle, recipe, weights)

    if recipe.task == "lora":
        return lora_task(place, recipe, base)
    if recipe.task == "prefix":
        return prefix_task(place, recipe, base)
    if recipe.task == "dpo":
        return preference_task(place, recipe, base())
    return plain_task(place, recipe, base())


def plain_model(paddle: ModuleType, recipe: Recipe, weights: Weights | None = None) -> Any:
    """The recipe's model, for :func:`plain_task`; without ``weights`` to be filled from a checkpoint.

    Raises:
        ValueError: the weights are not those of the recipe's model, or its architecture cannot be built.
    """
    if recipe.standard_model.architecture == "stable_diffusion":
        return build_stable_diffusion(paddle, recipe, weights)
    return build_empty(paddle, recipe) if weights is None else build(paddle, recipe, weights)


def plain_task(place: Workplace, recipe: Recipe, model: Any) -> Task:
    """Pretraining or SFT of ``model``, which :func:`plain_model` built."""
    task = diffusion_task if recipe.standard_model.architecture == "stable_diffusion" else language_task
    return task(place, recipe, model)


def blank_measurement(recipe: Recipe, precision: str, weights_digest: str) -> Measurement:
    return Measurement(
        recipe=recipe.id,
        recipe_digest=recipe.digest,
        precision=precision,
        variant="base",
        tokens_per_step=recipe.schedule.tokens_per_step,
        digests={**data_digests(recipe), "weights": weights_digest},
    )


def measure(
    session: Session,
    recipe: Recipe,
    precision: str,
    weights: Weights,
    weights_digest: str,
    rank: int = 0,
    cards: int = 1,
    look: Callable[[Any], None] = _no_look,
) -> Measurement:
    """Trains and scores; an error ends it early, and stands in the measurement with all figures until then.

    With ``cards`` as many processes call this, and each gets the same figures. ``look`` sees the trained model.
    """
    place = Workplace(session.paddle, session.device, precision_of(precision), rank, cards)
    measurement = blank_measurement(recipe, precision, weights_digest)
    measurement.environment = environment(session)

    def progress(done: int) -> None:
        if done % _REPORTED_EVERY == 0:
            print(f"{recipe.id} {precision}: step {done} of {recipe.schedule.steps}, loss {measurement.losses[-1]:.6g}")
            sys.stdout.flush()

    off_device: list[str] = []
    calls: Mapping[str, int] = {}
    try:
        with session.watch() as watched:
            trainer = Trainer(place, recipe, task_of(place, recipe, weights), measurement, progress=progress)
            off_device = trainer.placement.off_device
            _keep(measurement, trainer.task.probe())
            trainer.run()
        calls = watched.total()
        look(trainer.task.model)
        measurement.items = trainer.task.answer()
        _keep(measurement, trainer.task.sample())
        measurement.checks = dict(trainer.task.check())
        measurement.figures = dict(trainer.task.figures)
    except Exception as error:  # whatever a device makes of it: the figures so far are kept, and the case fails
        traceback.print_exc()
        measurement.error = f"after {len(measurement.losses)} steps: {type(error).__name__}: {error}".strip()
    measurement.executed = {
        "kernels": dict(calls),
        "fell_back": _not_executed(recipe, precision, calls, len(measurement.losses), weights),
        "off_device": off_device,
        "tensors_checked": trainer.placement.checked if not measurement.error else 0,
    }
    return measurement


def _keep(measurement: Measurement, arrays: Arrays) -> None:
    measurement.arrays |= {name: as_text(array) for name, array in arrays.items()}


def environment(session: Session) -> dict[str, Any]:
    """Where a measurement was made, and when."""
    plugin = session.plugin.device
    return {
        "device": session.device,
        "plugin": plugin.name,
        "vendor": plugin.vendor,
        "version": plugin.version,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **describe_host(),
    }


def _not_executed(recipe: Recipe, precision: str, calls: Mapping[str, int], steps: int, weights: Weights) -> list[str]:
    """Products that did not run on the plugin's own kernels, in this precision, as often as the model has them."""
    if recipe.standard_model.architecture == "stable_diffusion":
        return _networks_not_executed(precision, calls, steps, weights)
    layers = int(recipe.settings.get("num_hidden_layers", 0))
    products = _LAYER_PRODUCTS.get(recipe.standard_model.architecture, _GATED_PRODUCTS)
    found = []
    for operator in ("matmul", "matmul_grad"):
        counted, wanted = calls.get(f"{operator}/{precision}", 0), products * layers * steps
        if operator == "matmul_grad" and recipe.task in ("lora", "prefix"):
            wanted -= 3 * steps  # the first layer's queries, keys and values need no gradient of their input
        if counted < wanted or not counted:
            found.append(f"{operator}/{precision}: {counted} calls, at least {wanted} expected")
    wide = calls.get("matmul/float32", 0)
    if precision != "float32" and wide > _ROUTER_PRODUCTS * steps:
        found.append(f"matmul/float32: {wide} calls, at most {_ROUTER_PRODUCTS} a step expected")
    return found


def _networks_not_executed(precision: str, calls: Mapping[str, int], steps: int, weights: Weights) -> list[str]:
    """A convolution and a product for each of the denoising network's weights, forwards and backwards in each step."""
    found = []
    for operator, axes in (("conv2d", 4), ("matmul", 2)):
        wanted = steps * sum(name.startswith("unet.") and array.ndim == axes for name, array in weights.items())
        for name in (operator, f"{operator}_grad"):
            counted = calls.get(f"{name}/{precision}", 0)
            if counted < wanted or not counted:
                found.append(f"{name}/{precision}: {counted} calls, at least {wanted} expected")
    return found
