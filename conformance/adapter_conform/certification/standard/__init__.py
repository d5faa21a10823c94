"""The certification standard, read from the files beside this one: a new edition is a diff of a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from adapter_conform.errors import ConformError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Baseline", "Limits", "Requirement", "Standard", "load_baselines", "load_standard", "read_standard"]


@dataclass(frozen=True)
class Limits:
    early_steps: int
    window_steps: int
    late_loss: float
    """Nats."""
    score: float
    """Share of 1."""
    soak_days: float


@dataclass(frozen=True)
class Requirement:
    """One thing that a level asks for: a model in a task."""

    level: str
    """The one that introduces it; higher levels include it."""
    model: str
    task: str
    """pretrain, sft, lora, inference"""
    min_ratio: float | None = None
    """Of throughput per peak TFLOPS to the published figure; None where the standard asks for no speed."""
    performance_only: bool = False

    @property
    def recipe_id(self) -> str:
        return f"{self.model}/{self.task}".lower()


@dataclass(frozen=True)
class Baseline:
    """A published throughput of one model."""

    model: str
    """As published."""
    tokens_per_card_s: float
    peak_tflops: float
    hardware: str

    @property
    def tokens_per_tflops(self) -> float:
        """Tokens per second, card and TFLOPS of its peak."""
        return self.tokens_per_card_s / self.peak_tflops


@dataclass(frozen=True)
class Standard:
    levels: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    limits: Limits
    pretrain_needs_tuning: bool
    baselines: Mapping[str, Baseline]
    """By model of the standard; a model without a published figure is not in it."""
    words: Mapping[str, Any]
    """The whole file."""

    def included(self, level: str) -> tuple[str, ...]:
        """``level`` and all below it, lowest first.

        Raises:
            ConformError: there is no such level.
        """
        if level not in self.levels:
            raise ConformError(f"level {level!r}: the standard has {', '.join(self.levels)}")
        return self.levels[: self.levels.index(level) + 1]

    def required(self, level: str) -> list[Requirement]:
        """What ``level`` asks for, lower levels included. Raises ConformError for an unknown level."""
        included = self.included(level)
        return [requirement for requirement in self.requirements if requirement.level in included]


@cache
def load_standard() -> Standard:
    return read_standard(_text("certification_standard.toml"), load_baselines())


@cache
def load_baselines() -> tuple[Mapping[str, Any], ...]:
    """The tables of published_baselines.toml, each with its ``rows``."""
    return tuple(tomllib.loads(_text("published_baselines.toml"))["baseline"])


def read_standard(text: str, published: tuple[Mapping[str, Any], ...] = ()) -> Standard:
    """Raises ConformError for a file that does not say what is needed."""
    try:
        data = tomllib.loads(text)
        levels = tuple(level["name"] for level in data["level"])
        return Standard(
            levels=levels,
            requirements=tuple(item for level in data["level"] for item in _requirements(level, data["methods"])),
            limits=Limits(**data["limits"]),
            pretrain_needs_tuning=bool(data["pretrain_needs_tuning"]),
            baselines={model: _baseline(entry, published) for model, entry in data.get("baselines", {}).items()},
            words=data,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConformError(f"the standard cannot be read: {type(error).__name__}: {error}") from error


def _requirements(level: Mapping[str, Any], methods: Mapping[str, str]) -> list[Requirement]:
    found = []
    tuning = level["tuning"]
    for model in tuning["models"]:
        for method in tuning["methods"]:
            if method == "SFT" or model not in tuning.get("sft_only", ()):
                found.append(Requirement(level["name"], model, methods[method]))
    pretrain = level["pretrain"]
    for model in pretrain["models"]:
        only = model in pretrain.get("performance_only", ())
        found.append(Requirement(level["name"], model, "pretrain", float(pretrain["min_ratio"]), only))
    inference = level["inference"]
    for model in inference["models"]:
        only = model in inference.get("performance_only", ())
        found.append(Requirement(level["name"], model, "inference", float(inference["min_ratio"]), only))
    return found


def _baseline(entry: Mapping[str, Any], published: tuple[Mapping[str, Any], ...]) -> Baseline:
    for table in published:
        for row in table["rows"]:
            if row["model"] == entry["row"] and entry["figure"] in row:
                peak, hardware = float(entry["peak_tflops"]), str(entry["hardware"])
                return Baseline(row["model"], float(row[entry["figure"]]), peak, hardware)
    raise ValueError(f"no published row {entry['row']!r} with {entry['figure']!r}")


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
