"""What a line of a replay file says: an API's name and its arguments, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import EllipsisType
from typing import Union

__all__ = ["DTYPES", "Call", "DtypeArg", "SliceArg", "TensorArg", "Value", "render", "render_value", "tensors_of"]

_REALS = ("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2")
DTYPES = frozenset(("bool", "uint8", "int8", "int16", "int32", "int64", *_REALS, "complex64", "complex128"))
"""The element types that a ``Tensor(...)`` or ``Dtype(...)`` may name."""


@dataclass(frozen=True)
class TensorArg:
    """``Tensor([2, 3],"float32")``: only shape and dtype are recorded, the elements are ours to choose."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Number of elements; 1 for shape ``()``."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class DtypeArg:
    """``Dtype(float32)``."""

    name: str


@dataclass(frozen=True)
class SliceArg:
    """``slice(start,stop,step)``; a bound is an integer, ``None`` or an integer tensor."""

    start: Value
    stop: Value
    step: Value


Value = Union[
    None,
    bool,
    int,
    float,
    complex,
    str,
    EllipsisType,
    TensorArg,
    DtypeArg,
    SliceArg,
    "list[Value]",
    "tuple[Value, ...]",
]


@dataclass(frozen=True)
class Call:
    """One recorded call. ``line`` counts from 1; ``text`` is the line as it stands in the file."""

    api: str
    args: tuple[Value, ...]
    kwargs: tuple[tuple[str, Value], ...] = ()
    line: int = 1
    text: str = ""

    @property
    def tensors(self) -> list[TensorArg]:
        """Every tensor argument, also those inside lists and slices, in order."""
        return tensors_of([*self.args, *(value for _, value in self.kwargs)])


def tensors_of(value: Value) -> list[TensorArg]:
    """The tensors inside ``value``, in order."""
    if isinstance(value, TensorArg):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_of(item)]
    if isinstance(value, SliceArg):
        return tensors_of([value.start, value.stop, value.step])
    return []


def render(call: Call) -> str:
    """The line that stands for ``call``; :func:`~adapter_conform.replay.parser.parse_line` reads it back."""
    arguments = [render_value(value) for value in call.args]
    arguments += [f"{name}={render_value(value)}" for name, value in call.kwargs]
    return f"{call.api}({''.join(argument + ', ' for argument in arguments)})"


def render_value(value: Value) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, complex):
        return f"complex({value.real!r},{value.imag!r})"
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(char, char) for char in value) + '"'
    if isinstance(value, EllipsisType):
        return "Ellipsis"
    if isinstance(value, TensorArg):
        return f'Tensor({list(value.shape)},"{value.dtype}")'
    if isinstance(value, DtypeArg):
        return f"Dtype({value.name})"
    if isinstance(value, SliceArg):
        return f"slice({render_value(value.start)},{render_value(value.stop)},{render_value(value.step)})"
    items = "".join(render_value(item) + "," for item in value)
    return f"list[{items}]" if isinstance(value, list) else f"tuple({items})"


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
