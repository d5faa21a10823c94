"""The catalogue: every operator specification by name."""

from __future__ import annotations

import difflib
import importlib
from functools import cache

from adapter_conform.catalogue.spec import OperatorSpec

__all__ = ["FAMILIES", "UnknownOperatorError", "all_specs", "get", "register"]

FAMILIES = (
    "creation",
    "elementwise",
    "unary",
    "compare",
    "reduction",
    "matmul",
    "contraction",
    "scan",
    "views",
    "shaping",
    "indexing",
    "ties",
    "norm_loss",
    "attention",
    "serving",
    "image",
    "sampling",
    "inplace",
    "optimizer",
    "amp",
    "quantized",
    "fused_linear",
    "fused_rows",
    "experts",
)

_specs: dict[str, OperatorSpec] = {}


class UnknownOperatorError(LookupError):
    """The catalogue has no operator of that name."""


def register(spec: OperatorSpec) -> OperatorSpec:
    """Adds an operator.

    Raises:
        ValueError: the name is taken.
    """
    if spec.name in _specs:
        raise ValueError(f"catalogue: operator {spec.name!r} is registered twice; give one of the entries another name")
    _specs[spec.name] = spec
    return spec


@cache
def _load() -> None:
    for family in FAMILIES:
        importlib.import_module(f"adapter_conform.catalogue.{family}")


def get(name: str) -> OperatorSpec:
    """The operator called ``name``.

    Raises:
        UnknownOperatorError: there is none; the message names close matches.
    """
    _load()
    if name not in _specs:
        close = difflib.get_close_matches(name, _specs, n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UnknownOperatorError(f"no operator {name!r} in the catalogue of {len(_specs)}{hint}")
    return _specs[name]


def all_specs() -> tuple[OperatorSpec, ...]:
    """Every operator, in the order of the families."""
    _load()
    return tuple(_specs.values())
