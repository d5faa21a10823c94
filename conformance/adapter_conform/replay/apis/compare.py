"""Comparisons and logic: boolean results, exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.catalogue.bounds import value_of
from adapter_conform.catalogue.precision import is_float, numpy_dtype
from adapter_conform.catalogue.spec import kernel
from adapter_conform.replay.apis.elementwise import promoted
from adapter_conform.replay.apis.table import Arguments, add, signature
from adapter_conform.replay.inputs import ANY, Fill, among
from adapter_conform.replay.syntax import TensorArg

__all__: list[str] = []


def _fills(a: Arguments) -> dict[str, Fill]:
    """A number that is compared with stands among the elements, so that equality happens."""
    if isinstance(a.y, (bool, int, float)):
        return {"x": among(float(a.y))}
    return {"x": among(0.0, 1.0), "y": among(0.0, 1.0)}


def _as_compared(a: Arguments) -> Any:
    """The right-hand side; a bare number becomes a number of the common dtype first, as Paddle does."""
    if isinstance(a.plan.y, TensorArg):
        return value_of(a.y)
    dtype = promoted(a.plan.x, a.plan.y)
    return np.asarray(a.y).astype(numpy_dtype(dtype)).astype(value_of(a.x).dtype if is_float(dtype) else dtype)


def _compare(names: str, operator: str, compute: Callable[[Any, Any], Any]) -> None:
    add(
        names,
        operator,
        signature("x", "y", name=None),
        lambda a: np.asarray(compute(value_of(a.x), _as_compared(a))),
        kernels=lambda a: [kernel(operator, promoted(a.x, a.y))],
        fills=_fills,
        also=lambda a: [] if isinstance(a.y, TensorArg) else [kernel("full", promoted(a.x, a.y))],
    )


_compare("Tensor.__eq__ equal Tensor.equal", "equal", np.equal)
_compare("Tensor.__ne__ not_equal Tensor.not_equal", "not_equal", np.not_equal)
_compare("Tensor.__gt__ greater_than Tensor.greater_than", "greater_than", np.greater)
_compare("Tensor.__lt__ less_than Tensor.less_than", "less_than", np.less)
_compare("Tensor.__ge__ greater_equal Tensor.greater_equal", "greater_equal", np.greater_equal)
_compare("Tensor.__le__ less_equal Tensor.less_equal", "less_equal", np.less_equal)


def _logic(names: str, operator: str, compute: Callable[..., Any], *parameters: str) -> None:
    add(
        names,
        operator,
        signature(*parameters, name=None),
        lambda a: np.asarray(compute(*(value_of(getattr(a, name)) for name in parameters))),
        fills=lambda _: dict.fromkeys(parameters, ANY),
    )


_logic("Tensor.__and__ bitwise_and", "bitwise_and", np.bitwise_and, "x", "y")
_logic("Tensor.__or__ bitwise_or", "bitwise_or", np.bitwise_or, "x", "y")
_logic("Tensor.__invert__ bitwise_not", "bitwise_not", np.invert, "x")
_logic("logical_and Tensor.logical_and", "logical_and", np.logical_and, "x", "y")
_logic("logical_or Tensor.logical_or", "logical_or", np.logical_or, "x", "y")
_logic("logical_not Tensor.logical_not", "logical_not", np.logical_not, "x")
