"""The rules of each task, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.bias import bias
from adapter_conform.certification.acceptance.comparison import Comparison, compared
from adapter_conform.certification.acceptance.diffusion import (
    final_latents,
    gradients,
    parts,
    pictures,
    predicted_noise,
)
from adapter_conform.certification.acceptance.early_loss import curves, early_loss, first_loss, gradient_norm
from adapter_conform.certification.acceptance.execution import execution
from adapter_conform.certification.acceptance.figures import inconclusive
from adapter_conform.certification.acceptance.inference import inference_execution, inference_rules
from adapter_conform.certification.acceptance.late_loss import late_loss
from adapter_conform.certification.acceptance.painting import painting_execution, painting_rules
from adapter_conform.certification.acceptance.performance import throughput_figures
from adapter_conform.certification.acceptance.preferences import preferences
from adapter_conform.certification.acceptance.same_work import checks, comparability, completeness, merging
from adapter_conform.certification.acceptance.scores import accuracy, texts
from adapter_conform.certification.acceptance.stability import spikes
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.standard import Limits, load_standard

__all__ = ["DIFFUSION_RULES", "RULES", "Rule", "judge_measurement", "rules_of"]

Rule = Callable[[Comparison], Iterator[GateFigure]]


def _no_spike(comparison: Comparison) -> Iterator[GateFigure]:
    references = [comparison.base, *comparison.repeats]
    yield spikes(comparison.device.losses, references, "spike in training")


_TRAINING: tuple[Rule, ...] = (comparability, first_loss, early_loss, gradient_norm, bias, late_loss, _no_spike)

RULES: dict[str, tuple[Rule, ...]] = {
    "pretrain": (*_TRAINING, accuracy),
    "sft": (*_TRAINING, checks, texts),
    "lora": (*_TRAINING, checks, merging, texts),
    "prefix": (*_TRAINING, checks, texts),
    "dpo": (*_TRAINING, checks, curves, preferences),
    "inference": (comparability, inference_rules, texts),
}
"""Task -> what is judged beside the reference."""

DIFFUSION_RULES: tuple[Rule, ...] = (*_TRAINING, parts, gradients, predicted_noise, final_latents, pictures)
"""Of Stable Diffusion, which answers no questions: its training, and what it paints."""


def rules_of(recipe: Recipe) -> tuple[Rule, ...]:
    """Empty for a task without rules."""
    if recipe.standard_model.architecture == "stable_diffusion":
        return (comparability, painting_rules) if recipe.task == "inference" else DIFFUSION_RULES
    return RULES.get(recipe.task, ())


def _execution(recipe: Recipe, device: Measurement) -> Iterator[GateFigure]:
    if recipe.task != "inference":
        return execution(device)
    paints = recipe.standard_model.architecture == "stable_diffusion"
    return painting_execution(recipe, device) if paints else inference_execution(recipe, device)


def judge_measurement(
    recipe: Recipe, device: Measurement, references: Sequence[Measurement], limits: Limits | None = None
) -> list[GateFigure]:
    """Everything that can be said of one run. ``references`` may hold runs of other recipes and precisions.

    Of a recipe that counts for speed alone, and of a task without rules, no figure is held against a reference.
    """
    limits = limits or load_standard().limits
    figures = [
        *completeness(device, recipe.schedule.steps),
        *_execution(recipe, device),
        *throughput_figures(device, limits),
    ]
    if recipe.performance_only:
        return figures
    comparison = compared(recipe, device, references, limits)
    if comparison is None:
        return [*figures, inconclusive("reference", "runs", f"none of {recipe.id} in {device.precision}")]
    rules = rules_of(recipe)
    if not rules:
        return [*figures, inconclusive("rules", recipe.task, "no rules are written for this task")]
    return [*figures, *(figure for rule in rules for figure in rule(comparison))]
