"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.bounds import Operand, Tracked, move, value_of
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import Arguments, Refusal, add, main_dtype, shape_of, signature
from adapter_conform.replay.syntax import tensors_of

__all__ = ["one_float"]


def _turned(x: Operand, turn: Any) -> Operand:
    """The last two axes swapped, where there are two."""
    swapped: Operand = move(lambda v: np.swapaxes(v, -1, -2), x) if turn and x.ndim > 1 else x
    return swapped


def one_float(a: Arguments) -> str:
    """The dtype that all operands share."""
    dtypes = {tensor.dtype for tensor in tensors_of(list(vars(a).values()))}
    if len(dtypes) != 1:
        raise Refusal("product of tensors of different dtypes, or of none")
    (dtype,) = dtypes
    if not is_float(dtype):
        raise Refusal("product of integers")
    return dtype


def _product_dtype(a: Arguments) -> str:
    """Of integers only int8 has a product in Paddle, which it gives in int32."""
    if {tensor.dtype for tensor in tensors_of([a.x, a.y])} == {"int8"}:
        return "int8"
    return one_float(a)


def _matmul(x: Operand, y: Operand) -> Operand:
    """``np.matmul``, with vectors widened so that the bound sees matrices."""
    if not isinstance(x, Tracked) or not isinstance(y, Tracked):
        return np.matmul(value_of(x).astype(np.int32), value_of(y).astype(np.int32))
    left = x.reshape(1, -1) if x.ndim == 1 else x
    right = y.reshape(-1, 1) if y.ndim == 1 else y
    result = bounds.dot(left, right)
    if x.ndim == 1:
        result = move(lambda v: v.squeeze(-2), result)
    if y.ndim == 1:
        result = move(lambda v: v.squeeze(-1), result)
    return result


add(
    "matmul Tensor.matmul Tensor.__matmul__ mm",
    "matmul",
    signature("x", "y", transpose_x=False, transpose_y=False, name=None),
    lambda a: _matmul(_turned(a.x, a.transpose_x), _turned(a.y, a.transpose_y)),
    dtype=_product_dtype,
)
add("bmm Tensor.bmm", "bmm", signature("x", "y", name=None), lambda a: bounds.dot(a.x, a.y), dtype=one_float)


def _linear_kernels(a: Arguments) -> list[Kernel]:
    dtype = main_dtype(a)
    return [kernel("matmul", dtype)] + ([kernel("add", dtype)] if a.bias is not None else [])


add(
    "nn.functional.linear",
    "matmul",
    signature("x", "weight", bias=None, name=None),
    # Two kernels: the product is stored, and rounded, before the bias is added.
    lambda a: bounds.dot(a.x, a.weight) if a.bias is None else bounds.dot(a.x, a.weight).stored() + a.bias,
    kernels=_linear_kernels,
    dtype=one_float,
)
add(
    "addmm",
    "addmm",
    signature("input", "x", "y", beta=1.0, alpha=1.0, name=None),
    lambda a: float(a.beta) * a.input + float(a.alpha) * bounds.dot(a.x, a.y),
    dtype=one_float,
)


def _outer(x: Tracked, y: Tracked) -> Tracked:
    return x.reshape(-1, 1) * y.reshape(1, -1)


add("outer", "multiply", signature("x", "y", name=None), lambda a: _outer(a.x, a.y), dtype=one_float)


def _einsum_fills(a: Arguments) -> dict[str, Any]:
    if a.equation.replace(" ", "") not in _EINSUMS:
        raise Refusal("einsum of an equation that replay does not know")
    return {}


_EINSUMS = ("i,j->ij", "ij,k->ijk")
"""Outer products."""

add(
    "einsum",
    "einsum",
    signature("equation", "x", "y"),
    lambda a: a.x.reshape(*a.x.shape, 1) * a.y,
    kernels="einsum",
    fills=_einsum_fills,
    dtype=one_float,
)


def _kron(x: Tracked, y: Tracked) -> Tracked:
    (m, n), (p, q) = x.shape, y.shape
    return (x.reshape(m, 1, n, 1) * y.reshape(1, p, 1, q)).reshape(m * p, n * q)


def _matrices(a: Arguments) -> str:
    if len(shape_of(a.x)) != 2 or len(shape_of(a.y)) != 2:
        raise Refusal("kron of other than two matrices")
    return one_float(a)


add("kron", "kron", signature("x", "y", name=None), lambda a: _kron(a.x, a.y), dtype=_matrices)
