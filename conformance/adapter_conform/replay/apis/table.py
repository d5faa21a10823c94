"""What replay knows of one Paddle API, and where to find it by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

from adapter_conform import catalogue
from adapter_conform.catalogue.bounds import Operand
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.inputs import Fill
from adapter_conform.replay.syntax import Call, DtypeArg, TensorArg, Value, tensors_of

__all__ = [
    "Api",
    "Arguments",
    "Parameters",
    "Refusal",
    "add",
    "bind",
    "catalogued",
    "dtype_name",
    "find",
    "keyed",
    "main_dtype",
    "shape_of",
    "signature",
]

FAMILIES = ("creation", "elementwise", "compare", "layout", "indexing", "reduction", "linear", "network", "fused")

Arguments = SimpleNamespace
"""The arguments of a call by parameter name, as parsed. An oracle gets them with operands in place of tensors, and
besides ``plan`` (the arguments as parsed) and ``arithmetic`` (of the case's dtype)."""

Caller = Callable[[Callable[..., Any], list[Any], dict[str, Any], Arguments], Any]

Parameters = tuple[tuple[str, Any], ...]
_REQUIRED = object()


class Refusal(Exception):
    """A line that is well formed and yet cannot be judged; ``str()`` is the reason, worded to head a list of lines."""


@dataclass(frozen=True)
class Api:
    """One public API: its parameters, what its tensors may hold, what must come out, and which kernels do it."""

    operator: str
    """The catalogue's name of the operator, under which the report lists the case."""
    parameters: Parameters
    oracle: Callable[[Arguments], Operand | list[Operand]]
    kernels: Callable[[Arguments], Sequence[Kernel]]
    """Kernels that must be proved to have run, keyed as Paddle keys them."""
    fills: Callable[[Arguments], Mapping[str, Fill]]
    """What the tensors of a parameter hold; :data:`~adapter_conform.replay.inputs.ANY` where nothing is said."""
    dtype: Callable[[Arguments], str]
    """The dtype of floating results, and of the case."""
    view: Callable[[Arguments], bool]
    """Whether Paddle serves this call as a view of its input, so that no kernel runs."""
    also: Callable[[Arguments], Sequence[Kernel]]
    """Further kernels that Paddle calls on the way: needed, but no proof of this operator."""
    mutates: str | None = None
    """The parameter that the call changes in place, which is then its result."""
    call: Caller | None = None
    """``call(function, args, kwargs, arguments)`` where the call alone is not what is judged; the result is."""
    result_dtypes: Callable[[Arguments], Sequence[str] | None] = lambda _: None
    """The results' dtypes where floating ones are not all of the case's dtype."""
    stand_in: Callable[[Arguments], Mapping[str, Value]] = lambda _: {}
    """What is drawn in place of a parameter whose elements cannot be: kernels' own formats."""
    identity: Callable[[Arguments], bool] = lambda _: False
    """Whether the recorded numbers leave the tensor as it is, see
    :attr:`adapter_conform.catalogue.spec.OperatorSpec.identity`."""


def signature(*required: str, **optional: Value) -> Parameters:
    """``signature("x", axis=None)``: the parameters in order."""
    return tuple((name, _REQUIRED) for name in required) + tuple(optional.items())


def bind(row: Api, call: Call) -> Arguments:
    """The arguments of ``call`` by name, with defaults filled in.

    Raises:
        Refusal: the arguments do not fit the API's parameters.
    """
    names = [name for name, _ in row.parameters]
    if len(call.args) > len(names):
        raise Refusal(f"{call.api} is called with more arguments than replay knows")
    values = dict(zip(names, call.args, strict=False))
    for name, value in call.kwargs:
        if name not in names or name in values:
            raise Refusal(f"{call.api} is called with an argument {name!r} that replay does not know")
        values[name] = value
    for name, default in row.parameters:
        if name not in values and default is _REQUIRED:
            raise Refusal(f"{call.api} is called without its argument {name!r}")
        values.setdefault(name, default)
    return Arguments(**values)


def keyed(names: str) -> Callable[[Arguments], list[Kernel]]:
    """Kernels ``names`` (alternatives apart by ``|``), keyed by the dtype of the call's first tensor."""
    return lambda arguments: [kernel(names, _tensors(arguments)[0].dtype)]


def dtype_name(value: Value, default: str) -> str:
    """The dtype that a ``dtype=`` argument names: ``Dtype(float32)``, ``"float32"``, or None for ``default``."""
    if isinstance(value, DtypeArg):
        return value.name
    return value if isinstance(value, str) else default


def main_dtype(arguments: Arguments) -> str:
    """The first floating dtype among the call's tensors, else the dtype of its first tensor."""
    tensors = _tensors(arguments)
    return next((tensor.dtype for tensor in tensors if is_float(tensor.dtype)), tensors[0].dtype)


def shape_of(value: Value) -> tuple[int, ...]:
    """The shape of a tensor argument.

    Raises:
        Refusal: the argument is no tensor.
    """
    if not isinstance(value, TensorArg):
        raise Refusal(f"an argument is {type(value).__name__} where replay knows only tensors")
    return value.shape


def _tensors(arguments: Arguments) -> list[TensorArg]:
    tensors = tensors_of(list(vars(arguments).values()))
    if not tensors:
        raise Refusal("no tensor among the arguments")
    return tensors


def catalogued(operator: str, *inputs: Operand, **attributes: Any) -> Operand:
    """What the catalogue's oracle of ``operator`` says; its only output."""
    (result,) = catalogue.get(operator).oracle(list(inputs), attributes)
    return result


_rows: dict[str, Api] = {}


def add(
    names: str,
    operator: str,
    parameters: Parameters,
    oracle: Callable[[Arguments], Operand | list[Operand]],
    *,
    kernels: Callable[[Arguments], Sequence[Kernel]] | str | None = None,
    fills: Callable[[Arguments], Mapping[str, Fill]] = lambda _: {},
    dtype: Callable[[Arguments], str] = main_dtype,
    view: Callable[[Arguments], bool] | bool = False,
    also: Callable[[Arguments], Sequence[Kernel]] = lambda _: (),
    mutates: str | None = None,
    call: Caller | None = None,
    result_dtypes: Callable[[Arguments], Sequence[str] | None] = lambda _: None,
    stand_in: Callable[[Arguments], Mapping[str, Value]] = lambda _: {},
    identity: Callable[[Arguments], bool] = lambda _: False,
) -> None:
    """Adds the APIs ``names`` (apart by spaces, without ``paddle.``). ``kernels`` as a string is keyed by the call's
    first tensor; None means the operator's own name.

    Raises:
        ValueError: a name is taken.
    """
    chosen = kernels if callable(kernels) else keyed(kernels or operator)
    served = view if callable(view) else (lambda _: bool(view))
    row = Api(
        operator,
        parameters,
        oracle,
        chosen,
        fills,
        dtype,
        served,
        also,
        mutates=mutates,
        call=call,
        result_dtypes=result_dtypes,
        stand_in=stand_in,
        identity=identity,
    )
    for name in names.split():
        if f"paddle.{name}" in _rows:
            raise ValueError(f"replay: API paddle.{name} stands in the table twice")
        _rows[f"paddle.{name}"] = row


@cache
def _load() -> None:
    for family in FAMILIES:
        importlib.import_module(f"adapter_conform.replay.apis.{family}")


def find(name: str) -> Api | None:
    """The row of the API called ``name``, e.g. ``"paddle.matmul"``; None when the table lacks it."""
    _load()
    return _rows.get(name)
