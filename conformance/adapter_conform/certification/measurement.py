"""What one run of a recipe gave: the raw record from which every verdict is computed, and computed again by ``verify``.

Device and reference write the same. JSON; floats survive the round trip bit by bit. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Item", "Measurement"]

FORMAT = 1


@dataclass(frozen=True)
class Item:
    """One held-out question; tokens. For preferences: log probabilities of the two answers, before and after."""

    id: str
    expected: tuple[int, ...] = ()
    answer: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    """E.g. ``chosen``, ``rejected``: log probability ratios of a DPO item; ``margin`` between the best two tokens."""


@dataclass
class Measurement:
    """``losses``, ``gradient_norms`` (before clipping) and ``seconds`` have one figure a step."""

    recipe: str
    """Its id."""
    recipe_digest: str
    precision: str
    """float32 (TF32 off), bfloat16 (AMP O1 with master weights float32); of inference the name of a scheme"""
    variant: str
    """"base"; of a reference's repeated runs: what was different, e.g. "sdpa", "threads1"."""
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation_losses: dict[str, float] = field(default_factory=dict)
    """Steps done -> mean loss over the validation batches. Keys are strings, as JSON has them."""
    items: list[Item] = field(default_factory=list)
    curves: dict[str, list[float]] = field(default_factory=dict)
    """Further figures a step, e.g. DPO's ``margin``."""
    arrays: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Outputs of a diffusion model, see :mod:`arrays`: "part unet", "noise" of each sampling step, "latents", ..."""
    checks: dict[str, str] = field(default_factory=dict)
    """Named yes/no checks -> "" where fulfilled, else what was seen; e.g. "lora reloaded", "lora merged"."""
    figures: dict[str, float] = field(default_factory=dict)
    """Further figures of the whole run; "lora merged": largest difference of a logit after merging, relative to the
    largest logit."""
    tokens_per_step: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    """sha256 of ``training``, ``validation``, ``questions`` (bytes of the arrays) and ``weights`` (of the file)."""
    executed: dict[str, Any] = field(default_factory=dict)
    """Of a device: ``kernels`` ("matmul/float32" -> calls), ``fell_back`` and ``off_device`` (lists of names)."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Where it ran: device, versions, settings, date."""
    logits: dict[str, Any] = field(default_factory=dict)
    """Of inference: how the model ran ("model" of a reference; "eager", "static", "served" of a device) -> its
    :class:`~adapter_conform.certification.logits.LogitRecord`."""
    answers: dict[str, list[list[int]]] = field(default_factory=dict)
    """Of inference: how the model ran -> tokens that it wrote for the first items."""
    error: str = ""
    """Why it ended early; the figures until then are kept."""

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Raises ValueError for anything else than what :meth:`to_json` wrote."""
        try:
            data = json.loads(text)
            if data.pop("format") != FORMAT:
                raise ValueError("a measurement of another format")
            items = [
                Item(item["id"], tuple(item["expected"]), tuple(item["answer"]), item["figures"])
                for item in data.pop("items")
            ]
            return cls(**data, items=items)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a measurement: {type(error).__name__}: {error}") from error
