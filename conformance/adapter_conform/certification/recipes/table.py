"""Every recipe, at three scales. A new one is one entry.

``proxy``   the standard's architectures, small enough for a workstation: level I takes minutes
``sample``  the same in a few dozen steps: shows that the tool works, and tells nothing about a device
``full``    the standard's own configurations, for a cluster
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from adapter_conform.certification.recipes.models import MODELS
from adapter_conform.certification.recipes.recipe import Evaluation, Recipe, Schedule

__all__ = ["LEVELS", "RECIPES", "SCALES", "TASKS", "all_recipes", "recipes_of"]

LEVELS = ("I", "II", "III")
"""Cumulative: a level asks for all below it."""

TASKS = ("pretrain", "sft", "lora", "prefix", "dpo", "inference")


@dataclass(frozen=True)
class _Scale:
    schedules: Mapping[str, Schedule]
    """By task. At rates twice (LoRA) or three times (DPO) those of ``proxy`` the last bit of a starting weight grows to
    1e-3 and 5e-2 of the loss, and a reference that differs so from itself can judge nobody; here it is below 1e-5."""
    exceptions: Mapping[tuple[str, str], Schedule]
    """Model, task -> another schedule than other models have."""
    evaluation: Evaluation
    """Items: where one of 640 differs, equivalence within one percentage point is shown with a power of 92%; for 90%
    there have to be 624. 320 leave 7% even where all are alike."""
    next_tokens: int
    """Held-out items of pretraining: a small model is sure of few of them, so that more differ between devices."""
    every: int
    """Steps between the validation losses of pretraining."""
    pictures: Mapping[str, Schedule]
    """Of diffusion, by task. Steps of inference are held-out batches, of twice as many rows as pictures are sampled: an
    exported program takes one number of rows, and sampling asks with and without the caption."""
    sampling: tuple[tuple[str, float], ...]
    """Of diffusion: steps and guidance. Stable Diffusion is used with 7.5, which multiplies the rounding of bfloat16 to
    a tenth of the noise in a model that hardly heeds the caption yet: proxies have less."""
    sampled: Evaluation
    """Of diffusion."""

    def schedule(self, model: str, task: str, pictures: bool) -> Schedule:
        usual = self.pictures if pictures else self.schedules
        return self.exceptions.get((model, task)) or usual[task]


SCALES = {
    "proxy": _Scale(
        {
            "pretrain": Schedule(steps=1000, rows=8, length=32),
            "base": Schedule(steps=180, rows=32, length=18, warmup=50),
            "sft": Schedule(steps=300, rows=32, length=18, learning_rate=2e-4),
            "lora": Schedule(steps=600, rows=16, length=18, learning_rate=5e-4),
            "prefix": Schedule(steps=200, rows=16, length=18, learning_rate=1e-2),
            "dpo": Schedule(steps=200, rows=8, length=27, learning_rate=3e-5),
            "inference": Schedule(steps=1, rows=32, length=18),
        },
        # Of those that learn more slowly: with the schedules above Qwen2 answers 92% right, so that rounding turns many
        # answers, and the mixture none; with these 99%.
        {
            ("Qwen2-14B", "base"): Schedule(steps=240, rows=32, length=18, warmup=50),
            ("Qwen2-57B-A14B", "base"): Schedule(steps=360, rows=32, length=18, warmup=50),
            ("Qwen2-57B-A14B", "sft"): Schedule(steps=300, rows=32, length=18, learning_rate=5e-4),
        },
        Evaluation(validation_batches=8, items=1000),
        next_tokens=2000,
        every=200,
        pictures={
            "pretrain": Schedule(steps=200, rows=8, length=1),
            "sft": Schedule(steps=100, rows=8, length=1, learning_rate=2e-4),
            "inference": Schedule(steps=8, rows=4, length=1),
        },
        sampling=(("steps", 10), ("guidance", 2.0)),
        sampled=Evaluation(validation_batches=8, items=2),
    ),
    "sample": _Scale(
        {
            "pretrain": Schedule(steps=40, rows=4, length=16, warmup=5),
            "base": Schedule(steps=20, rows=4, length=18, warmup=5),
            "sft": Schedule(steps=40, rows=4, length=18, learning_rate=5e-4, warmup=5),
            "lora": Schedule(steps=40, rows=4, length=18, learning_rate=5e-4, warmup=5),
            "prefix": Schedule(steps=40, rows=4, length=18, learning_rate=5e-3, warmup=5),
            "dpo": Schedule(steps=40, rows=4, length=27, learning_rate=1e-4, warmup=5),
            "inference": Schedule(steps=1, rows=32, length=18),
        },
        {},
        Evaluation(validation_batches=2, items=640),
        next_tokens=640,
        every=20,
        pictures={
            "pretrain": Schedule(steps=40, rows=4, length=1, warmup=5),
            "sft": Schedule(steps=40, rows=4, length=1, learning_rate=2e-4, warmup=5),
            "inference": Schedule(steps=2, rows=2, length=1),
        },
        sampling=(("steps", 4), ("guidance", 2.0)),
        sampled=Evaluation(validation_batches=2, items=1),
    ),
    "full": _Scale(
        {
            "pretrain": Schedule(steps=1000, rows=512, length=4096, learning_rate=1.5e-4, warmup=100),
            "base": Schedule(steps=1000, rows=512, length=4096, learning_rate=1.5e-4, warmup=100),
            "sft": Schedule(steps=1000, rows=128, length=2048, learning_rate=2e-5, warmup=30),
            "lora": Schedule(steps=1000, rows=128, length=2048, learning_rate=2e-4, warmup=30),
            "prefix": Schedule(steps=1000, rows=128, length=2048, learning_rate=2e-3, warmup=30),
            "dpo": Schedule(steps=1000, rows=64, length=2048, learning_rate=1e-6, warmup=30),
            "inference": Schedule(steps=2, rows=32, length=18),
        },
        {},
        Evaluation(validation_batches=64, items=1319),
        next_tokens=2000,
        every=200,
        pictures={
            "pretrain": Schedule(steps=1000, rows=256, length=1, learning_rate=1e-4, warmup=100),
            "sft": Schedule(steps=1000, rows=32, length=1, learning_rate=1e-5, warmup=30),
            "inference": Schedule(steps=16, rows=16, length=1),
        },
        sampling=(("steps", 50), ("guidance", 7.5)),
        sampled=Evaluation(validation_batches=16, items=8),
    ),
}

_CORPORA = {
    "pretrain": "markov",
    "base": "reverse-base",
    "sft": "reverse",
    "lora": "copy",
    "prefix": "reverse",
    "dpo": "reverse",
    "inference": "reverse",
}
_BEGINS = {"pretrain": "", "base": ""}
"""Task -> the one whose weights it starts from; SFT from what its model is tuned from, all others from SFT. Learning a
task from nothing passes through a stretch where rounding grows beyond all bounds; from a model that half knows it, two
correct devices stay together to the end."""
_OPTIONS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "lora": (("rank", 8), ("alpha", 16)),
    "prefix": (("tokens", 8),),
    "dpo": (("beta", 0.1),),
    "inference": (("full_positions", 18),),
}
_WIDE = ("pretrain", "sft")
"""Tasks that are also trained in bfloat16."""
_QUESTIONS = {"proxy": 800, "sample": 800, "full": 1319}
"""Held-out questions of inference. 299 are the least that an equivalence test needs, but among 320 a few answers that
rounding turns leave it open: a model of the scale "sample" has learned next to nothing, and LLaMA1-13B in bfloat16 with
seed 3 needed 714."""
_SCHEMES = {
    "I": ("float32", "float16", "bfloat16"),
    "II": ("int8",),
    "III": ("a8w8", "int4", "int4-g64", "int4-g128"),
}
"""Level -> what its models are to be served in, see :mod:`inference`."""


@dataclass(frozen=True)
class _Asked:
    level: str
    tasks: tuple[str, ...]
    performance_only: bool = False
    tuned_from: str = "base"
    """Task whose weights SFT starts from."""


_ASKED = {
    "LLaMA1-13B": _Asked("I", TASKS),
    "Qwen2-14B": _Asked("II", ("pretrain", "sft", "lora", "dpo", "inference")),
    "SD": _Asked("II", ("pretrain", "sft", "inference"), tuned_from="pretrain"),
    "LLaMA3-70B": _Asked("III", ("pretrain", "sft", "lora", "dpo", "inference")),
    "Qwen2-57B-A14B": _Asked("III", ("pretrain", "sft", "inference")),
    "GPT-3-175B": _Asked("III", ("pretrain", "inference"), performance_only=True),
}


def _recipe(model: str, task: str, asked: _Asked, scale: str) -> Recipe:
    pictures = MODELS[model].architecture == "stable_diffusion"
    evaluation = SCALES[scale].sampled if pictures else SCALES[scale].evaluation
    if asked.performance_only:
        evaluation = Evaluation(0, 0)
    elif task == "pretrain":
        evaluation = replace(evaluation, every=SCALES[scale].every)
        if not pictures:
            evaluation = replace(evaluation, items=SCALES[scale].next_tokens)
    if task == "inference" and pictures:
        evaluation = replace(evaluation, validation_batches=SCALES[scale].pictures[task].steps)
    elif task == "inference":
        items = 0 if asked.performance_only else _QUESTIONS[scale]
        evaluation = Evaluation(SCALES[scale].schedules[task].steps, items)
    begins = _BEGINS.get(task, asked.tuned_from if task == "sft" else "sft" if "sft" in asked.tasks else "")
    return Recipe(
        model,
        task,
        asked.level,
        f"pictures-{task}" if pictures else _CORPORA[task],
        SCALES[scale].schedule(model, task, pictures),
        evaluation,
        starts_from=f"{model}/{begins}".lower() if begins else "",
        precisions=_precisions(task, asked.level),
        performance_only=asked.performance_only,
        reference_only=task == "base",
        options=SCALES[scale].sampling if pictures else _OPTIONS.get(task, ()),
        scale=scale,
    )


def _precisions(task: str, level: str) -> tuple[str, ...]:
    if task == "inference":
        return _SCHEMES[level]
    return ("float32", "bfloat16") if task in _WIDE else ("float32",)


def all_recipes(scale: str = "proxy", seed: int = 0) -> list[Recipe]:
    """Of every level, with those that the recorder alone trains."""
    return [
        replace(_recipe(model, task, asked, scale), seed=seed)
        for model, asked in _ASKED.items()
        for task in (*(("base",) if "sft" in asked.tasks and asked.tuned_from == "base" else ()), *asked.tasks)
    ]


RECIPES = {recipe.id: recipe for recipe in all_recipes() if not recipe.reference_only}


def recipes_of(level: str, tasks: Collection[str] = (), scale: str = "proxy", seed: int = 0) -> list[Recipe]:
    """What ``level`` asks for, all below included; of ``tasks`` alone where some are given.

    ``seed`` changes weights and data: a pack holds for the seed that it was recorded with.

    Raises:
        ValueError: there is no such level, task or scale.
    """
    for word, given, known in (("level", (level,), LEVELS), ("task", tasks, TASKS), ("scale", (scale,), SCALES)):
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"{word} {', '.join(map(repr, unknown))}: there are {', '.join(known)}")
    included = LEVELS[: LEVELS.index(level) + 1]
    return [
        recipe
        for recipe in all_recipes(scale, seed)
        if not recipe.reference_only and recipe.level in included and (not tasks or recipe.task in tasks)
    ]
