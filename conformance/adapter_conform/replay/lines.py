"""From a parsed line to something that can be judged: an operator specification, its inputs, the kernels it needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies
from numpy.typing import NDArray

from adapter_conform import catalogue
from adapter_conform.catalogue.bounds import Operand
from adapter_conform.catalogue.precision import Arithmetic, is_float, numpy_dtype
from adapter_conform.catalogue.spec import Attributes, Kernel, Kind, OperatorSpec
from adapter_conform.replay.apis.table import Api, Arguments, Refusal, bind, find
from adapter_conform.replay.calls import resolve, substitute
from adapter_conform.replay.inputs import ANY, Fill, byte_size, draw, generator
from adapter_conform.replay.syntax import Call, Value, render, tensors_of

__all__ = ["Line", "LineFault", "inputs_of", "prepare", "spec_of"]


HOST_ONLY = {
    "paddle.shape": "shape reads what the host knows: no device takes part",
    "paddle.Tensor.item": "item only copies to the host: no kernel takes part",
    "paddle.Tensor.tolist": "tolist only copies to the host: no kernel takes part",
    "paddle.Tensor.__nonzero__": "__nonzero__ only copies to the host: no kernel takes part",
}
"""Recorded APIs that no operator catalogue can judge, and why."""


DRAWN = frozenset(("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"))
"""The dtypes of which replay draws elements."""


class LineFault(Exception):
    """The line asks for what cannot be (shapes that do not fit, say): its own fault, not the device's."""


@dataclass(frozen=True)
class Line:
    """A call that replay knows how to judge."""

    call: Call
    """As it is drawn and run: stand-ins in place of what cannot be drawn."""
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
    bytes: int
    """Of its input tensors."""
    stated_bytes: int
    """Of the tensor whose shape or range it states."""
    elements: int
    """Of its largest operand or result: what judging it takes memory for."""
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
    strange = sorted({tensor.dtype for tensor in call.tensors} - DRAWN)
    if strange:
        raise Refusal(f"replay draws no elements of dtype {strange[0]}")
    arguments = bind(api, call)
    fills = api.fills(arguments)
    dtype = api.dtype(arguments)
    drawn = _with(call, api, api.stand_in(arguments))
    return Line(
        call=drawn,
        api=api,
        arguments=arguments,
        dtype=dtype,
        kernels=tuple(api.kernels(arguments)),
        also=tuple(api.also(arguments)),
        view=api.view(arguments),
        bytes=byte_size(call.tensors),
        stated_bytes=_stated_bytes(arguments, dtype),
        elements=_largest(api, arguments, drawn),
        fills=tuple(fills.get(name, ANY) for name, value in _named(api, drawn) for _ in tensors_of(value)),
    )


def _with(call: Call, api: Api, stand_ins: Mapping[str, Value]) -> Call:
    """``call`` with other values for some parameters."""
    if not stand_ins:
        return call
    named = [(name, stand_ins.get(name, value)) for name, value in _named(api, call)]
    return Call(call.api, (), tuple(named), call.line, call.text)


def _stated_bytes(arguments: Arguments, dtype: str) -> int:
    """Bytes of what a ``shape=`` or the bounds of a range ask for."""
    return _stated_elements(arguments) * np.dtype(numpy_dtype(dtype)).itemsize


_PRODUCTS = frozenset(("matmul", "bmm", "fused_gemm_epilogue", "weight_only_linear"))
_OUTER = frozenset(("einsum", "kron"))


