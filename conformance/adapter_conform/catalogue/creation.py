"""Operators that make tensors: constants, sequences, triangles of a matrix, one-hot rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, value_of
from adapter_conform.catalogue.draw import SHAPES, shapes, unary, unary_corners
from adapter_conform.catalogue.precision import numpy_dtype
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

MADE = ("float32", "int32", "int64", "bool")


def _filled(shape: Sequence[int], value: Any, dtype: str) -> Array:
    return np.full(tuple(shape), value, dtype=numpy_dtype(dtype))


def _number(value: float, dtype: str) -> Any:
    return bool(value) if dtype == "bool" else value if dtype.startswith(("float", "bfloat")) else int(value)


def _shaped_examples(values: Sequence[float]) -> Any:
    return lambda dtype: st.builds(
        lambda shape, value: describe(shape=shape, value=_number(value, dtype), dtype=dtype),
        shapes(),
        st.sampled_from(list(values)),
    )


def _shaped_corners(values: Sequence[float]) -> Any:
    return lambda dtype: [
        describe(shape=list(shape), value=_number(values[i % len(values)], dtype), dtype=dtype)
        for i, shape in enumerate(SHAPES)
    ]


VALUES = (2.5, -1.0, 0.0, 0.1)

register(
    OperatorSpec(
        name="full",
        call=lambda paddle, t, a: paddle.full(a["shape"], a["value"], a["dtype"]),
        oracle=lambda x, a: [_filled(a["shape"], a["value"], a["dtype"])],
        kind=Kind.EXACT,
        examples=_shaped_examples(VALUES),
        corners=_shaped_corners(VALUES),
        dtypes=MADE,
        aliases=("paddle.full",),
    )
)

for _name, _value in (("zeros", 0), ("ones", 1)):
    register(
        OperatorSpec(
            name=_name,
            call=lambda paddle, t, a, name=_name: getattr(paddle, name)(a["shape"], a["dtype"]),  # type: ignore[misc]
            oracle=lambda x, a, value=_value: [_filled(a["shape"], value, a["dtype"])],  # type: ignore[misc]
            kernels=lambda a, dtype: [Kernel(("full",), dtype)],
            kind=Kind.EXACT,
            examples=_shaped_examples((float(_value),)),
            corners=_shaped_corners((float(_value),)),
            dtypes=MADE,
            aliases=(f"paddle.{_name}",),
        )
    )

register(
    OperatorSpec(
        name="full_like",
        call=lambda paddle, t, a: paddle.full_like(t[0], a["value"]),
        oracle=lambda x, a: [b.move(lambda v: np.full(v.shape, a["value"], v.dtype), x[0])],
        kind=Kind.EXACT,
        examples=lambda dtype: unary(
            ("normal",), st.fixed_dictionaries({"value": st.sampled_from([_number(v, dtype) for v in VALUES])})
        )(dtype),
        corners=lambda dtype: unary_corners(("normal",), [{"value": _number(v, dtype)} for v in VALUES])(dtype),
        dtypes=MADE,
        aliases=("paddle.full_like", "paddle.zeros_like", "paddle.ones_like"),
    )
)

RANGES = ((0, 10, 1), (3, 4, 1), (-5, 20, 3), (10, -3, -2), (0, 2048, 1), (5, 5, 1))


def _ranges(dtype: str, scale: float) -> list[Description]:
    return [
        describe(
            start=_number(a * scale, dtype), end=_number(z * scale, dtype), step=_number(s * scale, dtype), dtype=dtype
        )
        for a, z, s in RANGES
    ]


def _arange_examples(dtype: str) -> st.SearchStrategy[Description]:
    scale = 0.5 if dtype.startswith("float") else 1
    return st.builds(
        lambda a, n, s: describe(
            start=_number(a * scale, dtype),
            end=_number((a + n * s) * scale, dtype),
            step=_number(s * scale, dtype),
            dtype=dtype,
        ),
        st.integers(-20, 20),
        st.integers(1, 40),
        st.sampled_from([1, 2, 3, -1, -4]),
    )


register(
    OperatorSpec(
        name="arange",
        call=lambda paddle, t, a: paddle.arange(a["start"], a["end"], a["step"], a["dtype"]),
        oracle=lambda x, a: [np.arange(a["start"], a["end"], a["step"]).astype(numpy_dtype(a["dtype"]))],
        kernels=lambda a, dtype: [Kernel(("arange", "arange_tensor"), dtype)],
        kind=Kind.EXACT,
        examples=_arange_examples,
        corners=lambda dtype: _ranges(dtype, 0.5 if dtype.startswith("float") else 1),
        dtypes=("int64", "int32", "float32"),
        aliases=("paddle.arange",),
    )
)


def _triangle_gradient(keep: Any) -> Any:
    def gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
        return [b.move(lambda g: keep(g, a["diagonal"]), d[0])]

    return gradient


MATRICES = ((4, 4), (5, 3), (2, 7), (1, 1), (2, 3, 4, 6), (0, 3), (2, 1, 64, 64))
DIAGONALS = (0, 1, -1, 3, -9)

for _name, _keep in (("tril", np.tril), ("triu", np.triu)):
    register(
        OperatorSpec(
            name=_name,
            call=lambda paddle, t, a, name=_name: getattr(paddle, name)(t[0], a["diagonal"]),  # type: ignore[misc]
            oracle=lambda x, a, keep=_keep: [b.move(lambda v: keep(v, a["diagonal"]), x[0])],  # type: ignore[misc]
            gradient=_triangle_gradient(_keep),
            kind=Kind.EXACT,
            examples=unary(("normal",), st.fixed_dictionaries({"diagonal": st.integers(-4, 4)}), min_rank=2),
            corners=lambda dtype: [
                describe(tensor(shape), diagonal=DIAGONALS[i % len(DIAGONALS)]) for i, shape in enumerate(MATRICES)
            ],
            dtypes=("float32", "int64", "bool"),
            aliases=(f"paddle.{_name}", f"paddle.Tensor.{_name}"),
        )
    )

register(
    OperatorSpec(
        name="eye",
        call=lambda paddle, t, a: paddle.eye(a["rows"], a["columns"], a["dtype"]),
        oracle=lambda x, a: [np.eye(a["rows"], a["columns"], dtype=numpy_dtype(a["dtype"]))],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda r, c: describe(rows=r, columns=c, dtype=dtype), st.integers(1, 12), st.integers(1, 12)
        ),
        corners=lambda dtype: [describe(rows=r, columns=c, dtype=dtype) for r, c in ((3, 5), (1, 1), (64, 64))],
        dtypes=("float32", "int64"),
        aliases=("paddle.eye",),
    )
)


def _one_hot(x: list[Operand], a: Attributes) -> list[Operand]:
    labels = value_of(x[0])
    return [(labels[..., None] == np.arange(a["num_classes"])).astype(np.float32)]


register(
    OperatorSpec(
        name="one_hot",
        call=lambda paddle, t, a: paddle.nn.functional.one_hot(t[0], a["num_classes"]),
        oracle=_one_hot,
        result_dtypes=lambda a, dtype: ["float32"],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape, n: describe(tensor(shape, "labels", classes=n), num_classes=n),
            shapes(max_rank=3),
            st.integers(1, 20),
        ),
        corners=lambda dtype: [
            describe(tensor(shape, "labels", classes=n), num_classes=n)
            for shape, n in (((5,), 7), ((2, 3), 1), ((4, 32), 1000))
        ],
        dtypes=("int64", "int32"),
        offered=(),
        aliases=("paddle.nn.functional.one_hot",),
    )
)


register(
    OperatorSpec(
        name="full_with_tensor",
        call=lambda paddle, t, a: paddle.full(a["shape"], t[0], a["dtype"]),
        oracle=lambda x, a: [_filled(a["shape"], value_of(x[0]).item(), a["dtype"])],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape, value: describe(
                tensor([1], "listed", values=[_number(value, dtype)]), shape=shape, dtype=dtype
            ),
            shapes(min_rank=1),
            st.sampled_from(list(VALUES[:3])),
        ),
        corners=lambda dtype: [
            describe(tensor([1], "listed", values=[_number(2.5, dtype)]), shape=list(shape), dtype=dtype)
            for shape in ((3, 5), (1031,), (1,), (2, 64, 128))
        ],
        dtypes=("float32", "int64"),
        kernels=lambda a, dtype: [Kernel(("full", "full_with_tensor"), dtype)],
        static_kernels=lambda a, dtype: [Kernel(("full_with_tensor",), dtype)],  # eager mode reads the number first
        layouts=("plain",),
        aliases=("paddle.full",),
    )
)


def _refilled(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    result = paddle.assign(tensors[0])
    result.fill_(a["value"])
    return result


register(
    OperatorSpec(
        name="fill_grad",
        call=_refilled,
        oracle=lambda x, a: [b.move(lambda v: np.full(v.shape, a["value"], v.dtype), x[0])],
        gradient=lambda x, out, d, a: [b.move(np.zeros_like, d[0])],
        kernels=lambda a, dtype: [Kernel(("fill",), dtype)],
        grad_kernels=lambda a, dtype: [Kernel(("fill_grad",), dtype)],
        kind=Kind.EXACT,
        examples=unary(("normal",), st.fixed_dictionaries({"value": st.sampled_from([0.5, 3.0])}), min_rank=1),
        corners=lambda dtype: [describe(tensor(shape), value=2.0) for shape in ((3, 5), (1031,), (2, 64, 128))],
        static=False,
        aliases=("paddle.Tensor.fill_",),
    )
)
