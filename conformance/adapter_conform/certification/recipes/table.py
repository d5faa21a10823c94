"""Every recipe of the proxies. A new one is one entry."""

from __future__ import annotations

from collections.abc import Collection

from adapter_conform.certification.recipes.recipe import Evaluation, Recipe, Schedule

__all__ = ["LEVELS", "RECIPES", "recipes_of"]

LEVELS = ("I", "II", "III")
"""Cumulative: a level asks for all below it."""

_PRETRAIN = Schedule(steps=1000, rows=8, length=32)
_SFT = Schedule(steps=1000, rows=32, length=18, learning_rate=2e-3, warmup=50)
_LORA = Schedule(steps=200, rows=16, length=18, learning_rate=5e-4)
_PREFIX = Schedule(steps=200, rows=16, length=18, learning_rate=5e-3)
_DPO = Schedule(steps=200, rows=8, length=18, learning_rate=1e-4)


def _language_model(model: str, level: str, tasks: Collection[str]) -> list[Recipe]:
    """``tasks`` of one model; what follows SFT starts from what SFT learned."""
    sft = f"{model}/sft".lower()
    every = (
        Recipe(model, "pretrain", level, "markov", _PRETRAIN, Evaluation(every=200)),
        Recipe(model, "sft", level, "reverse", _SFT),
        Recipe(model, "lora", level, "copy", _LORA, starts_from=sft, options=(("rank", 8), ("alpha", 16))),
        Recipe(model, "prefix", level, "copy", _PREFIX, starts_from=sft, options=(("tokens", 8),)),
        Recipe(model, "dpo", level, "reverse", _DPO, starts_from=sft, options=(("beta", 0.1),)),
    )
    return [recipe for recipe in every if recipe.task in tasks]


RECIPES = {
    recipe.id: recipe
    for recipe in (
        *_language_model("LLaMA1-13B", "I", ("pretrain", "sft", "lora", "prefix", "dpo")),
        *_language_model("Qwen2-14B", "II", ("pretrain", "sft", "lora", "dpo")),
        *_language_model("LLaMA3-70B", "III", ("pretrain", "sft", "lora", "dpo")),
        *_language_model("Qwen2-57B-A14B", "III", ("pretrain", "sft")),
        Recipe("GPT-3-175B", "pretrain", "III", "markov", _PRETRAIN, Evaluation(0, 0), performance_only=True),
    )
}


def recipes_of(level: str, tasks: Collection[str] = ()) -> list[Recipe]:
    """What ``level`` asks for, all below included; of ``tasks`` alone where some are given.

    Raises:
        ValueError: there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level!r}: there are {', '.join(LEVELS)}")
    included = LEVELS[: LEVELS.index(level) + 1]
    return [recipe for recipe in RECIPES.values() if recipe.level in included and (not tasks or recipe.task in tasks)]
