"""Operators that only move, repeat or drop elements: one NumPy function gives oracle and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Kind, OperatorSpec

__all__ = ["Rearrange", "movement"]

Rearrange = Callable[[list[Array], Attributes], list[Array]]
"""All inputs, index inputs among them, to the outputs. It may put 0 where no element of an input goes."""


def _sources(inputs: Sequence[Operand], moved: Sequence[int]) -> tuple[list[Array], list[int]]:
    """The inputs with each element of the ``moved`` ones replaced by its own number, from 1; and where each starts."""
    numbered, starts, count = [], [], 1
    for index, operand in enumerate(inputs):
        value = value_of(operand)
        starts.append(count)
        if index in moved:
            numbered.append(np.arange(count, count + value.size, dtype=np.int64).reshape(value.shape))
            count += value.size
        else:
            numbered.append(value)
    return numbered, [*starts, count]


def _oracle(rearrange: Rearrange, moved: Sequence[int]) -> Callable[[list[Operand], Attributes], list[Operand]]:
    def oracle(x: list[Operand], a: Attributes) -> list[Operand]:
        outputs = rearrange([value_of(operand) for operand in x], a)
        source = x[moved[0]]
        if not isinstance(source, Tracked):
            return [np.asarray(output) for output in outputs]
        return [Tracked(output, source.arithmetic) for output in outputs]

    return oracle


def _gradient(rearrange: Rearrange, moved: Sequence[int]) -> Any:
    def gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
        numbered, starts = _sources(x, moved)
        positions = [np.asarray(item) - 1 for item in rearrange(numbered, a)]
        flow = b.move(lambda *parts: np.concatenate([np.reshape(part, -1) for part in parts]), *d)
        flat = np.concatenate([np.reshape(item, -1) for item in positions])
        summed = b.scatter_sum(starts[-1] - 1, flat, flow)
        results: list[Operand] = [None] * len(x)
        for index in moved:
            shape = value_of(x[index]).shape
            first = starts[index] - 1
            results[index] = summed[first : first + math.prod(shape)].reshape(shape)
        return results

    return gradient


def movement(
    name: str,
    call: Callable[[Any, Sequence[Any], Attributes], Any],
    rearrange: Rearrange,
    *,
    moved: Sequence[int] | None = None,
    inputs: int = 1,
    differentiable: bool = True,
    **extra: Any,
) -> OperatorSpec:
    """Registers an operator that moves elements of the inputs numbered ``moved`` (by default the first ``inputs``).

    ``extra`` goes to :class:`~adapter_conform.catalogue.spec.OperatorSpec`. For a varying number of inputs pass
    ``moved=range(n)`` with n as large as it gets.
    """
    moving = tuple(range(inputs)) if moved is None else tuple(moved)
    settings: dict[str, Any] = {"kind": Kind.EXACT, "dtypes": ("float32", "int32", "int64", "bool"), **extra}
    return register(
        OperatorSpec(
            name=name,
            call=call,
            oracle=_oracle(rearrange, moving),
            gradient=_guarded(_gradient, rearrange, moving) if differentiable else None,
            **settings,
        )
    )


def _guarded(build: Any, rearrange: Rearrange, moving: tuple[int, ...]) -> Any:
    """Leaves out numbers past the inputs that a call has, for operators of a varying number of inputs."""

    def gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> Any:
        return build(rearrange, [index for index in moving if index < len(x)])(x, out, d, a)

    return gradient
