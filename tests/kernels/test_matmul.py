"""Matrix products with broadcast batches, transposes and vectors, and their gradients, against numpy.matmul."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from kernel_checks import Array, draw, sum_to_shape

Call = Callable[..., list[Any]]

FEW = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 2**32 - 2)
SIDES = st.integers(0, 5)


@dataclass(frozen=True)
class Product:
    """Operands as they are stored; a vector is never transposed."""

    x: Array
    y: Array
    transpose_x: bool
    transpose_y: bool

    @property
    def attributes(self) -> list[bool]:
        return [self.transpose_x, self.transpose_y]

    @staticmethod
    def turned(operand: Array, transpose: bool) -> Array:
        return np.swapaxes(operand, -1, -2) if transpose and operand.ndim > 1 else operand

    @property
    def result(self) -> Array:
        return np.asarray(np.matmul(self.turned(self.x, self.transpose_x), self.turned(self.y, self.transpose_y)))

    def gradients(self, g: Array) -> tuple[Array, Array]:
        """By definition: every product of elements x[i, k] * y[k, j] is written out and weighed with g[i, j]."""
        x = self.turned(self.x, self.transpose_x)
        y = self.turned(self.y, self.transpose_y)
        x2 = x[None, :] if x.ndim == 1 else x
        y2 = y[:, None] if y.ndim == 1 else y
        g2 = g.reshape(np.matmul(x2, y2).shape)
        dx = np.einsum("...ij,...kj->...ik", g2, y2)
        dy = np.einsum("...ij,...ik->...kj", g2, x2)
        dx, dy = sum_to_shape(dx, x2.shape).reshape(x.shape), sum_to_shape(dy, y2.shape).reshape(y.shape)
        return self.turned(dx, self.transpose_x), self.turned(dy, self.transpose_y)


@st.composite
def products(draw_: st.DrawFn, dtype: str) -> Product:
    m, k, n = draw_(SIDES), draw_(SIDES), draw_(SIDES)
    batches = draw_(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3)).input_shapes
    tx, ty = draw_(st.booleans()), draw_(st.booleans())
    x_shape = batches[0] + ((k, m) if tx else (m, k)) if draw_(st.integers(0, 4)) else (k,)
    y_shape = batches[1] + ((n, k) if ty else (k, n)) if draw_(st.integers(0, 4)) else (k,)
    seed = draw_(SEEDS)
    return Product(draw(x_shape, dtype, seed, -2, 2), draw(y_shape, dtype, seed + 1, -2, 2), tx, ty)


@FEW
@given(product=products("float64"), inferred=st.booleans())
def test_matmul(call: Call, product: Product, inferred: bool) -> None:
    wanted = product.result
    shape = wanted.shape if inferred else (-1,) * wanted.ndim
    (got,) = call("matmul", "float64", [product.x, product.y], product.attributes, [(shape, "float64")])
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13)


@FEW
@given(product=products("float32"))
def test_matmul_float32(call: Call, product: Product) -> None:
    (got,) = call("matmul", "float32", [product.x, product.y], product.attributes, [(product.result.shape, "float32")])
    wide = Product(product.x.astype(float), product.y.astype(float), product.transpose_x, product.transpose_y)
    np.testing.assert_allclose(got, wide.result, rtol=1e-5, atol=1e-5)


@FEW
@given(product=products("float64"), seed=SEEDS, wanted_grads=st.sampled_from([(1, 1), (1, 0), (0, 1)]))
def test_matmul_gradients(call: Call, product: Product, seed: int, wanted_grads: tuple[int, int]) -> None:
    g = draw(product.result.shape, "float64", seed, -2, 2)
    operands = (product.x, product.y)
    outputs = [(a.shape, "float64") if wanted else None for a, wanted in zip(operands, wanted_grads, strict=True)]
    results = call("matmul_grad", "float64", [*operands, g], product.attributes, outputs)
    for got, wanted, asked in zip(results, product.gradients(g), wanted_grads, strict=True):
        if asked:
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_matmul_without_columns_writes_zeros(call: Call) -> None:
    x, y = np.empty((2, 3, 0)), np.empty((2, 0, 4))
    (got,) = call("matmul", "float64", [x, y], [False, False], [((2, 3, 4), "float64")])
    np.testing.assert_array_equal(got, np.zeros((2, 3, 4)))


def test_gradient_of_a_product_without_elements_is_zero(call: Call) -> None:
    x, y, g = np.ones((1, 3, 4)), np.empty((0, 4, 5)), np.empty((0, 3, 5))
    dx, dy = call("matmul_grad", "float64", [x, y, g], [False, False], [(x.shape, "float64"), (y.shape, "float64")])
    np.testing.assert_array_equal(dx, np.zeros((1, 3, 4)))
    assert dy.shape == (0, 4, 5)


def test_nan_and_inf_reach_their_row_and_column(call: Call) -> None:
    x = np.array([[np.inf, 1.0], [1.0, 1.0], [1.0, np.nan]])
    (got,) = call("matmul", "float64", [x, np.eye(2) + 1], [False, False], [((3, 2), "float64")])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got, np.matmul(x, np.eye(2) + 1))


@pytest.mark.parametrize(
    ("x", "y"), [((2, 3), (4, 2)), ((3,), (4,)), ((2, 2, 3), (3, 3, 4)), ((), (3,)), ((2, 3), (4,))]
)
def test_operands_that_do_not_fit_are_refused(call: Call, x: tuple[int, ...], y: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"matmul|broadcast"):
        call("matmul", "float64", [np.ones(x), np.ones(y)], [False, False], [((-1,), "float64")])


@FEW
@given(batch=SIDES, m=SIDES, k=SIDES, n=SIDES, seed=SEEDS)
def test_bmm(call: Call, batch: int, m: int, k: int, n: int, seed: int) -> None:
    x, y = draw((batch, m, k), "float64", seed, -2, 2), draw((batch, k, n), "float64", seed + 1, -2, 2)
    product = Product(x, y, False, False)
    (got,) = call("bmm", "float64", [x, y], [], [((batch, m, n), "float64")])
    np.testing.assert_allclose(got, product.result, rtol=1e-13, atol=1e-13)
    g = draw((batch, m, n), "float64", seed + 2, -2, 2)
    results = call("bmm_grad", "float64", [x, y, g], [], [(x.shape, "float64"), (y.shape, "float64")])
    for got, wanted in zip(results, product.gradients(g), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_bmm_does_not_broadcast(call: Call) -> None:
    with pytest.raises(ValueError, match=r"bmm needs \[B, M, K\]"):
        call("bmm", "float64", [np.ones((1, 2, 3)), np.ones((2, 3, 4))], [], [((2, 2, 4), "float64")])


@FEW
@given(m=SIDES, k=SIDES, n=SIDES, seed=SEEDS, form=st.sampled_from(["full", "row", "vector"]), in_place=st.booleans())
def test_addmm(call: Call, m: int, k: int, n: int, seed: int, form: str, in_place: bool) -> None:
    c = draw({"full": (m, n), "row": (1, n), "vector": (n,)}[form], "float64", seed + 2, -2, 2)
    x, y = draw((m, k), "float64", seed, -2, 2), draw((k, n), "float64", seed + 1, -2, 2)
    beta, alpha = 0.5, 2.0
    wanted = beta * c + alpha * (x @ y)
    product = Product(x, y, False, False)
    g = draw((m, n), "float64", seed + 3, -2, 2)
    shapes = [(a.shape, "float64") for a in (c, x, y)]
    dc, dx, dy = call("addmm_grad", "float64", [c, x, y, g], [alpha, beta], shapes)
    np.testing.assert_allclose(dc, sum_to_shape(beta * g, c.shape), rtol=1e-12, atol=1e-12)
    for got, expected in zip((dx, dy), product.gradients(g), strict=True):
        np.testing.assert_allclose(got, alpha * expected, rtol=1e-12, atol=1e-12)
    target = c if in_place and form == "full" else ((m, n), "float64")
    (got,) = call("addmm", "float64", [c, x, y], [beta, alpha], [target])
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
