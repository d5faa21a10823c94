"""Under which conditions a run is made: device, precision, and what its repetitions vary."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from adapter_conform.certification.recipes import Recipe

__all__ = ["VARIANTS", "Conditions", "Variant", "autocast", "make_repeatable", "variants_of"]


@dataclass(frozen=True)
class Variant:
    """The same mathematics, rounded otherwise: how far repetitions lie apart is the reference's spread."""

    name: str
    attention: str = "eager"
    reversed_rows: bool = False
    """Whether the rows of every batch come in opposite order."""
    more_threads: bool = False
    moved_weights: bool = False
    """Whether every starting weight is moved to a neighbouring float32: the least that any other rounding does."""
    other_experts: bool = False
    """Whether a router of a mixture of experts that is undecided takes the other expert, see :mod:`routing`."""

    def fits(self, recipe: Recipe, precision: str) -> bool:
        """Whether it says something of this training. In bfloat16 the float32 run already chooses other experts."""
        return not self.other_experts or ("num_experts" in recipe.settings and precision == "float32")


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("base"),
        Variant("sdpa", attention="sdpa"),
        Variant("rows", reversed_rows=True),
        Variant("ulp", moved_weights=True),
        Variant("ties", other_experts=True),
        Variant("threads", more_threads=True),
        Variant("repeat"),
    )
}


def variants_of(device: str) -> tuple[str, ...]:
    """Of a kind of device, "cuda" or "cpu"; base first."""
    return ("base", "sdpa", "rows", "ulp", "ties", *(("repeat",) if device == "cuda" else ()))


@dataclass(frozen=True)
class Conditions:
    device: str
    """cuda, cpu"""
    threads: int
    """Of PyTorch on the host; the variant "threads" has twice as many."""
    precision: str
    """float32, bfloat16"""
    variant: Variant


def make_repeatable(device: str) -> None:
    """TF32 off, deterministic algorithms on. Before the first call on the device.

    An operator that has no deterministic algorithm warns; the warnings are part of the environment's record.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def autocast(conditions: Conditions) -> AbstractContextManager[Any]:
    """bfloat16: parameters and optimizer stay float32, products and what follows them run in bfloat16."""
    if conditions.precision == "float32":
        return nullcontext()
    import torch

    context: AbstractContextManager[Any] = torch.autocast(conditions.device, dtype=torch.bfloat16)
    return context
