"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, value_of
from adapter_conform.catalogue.elementwise import unbroadcast
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _flip(x: Operand) -> Operand:
    return b.move(lambda a: np.swapaxes(a, -1, -2), x)


def _as_matrices(x: list[Operand], a: Attributes) -> tuple[Operand, Operand]:
    """Both operands as (batches of) matrices, after the transposes asked for; vectors get a unit side."""
    left, right = x
    left = b.move(lambda v: v[None, :], left) if value_of(left).ndim == 1 else _flip(left) if a["transpose_x"] else left
    right = (
        b.move(lambda v: v[:, None], right)
        if value_of(right).ndim == 1
        else _flip(right)
        if a["transpose_y"]
        else right
    )
    return left, right


def _matmul(x: list[Operand], a: Attributes) -> list[Operand]:
    left, right = _as_matrices(x, a)
    full = b.dot(left, right)
    drop = tuple(axis for axis, operand in ((-2, x[0]), (-1, x[1])) if value_of(operand).ndim == 1)
    return [b.move(lambda v: np.squeeze(v, axis=drop), full) if drop else full]


def _shaped(x: Operand, shape: Sequence[int]) -> Operand:
    return b.move(lambda v: np.reshape(v, shape), x)


def _matmul_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    left, right = _as_matrices(x, a)
    (*batch, rows, _), (*other, _, columns) = value_of(left).shape, value_of(right).shape
    flow = _shaped(d[0], (*np.broadcast_shapes(tuple(batch), tuple(other)), rows, columns))
    gradients = [b.dot(flow, _flip(right)), b.dot(_flip(left), flow)]
    results = []
    for operand, matrix, gradient, flipped in zip(
        x, (left, right), gradients, (a["transpose_x"], a["transpose_y"]), strict=True
    ):
        summed = unbroadcast(gradient, matrix)
        vector = value_of(operand).ndim == 1
        summed = _flip(summed) if flipped and not vector else summed
        results.append(_shaped(summed, value_of(operand).shape))
    return results


def _products(left: Sequence[int], right: Sequence[int], tx: bool, ty: bool, probe: bool = False) -> Description:
    regime = "integers" if probe else "normal"
    return describe(tensor(left, regime), tensor(right, regime), probe=probe, transpose_x=tx, transpose_y=ty)


CORNERS: tuple[tuple[tuple[int, ...], tuple[int, ...], bool, bool, bool], ...] = (
    ((17, 33), (33, 29), False, False, True),
    ((4, 6), (6, 5), False, False, False),
    ((6, 4), (5, 6), True, True, False),
    ((2, 3, 7, 5), (2, 3, 9, 5), False, True, False),
    ((2, 1, 3, 4), (5, 4, 2), False, False, False),
    ((8,), (8,), False, False, False),
    ((3, 8), (8,), False, False, False),
    ((8,), (2, 8, 3), False, False, False),
    ((1, 1), (1, 1), False, False, False),
    ((0, 4), (4, 3), False, False, False),
    ((3, 0), (0, 5), False, False, False),
    ((2, 16, 128), (128, 352), False, False, False),
    ((31, 4096), (4096, 3), False, False, False),
    ((2, 4, 32, 16), (2, 4, 32, 16), False, True, True),
    ((5, 3, 4), (3, 4), True, False, False),
)


@st.composite
def _matmul_examples(draw: st.DrawFn) -> Description:
    m, k, n = (draw(st.integers(1, 33)) for _ in range(3))
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    flat = draw(st.booleans())
    tx, ty = draw(st.booleans()), draw(st.booleans())
    left = [*batch, *((k, m) if tx else (m, k))]
    right = [*([] if flat else batch), *((n, k) if ty else (k, n))]
    return _products(left, right, tx, ty, probe=draw(st.booleans()))


def _matmul_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    return paddle.matmul(tensors[0], tensors[1], a["transpose_x"], a["transpose_y"])


register(
    OperatorSpec(
        name="matmul",
        call=_matmul_call,
        oracle=_matmul,
        gradient=_matmul_gradient,
        kind=Kind.GEMM,
        examples=lambda dtype: _matmul_examples(),
        corners=lambda dtype: [_products(*corner) for corner in CORNERS],
        aliases=("paddle.matmul", "paddle.Tensor.__matmul__", "paddle.Tensor.matmul", "paddle.mm"),
    )
)


@st.composite
def _addmm_examples(draw: st.DrawFn) -> Description:
    m, k, n = (draw(st.integers(1, 12)) for _ in range(3))
    rows = draw(st.sampled_from([1, m]))
    return describe(tensor([rows, n]), tensor([m, k]), tensor([k, n]), beta=0.5, alpha=2.0)


register(
    OperatorSpec(
        name="addmm",
        call=lambda paddle, t, a: paddle.addmm(t[0], t[1], t[2], beta=a["beta"], alpha=a["alpha"]),
        oracle=lambda x, a: [x[0] * float(a["beta"]) + b.dot(x[1], x[2]) * float(a["alpha"])],
        gradient=lambda x, out, d, a: [
            unbroadcast(d[0], x[0]) * float(a["beta"]),
            b.dot(d[0], _flip(x[2])) * float(a["alpha"]),
            b.dot(_flip(x[1]), d[0]) * float(a["alpha"]),
        ],
        kind=Kind.GEMM,
        examples=lambda dtype: _addmm_examples(),
        corners=lambda dtype: [
            describe(
                tensor([5, 2], "integers"),
                tensor([5, 7], "integers"),
                tensor([7, 2], "integers"),
                probe=True,
                beta=1.0,
                alpha=1.0,
            ),
            describe(tensor([1, 6]), tensor([3, 4]), tensor([4, 6]), beta=0.5, alpha=-1.5),
            describe(tensor([32, 16]), tensor([32, 128]), tensor([128, 16]), beta=1.0, alpha=1.0),
        ],
        aliases=("paddle.addmm",),
    )
)


@st.composite
def _bmm_examples(draw: st.DrawFn) -> Description:
    batch, m, k, n = (draw(st.integers(1, 12)) for _ in range(4))
    regime = draw(st.sampled_from(["integers", "normal"]))
    return describe(tensor([batch, m, k], regime), tensor([batch, k, n], regime), probe=regime == "integers")


register(
    OperatorSpec(
        name="bmm",
        call=lambda paddle, t, a: paddle.bmm(t[0], t[1]),
        oracle=lambda x, a: [b.dot(x[0], x[1])],
        gradient=lambda x, out, d, a: [b.dot(d[0], _flip(x[1])), b.dot(_flip(x[0]), d[0])],
        kind=Kind.GEMM,
        examples=lambda dtype: _bmm_examples(),
        corners=lambda dtype: [
            describe(tensor([3, 5, 7], "integers"), tensor([3, 7, 2], "integers"), probe=True),
            describe(tensor([1, 1, 1]), tensor([1, 1, 1])),
            describe(tensor([8, 32, 16]), tensor([8, 16, 32])),
        ],
        aliases=("paddle.bmm",),
    )
)
