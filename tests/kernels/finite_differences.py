"""Gradients of NumPy definitions by central differences in extended precision, for kernels run in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from kernel_checks import Array

__all__ = ["assert_gradient", "numeric_gradient"]

STEP = np.longdouble(1e-6)


def numeric_gradient(function: Callable[[Array], Array], x: Array, out_grad: Array) -> Array:
    """d sum(function(x) * out_grad) / dx, element by element; the error is of the order of 1e-10."""
    wide, g = x.astype(np.longdouble), out_grad.astype(np.longdouble)
    gradient = np.zeros(x.shape, np.longdouble)
    for place in np.ndindex(*x.shape):
        above, below = wide.copy(), wide.copy()
        above[place] += STEP
        below[place] -= STEP
        gradient[place] = np.sum((function(above) - function(below)) * g) / (above[place] - below[place])
    return gradient


def assert_gradient(got: Array, function: Callable[[Array], Array], x: Array, out_grad: Array) -> None:
    """``got``, a float64 kernel's gradient, has the shape of ``x`` and is the gradient of ``function`` there."""
    assert got.shape == x.shape
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, numeric_gradient(function, x, out_grad).astype(np.float64), rtol=1e-7, atol=1e-8)
