"""Operators that write into their own input, also through a strided view of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand
from adapter_conform.catalogue.draw import SHAPES, shapes
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.unary import EXP_LEFT_OUT
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


LAYOUTS = ("fenced", "misaligned", "transposed", "sliced")
"""Of what is written to, too: Paddle then computes in a dense tensor and copies it to where it belongs."""


def _in_place(
    name: str,
    kind: Kind,
    oracle: Callable[[Any, Any], Any],
    dtypes: tuple[str, ...] = ("float32",),
    second: str = "normal",
) -> None:
    """``x.<name>_(y)`` for a y of the same shape, with values from the regime ``second``."""
    register(
        OperatorSpec(
            name=f"{name}_",
            call=lambda paddle, t, a: getattr(t[0], f"{name}_")(t[1]),
            oracle=lambda x, a: [oracle(x[0], x[1])],
            kernels=lambda a, dtype: [Kernel((name,), dtype)],
            kind=kind,
            examples=lambda dtype: st.builds(lambda shape: describe(tensor(shape), tensor(shape, second)), shapes()),
            corners=lambda dtype: [describe(tensor(s), tensor(s, second)) for s in SHAPES if 0 not in s],
            dtypes=dtypes,
            static=False,
            mutates=(0,),
            layouts=LAYOUTS,
            aliases=(f"paddle.Tensor.{name}_",),
        )
    )


_in_place("add", Kind.ELEMENTWISE, lambda x, y: x + y, ("float32", "int64"))
_in_place("subtract", Kind.ELEMENTWISE, lambda x, y: x - y, ("float32", "int64"))
_in_place("multiply", Kind.ELEMENTWISE, lambda x, y: x * y, ("float32", "int64"))
_in_place("divide", Kind.ELEMENTWISE, lambda x, y: x / y, second="nonzero")


def _alone_in_place(name: str, kind: Kind, oracle: Callable[[Any], Any], regime: str = "normal", **extra: Any) -> None:
    """``x.<name>_()``"""
    register(
        OperatorSpec(
            name=f"{name}_",
            call=lambda paddle, t, a: getattr(t[0], f"{name}_")(),
            oracle=lambda x, a: [oracle(x[0])],
            kernels=lambda a, dtype: [Kernel((name,), dtype)],
            kind=kind,
            examples=lambda dtype: st.builds(lambda shape: describe(tensor(shape, regime)), shapes()),
            corners=lambda dtype: [describe(tensor(shape, regime)) for shape in SHAPES if 0 not in shape],
            static=False,
            mutates=(0,),
            layouts=LAYOUTS,
            aliases=(f"paddle.Tensor.{name}_",),
            **extra,
        )
    )


_alone_in_place("exp", Kind.ELEMENTWISE, b.exp, left_out=EXP_LEFT_OUT)
_alone_in_place("tanh", Kind.ELEMENTWISE, b.tanh)
_alone_in_place("sqrt", Kind.ELEMENTWISE, b.root, "positive")
_alone_in_place("floor", Kind.EXACT, lambda x: b.move(np.floor, x))

register(
    OperatorSpec(
        name="scale_",
        call=lambda paddle, t, a: t[0].scale_(a["scale"], a["bias"]),
        oracle=lambda x, a: [x[0] * float(a["scale"]) + float(a["bias"])],
        kernels=lambda a, dtype: [Kernel(("scale",), dtype)],
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(lambda shape: describe(tensor(shape), scale=0.5, bias=1.0), shapes()),
        corners=lambda dtype: [
            describe(tensor((3, 5)), scale=2.0, bias=0.0),
            describe(tensor(()), scale=-1.0, bias=0.5),
        ],
        static=False,
        mutates=(0,),
        layouts=LAYOUTS,
        aliases=("paddle.Tensor.scale_",),
    )
)


def _filled(x: list[Operand], a: Attributes) -> list[Operand]:
    return [b.move(lambda v: np.full(v.shape, a["value"], v.dtype), x[0])]


register(
    OperatorSpec(
        name="fill",
        call=lambda paddle, t, a: t[0].fill_(a["value"]),
        oracle=_filled,
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape, value: describe(tensor(shape), value=value), shapes(), st.sampled_from([0, 1, 5])
        ),
        corners=lambda dtype: [
            describe(tensor(shape), value=i % 3) for i, shape in enumerate(((3, 5), (), (1031,), (2, 64, 128)))
        ],
        dtypes=("float32", "int64", "int32", "bool"),
        static=False,
        mutates=(0,),
        layouts=LAYOUTS,
        aliases=("paddle.Tensor.fill_", "paddle.Tensor.zero_"),
    )
)


def _through_view(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    tensors[0].transpose(a["perm"]).add_(tensors[1])
    return tensors[0]


def _view_add(shape: Sequence[int], perm: Sequence[int]) -> Description:
    return describe(tensor(shape), tensor([shape[axis] for axis in perm]), perm=list(perm))


register(
    OperatorSpec(
        name="strided_copy",
        call=_through_view,
        oracle=lambda x, a: [x[0] + b.move(lambda v: np.transpose(v, np.argsort(a["perm"])), x[1])],
        kernels=lambda a, dtype: [Kernel(("add",), dtype), Kernel(("strided_copy",), dtype)],
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            lambda m, n, k: _view_add((m, n, k), (2, 0, 1)), st.integers(2, 7), st.integers(2, 7), st.integers(2, 7)
        ),
        corners=lambda dtype: [_view_add((4, 6), (1, 0)), _view_add((2, 3, 5), (2, 0, 1))],
        dtypes=("float32", "int64"),
        static=False,
        mutates=(0,),
    )
)
