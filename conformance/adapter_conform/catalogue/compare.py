"""Comparisons, logic, bit operations, selection by a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, value_of
from adapter_conform.catalogue.draw import BROADCASTS, binary, binary_corners, shapes, unary, unary_corners
from adapter_conform.catalogue.elementwise import unbroadcast
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _offered(name: str) -> tuple[str, ...]:
    """Floating numbers have no bits to operate on."""
    return () if name.startswith("bitwise") else ("float64", "float16", "bfloat16")


def _two(
    name: str, function: Callable[..., Array], dtypes: tuple[str, ...], regimes: tuple[str, str], *aliases: str
) -> None:
    """Registers an exact function of two tensors with broadcasting."""
    register(
        OperatorSpec(
            name=name,
            call=lambda paddle, t, a: getattr(paddle, name)(t[0], t[1]),
            oracle=lambda x, a: [function(value_of(x[0]), value_of(x[1]))],
            kind=Kind.EXACT,
            examples=binary(*regimes),
            corners=binary_corners(*regimes),
            dtypes=dtypes,
            offered=_offered(name),
            aliases=(f"paddle.{name}", f"paddle.Tensor.{name}", *aliases),
        )
    )


COMPARED = ("float32", "int32", "int64")
SMALL = ("integers", "integers")

_two("equal", np.equal, (*COMPARED, "bool"), SMALL, "paddle.Tensor.__eq__")
_two("not_equal", np.not_equal, (*COMPARED, "bool"), SMALL, "paddle.Tensor.__ne__")
_two("less_than", np.less, COMPARED, ("special", "integers"), "paddle.Tensor.__lt__")
_two("less_equal", np.less_equal, COMPARED, SMALL, "paddle.Tensor.__le__")
_two("greater_than", np.greater, COMPARED, ("special", "integers"), "paddle.Tensor.__gt__")
_two("greater_equal", np.greater_equal, COMPARED, SMALL, "paddle.Tensor.__ge__")

_two("logical_and", np.logical_and, ("bool", "int64", "float32"), SMALL)
_two("logical_or", np.logical_or, ("bool", "int64", "float32"), SMALL)
_two("logical_xor", np.logical_xor, ("bool", "int64", "float32"), SMALL)
_two("bitwise_and", np.bitwise_and, ("bool", "int32", "int64"), SMALL, "paddle.Tensor.__and__")
_two("bitwise_or", np.bitwise_or, ("bool", "int32", "int64"), SMALL, "paddle.Tensor.__or__")
_two("bitwise_xor", np.bitwise_xor, ("bool", "int32", "int64"), SMALL, "paddle.Tensor.__xor__")


def _one(name: str, function: Callable[..., Array], dtypes: tuple[str, ...], *aliases: str) -> None:
    register(
        OperatorSpec(
            name=name,
            call=lambda paddle, t, a: getattr(paddle, name)(t[0]),
            oracle=lambda x, a: [function(value_of(x[0]))],
            kind=Kind.EXACT,
            examples=unary(("integers",)),
            corners=unary_corners(("integers",)),
            dtypes=dtypes,
            offered=_offered(name),
            aliases=(f"paddle.{name}", *aliases),
        )
    )


_one("logical_not", np.logical_not, ("bool", "int64", "float32"))
_one("bitwise_not", np.invert, ("bool", "int32", "int64"), "paddle.Tensor.__invert__")


def _mask_examples(dtype: str) -> st.SearchStrategy[Description]:
    return st.builds(lambda shape, value: _masked(shape, value), shapes(), st.sampled_from([0, -3, 1]))


def _masked(shape: Sequence[int], value: int) -> Description:
    return describe(tensor(shape), tensor(shape, "boolean", "bool"), value=value)


register(
    OperatorSpec(
        name="masked_fill",
        call=lambda paddle, t, a: paddle.masked_fill(t[0], t[1], a["value"]),
        oracle=lambda x, a: [
            b.move(lambda v: np.where(x[1], np.asarray(a["value"], dtype=v.dtype), v), x[0]),
        ],
        gradient=lambda x, out, d, a: [b.move(lambda g: np.where(x[1], 0.0, g), d[0]), None],
        kind=Kind.EXACT,
        examples=_mask_examples,
        corners=lambda dtype: [_masked(shape, 2) for shape in ((4, 6), (), (7, 13), (2, 1, 32, 32))],
        dtypes=("float32", "int64"),
        aliases=("paddle.masked_fill", "paddle.Tensor.masked_fill"),
    )
)

register(
    OperatorSpec(
        name="masked_select",
        call=lambda paddle, t, a: paddle.masked_select(t[0], t[1]),
        oracle=lambda x, a: [b.move(lambda v: v[x[1]], x[0])],
        gradient=lambda x, out, d, a: [b.move(lambda g: _put_back(x[1], g), d[0]), None],
        kind=Kind.EXACT,
        examples=_mask_examples,
        corners=lambda dtype: [_masked(shape, 0) for shape in ((4, 6), (1,), (7, 13), (2, 3, 5))],
        dtypes=("float32", "int64"),
        aliases=("paddle.masked_select",),
    )
)


def _put_back(mask: Array, chosen: Array) -> Array:
    result = np.zeros(mask.shape, dtype=chosen.dtype)
    result[mask] = chosen
    return result


def _where_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    mask = np.broadcast_to(x[0], value_of(out[0]).shape)
    left = b.move(lambda g: np.where(mask, g, 0.0), d[0])
    right = b.move(lambda g: np.where(mask, 0.0, g), d[0])
    return [None, unbroadcast(left, x[1]), unbroadcast(right, x[2])]


def _where_description(mask: Sequence[int], left: Sequence[int], right: Sequence[int]) -> Description:
    return describe(tensor(mask, "boolean", "bool"), tensor(left), tensor(right))


def _where_examples(dtype: str) -> st.SearchStrategy[Description]:
    return st.builds(lambda shape: _where_description(shape, shape, shape), shapes())


def _where_call(paddle: Any, tensors: Sequence[Any], _: Attributes) -> Any:
    return paddle.where(tensors[0], tensors[1], tensors[2])


register(
    OperatorSpec(
        name="where",
        call=_where_call,
        oracle=lambda x, a: [b.select(x[0], x[1], x[2])],
        gradient=_where_gradient,
        kind=Kind.EXACT,
        examples=_where_examples,
        corners=lambda dtype: [
            *[_where_description(first, first, first) for first, _ in BROADCASTS],
        ],
        dtypes=("float32", "int32", "int64"),
        aliases=("paddle.where",),
    )
)
