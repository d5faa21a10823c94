"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform.catalogue import bounds
from adapter_conform.catalogue.bounds import Tracked, move
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Kernel, kernel
from adapter_conform.replay.apis.table import Arguments, Refusal, add, main_dtype, signature
from adapter_conform.replay.syntax import tensors_of

__all__: list[str] = []


def _turned(x: Tracked, turn: Any) -> Tracked:
    """The last two axes swapped, where there are two."""
    swapped: Tracked = move(lambda v: np.swapaxes(v, -1, -2), x) if turn and x.ndim > 1 else x
    return swapped


def _one_float(a: Arguments) -> str:
    """The dtype that all operands share."""
    dtypes = {tensor.dtype for tensor in tensors_of(list(vars(a).values()))}
    if len(dtypes) != 1:
        raise Refusal("product of tensors of different dtypes, or of none")
    (dtype,) = dtypes
    if not is_float(dtype):
        raise Refusal("matrix product of integers")
    return dtype


def _matmul(x: Tracked, y: Tracked) -> Tracked:
    """``np.matmul``, with vectors widened so that the bound sees matrices."""
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
    dtype=_one_float,
)
add("bmm Tensor.bmm", "bmm", signature("x", "y", name=None), lambda a: bounds.dot(a.x, a.y), dtype=_one_float)


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
    dtype=_one_float,
)
add(
    "addmm",
    "addmm",
    signature("input", "x", "y", beta=1.0, alpha=1.0, name=None),
    lambda a: float(a.beta) * a.input + float(a.alpha) * bounds.dot(a.x, a.y),
    dtype=_one_float,
)


def _outer(x: Tracked, y: Tracked) -> Tracked:
    return x.reshape(-1, 1) * y.reshape(1, -1)


add("outer", "multiply", signature("x", "y", name=None), lambda a: _outer(a.x, a.y), dtype=_one_float)


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
    dtype=_one_float,
)
