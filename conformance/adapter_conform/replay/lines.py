"""From a parsed line to something that can be judged: the operator's specification, its inputs, the kernels it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies
from numpy.typing import NDArray

from adapter_conform import catalogue
from adapter_conform.catalogue.bounds import Operand
from adapter_conform.catalogue.precision import Arithmetic, is_float
from adapter_conform.catalogue.spec import Attributes, Kernel, Kind, OperatorSpec
from adapter_conform.replay.apis.table import Api, Arguments, Refusal, bind, find
from adapter_conform.replay.calls import resolve, substitute
from adapter_conform.replay.inputs import ANY, Fill, draw, generator
from adapter_conform.replay.syntax import Call, Value, render, tensors_of

__all__ = ["Line", "inputs_of", "prepare", "spec_of"]


HOST_ONLY = {
    "paddle.broadcast_shape": "broadcast_shape computes on the host from numbers alone: no device takes part",
    "paddle.shape": "shape reads what the host knows: no device takes part",
    "paddle.Tensor.item": "item only copies to the host: no kernel takes part",
    "paddle.Tensor.tolist": "tolist only copies to the host: no kernel takes part",
    "paddle.Tensor.__nonzero__": "__nonzero__ only copies to the host: no kernel takes part",
}
"""Recorded APIs that no operator catalogue can judge, and why."""


@dataclass(frozen=True)
class Line:
    """A call that replay knows how to judge."""

    call: Call
    api: Api
    arguments: Arguments
    """By parameter name, as parsed."""
    dtype: str
    """The case's dtype."""
    kernels: tuple[Kernel, ...]
    """To be proved."""
    also: tuple[Kernel, ...]
    """Needed besides."""
    view: bool
    fills: tuple[Fill, ...]
    """What each tensor of ``call.tensors`` holds."""


def prepare(call: Call) -> Line:
    """What is needed to judge ``call``.

    Raises:
        Refusal: it cannot be judged; the message is the reason.
    """
    api = find(call.api)
    if api is None:
        raise Refusal(HOST_ONLY.get(call.api, f"API not in the catalogue: {call.api}"))
    if any(tensor.size == 0 for tensor in call.tensors):
        raise Refusal("a tensor without elements: there is nothing to judge")
    arguments = bind(api, call)
    fills = api.fills(arguments)
    dtype = api.dtype(arguments)
    return Line(
        call=call,
        api=api,
        arguments=arguments,
        dtype=dtype,
        kernels=tuple(api.kernels(arguments)),
        also=tuple(api.also(arguments)),
        view=api.view(arguments),
        fills=tuple(fills.get(name, ANY) for name, value in _named(api, call) for _ in tensors_of(value)),
    )


def _named(api: Api, call: Call) -> list[tuple[str, Value]]:
    """The arguments of the call in the order in which they stand, each with its parameter's name."""
    positional = [(name, value) for (name, _), value in zip(api.parameters, call.args, strict=False)]
    return [*positional, *call.kwargs]


def inputs_of(line: Line, seed: int) -> list[NDArray[Any]]:
    """The line's tensors, in the order of ``call.tensors``. The same call and seed give the same elements.

    Raises:
        ValueError: a tensor's dtype or an index range leaves no valid element.
    """
    rng = generator(seed, render(line.call))
    return [draw(tensor, fill, rng) for tensor, fill in zip(line.call.tensors, line.fills, strict=True)]


def spec_of(line: Line) -> OperatorSpec:
    """The catalogue's kind of entry for this one call: the API called as the line says, and what must come of it."""
    api = line.api
    return OperatorSpec(
        name=api.operator,
        call=_caller(line),
        oracle=_oracle(line),
        kind=_kind(api.operator),
        examples=lambda _: strategies.nothing(),
        corners=lambda _: [],
        kernels=lambda _attributes, _dtype: line.kernels,
        view=line.view,
        mutates=() if api.mutates is None else (0,),
        aliases=(line.call.api,),
    )


def _kind(operator: str) -> Kind:
    try:
        return catalogue.get(operator).kind
    except catalogue.UnknownOperatorError:
        return Kind.EXACT


def _caller(line: Line) -> Callable[[Any, Sequence[Any], Attributes], Any]:
    def call(paddle: Any, tensors: Sequence[Any], _: Attributes) -> Any:
        args, kwargs = _substituted(line.call, tensors)
        result = resolve(paddle, line.call.api)(*args, **kwargs)
        return result if line.api.mutates is None else tensors[0]

    return call


def _oracle(line: Line) -> Callable[[list[Operand], Attributes], list[Operand]]:
    def oracle(operands: list[Operand], _: Attributes) -> list[Operand]:
        args, kwargs = _substituted(line.call, operands)
        named = bind(line.api, Call(line.call.api, tuple(args), tuple(kwargs.items())))
        named.plan = line.arguments
        named.arithmetic = Arithmetic.of(line.dtype if is_float(line.dtype) else "float32")
        result = line.api.oracle(named)
        return result if isinstance(result, list) else [np.asarray(result) if np.isscalar(result) else result]

    return oracle


def _substituted(call: Call, tensors: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The call's arguments with ``tensors`` in place of its tensor arguments, in order."""
    rest = iter(tensors)
    args = [substitute(value, lambda _: next(rest)) for value in call.args]
    kwargs = {name: substitute(value, lambda _: next(rest)) for name, value in call.kwargs}
    return args, kwargs