def _largest(api: Api, arguments: Arguments, call: Call) -> int:
    """The elements of the largest operand or, as far as the shapes tell, result."""
    sizes = [tensor.size for tensor in call.tensors] or [0]
    if api.operator in _OUTER or call.api == "paddle.outer":
        return math.prod(sizes)
    if api.operator in _PRODUCTS and len(call.tensors) > 1:
        left, right = call.tensors[0], call.tensors[1]
        inner = max(1, left.shape[-2 if getattr(arguments, "transpose_x", False) else -1] if left.shape else 1)
        columns = right.size // max(inner, 1) if len(right.shape) <= 2 else right.size // inner // right.shape[0]
        return max(*sizes, left.size // inner * max(columns, 1))
    if api.operator == "embedding" and len(call.tensors) > 1:
        return max(*sizes, call.tensors[0].size * call.tensors[1].shape[-1])
    return max(*sizes, _stated_elements(arguments), _broadcast_size(call))


def _broadcast_size(call: Call) -> int:
    try:
        return math.prod(np.broadcast_shapes(*(tensor.shape for tensor in call.tensors)))
    except ValueError:  # these are not broadcast
        return 0


def _stated_elements(arguments: Arguments) -> int:
    shape = getattr(arguments, "shape", None)
    sides = [side for side in (shape if isinstance(shape, (list, tuple)) else [shape]) if isinstance(side, int)]
    if sides:
        return math.prod(abs(side) for side in sides)
    bounds = [getattr(arguments, name, None) for name in ("start", "end")]
    return int(sum(abs(bound) for bound in bounds if isinstance(bound, (int, float)) and math.isfinite(bound)))


def _named(api: Api, call: Call) -> list[tuple[str, Value]]:
    """The arguments of the call in the order in which they stand, each with its parameter's name."""
    positional = [(name, value) for (name, _), value in zip(api.parameters, call.args, strict=False)]
    return [*positional, *call.kwargs]


def inputs_of(line: Line, seed: int) -> list[NDArray[Any]]:
    """The line's tensors, in the order of ``call.tensors``. The same call and seed give the same elements.

    Raises:
        LineFault: an index range leaves no valid element.
    """
    rng = generator(seed, render(line.call))
    try:
        return [draw(tensor, fill, rng) for tensor, fill in zip(line.call.tensors, line.fills, strict=True)]
    except ValueError as error:
        raise LineFault(f"no input can be drawn: {error}") from error


def spec_of(line: Line) -> OperatorSpec:
    """The catalogue's kind of entry for this one call: the API called as the line says, and what must come of it.

    Its oracle raises :class:`LineFault` where the arguments do not fit together.
    """
    api = line.api
    stated = api.result_dtypes(line.arguments)
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
        result_dtypes=None if stated is None else lambda _attributes, _dtype: stated,
        identity=lambda _attributes, _shapes: api.identity(line.arguments),
    )


def _kind(operator: str) -> Kind:
    try:
        return catalogue.get(operator).kind
    except catalogue.UnknownOperatorError:
        return Kind.EXACT


def _caller(line: Line) -> Callable[[Any, Sequence[Any], Attributes], Any]:
    def call(paddle: Any, tensors: Sequence[Any], _: Attributes) -> Any:
        args, kwargs = _substituted(line.call, tensors)
        function = resolve(paddle, line.call.api)
        if line.api.call is not None:
            named = bind(line.api, Call(line.call.api, tuple(args), tuple(kwargs.items())))
            named.plan = line.arguments
            return line.api.call(function, args, kwargs, named)
        result = function(*args, **kwargs)
        return result if line.api.mutates is None else tensors[0]

    return call


def _oracle(line: Line) -> Callable[[list[Operand], Attributes], list[Operand]]:
    def oracle(operands: list[Operand], _: Attributes) -> list[Operand]:
        args, kwargs = _substituted(line.call, operands)
        named = bind(line.api, Call(line.call.api, tuple(args), tuple(kwargs.items())))
        named.plan = line.arguments
        named.arithmetic = Arithmetic.of(line.dtype if is_float(line.dtype) else "float32")
        try:
            result = line.api.oracle(named)
        except Exception as error:  # NumPy refuses arguments that do not fit together in many ways
            raise LineFault(f"NumPy refuses the call: {type(error).__name__}: {error}") from error
        return result if isinstance(result, list) else [np.asarray(result) if np.isscalar(result) else result]

    return oracle


def _substituted(call: Call, tensors: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """The call's arguments with ``tensors`` in place of its tensor arguments, in order."""
    rest = iter(tensors)
    args = [substitute(value, lambda _: next(rest)) for value in call.args]
    kwargs = {name: substitute(value, lambda _: next(rest)) for name, value in call.kwargs}
    return args, kwargs
