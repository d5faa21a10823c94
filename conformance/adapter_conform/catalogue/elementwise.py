"""Binary elementwise operators with broadcasting, and scaling by numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked, value_of
from adapter_conform.catalogue.draw import and_special, binary, binary_corners, shapes, unary, unary_corners
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec, kernel
from adapter_conform.catalogue.values import describe, tensor

__all__ = ["unbroadcast"]

NUMBERS = ("float32", "int32", "int64")


def unbroadcast(gradient: Operand, like: Operand) -> Operand:
    """Sums ``gradient`` over the axes along which ``like`` was broadcast."""
    shape = value_of(like).shape
    extra = value_of(gradient).ndim - len(shape)
    axes = [*range(extra), *[i + extra for i, side in enumerate(shape) if side == 1]]
    axes = [axis for axis in axes if value_of(gradient).shape[axis] != 1 or axis < extra]
    summed = b.total(gradient, tuple(axes)) if axes else gradient
    return b.move(lambda a: np.reshape(a, shape), summed)


def _both(left: Any, right: Any) -> Any:
    """Builds a gradient function from d/dleft and d/dright, each (x, y, out, dout) -> gradient before summing."""

    def gradient(x: list[Operand], out: list[Operand], dout: list[Operand], _: Attributes) -> list[Operand]:
        flow = b.move(lambda a: np.broadcast_to(a, value_of(out[0]).shape), dout[0])
        return [unbroadcast(side(x[0], x[1], out[0], flow), x[i]) for i, side in enumerate((left, right))]

    return gradient


def _share_of_extreme(x: Operand, y: Operand, dout: Operand, larger: bool) -> tuple[Operand, Operand]:
    """Paddle gives the gradient of maximum/minimum to the winner's side, half of it to each where both are equal."""
    first, second = (value_of(x), value_of(y)) if larger else (value_of(y), value_of(x))
    share = np.broadcast_to((first > second) + 0.5 * (first == second), value_of(dout).shape)
    return b.move(lambda a: a * share, dout), b.move(lambda a: a * (1.0 - share), dout)


register(
    OperatorSpec(
        name="add",
        call=lambda paddle, t, a: paddle.add(t[0], t[1]),
        oracle=lambda x, a: [x[0] + x[1]],
        gradient=_both(lambda x, y, out, d: d, lambda x, y, out, d: d),
        kind=Kind.ELEMENTWISE,
        examples=binary(),
        corners=and_special(binary_corners(), (5, 7), (5, 7)),
        dtypes=NUMBERS,
        aliases=("paddle.add", "paddle.Tensor.__add__", "paddle.Tensor.__radd__", "paddle.Tensor.add"),
    )
)

register(
    OperatorSpec(
        name="subtract",
        call=lambda paddle, t, a: paddle.subtract(t[0], t[1]),
        oracle=lambda x, a: [x[0] - x[1]],
        gradient=_both(lambda x, y, out, d: d, lambda x, y, out, d: -d),
        kind=Kind.ELEMENTWISE,
        examples=binary(),
        corners=binary_corners(),
        dtypes=NUMBERS,
        aliases=("paddle.subtract", "paddle.Tensor.__sub__", "paddle.Tensor.subtract"),
    )
)

register(
    OperatorSpec(
        name="multiply",
        call=lambda paddle, t, a: paddle.multiply(t[0], t[1]),
        oracle=lambda x, a: [x[0] * x[1]],
        gradient=_both(lambda x, y, out, d: d * y, lambda x, y, out, d: d * x),
        kind=Kind.ELEMENTWISE,
        examples=binary(),
        corners=and_special(binary_corners(), (5, 7), (5, 7)),
        dtypes=NUMBERS,
        aliases=("paddle.multiply", "paddle.Tensor.__mul__", "paddle.Tensor.__rmul__", "paddle.Tensor.multiply"),
    )
)

register(
    OperatorSpec(
        name="divide",
        call=lambda paddle, t, a: paddle.divide(t[0], t[1]),
        oracle=lambda x, a: [x[0] / x[1]],
        gradient=_both(lambda x, y, out, d: d / y, lambda x, y, out, d: -(d * out / y)),
        kind=Kind.ELEMENTWISE,
        examples=binary("normal", "nonzero"),
        corners=binary_corners("normal", "nonzero"),
        aliases=("paddle.divide", "paddle.Tensor.__truediv__", "paddle.Tensor.divide"),
    )
)

register(
    OperatorSpec(
        name="maximum",
        call=lambda paddle, t, a: paddle.maximum(t[0], t[1]),
        oracle=lambda x, a: [b.maximum(x[0], x[1])],
        gradient=_both(
            lambda x, y, out, d: _share_of_extreme(x, y, d, True)[0],
            lambda x, y, out, d: _share_of_extreme(x, y, d, True)[1],
        ),
        kind=Kind.EXACT,
        examples=binary(),
        corners=and_special(binary_corners(), (5, 7), (5, 7)),
        dtypes=NUMBERS,
        aliases=("paddle.maximum",),
    )
)

register(
    OperatorSpec(
        name="minimum",
        call=lambda paddle, t, a: paddle.minimum(t[0], t[1]),
        oracle=lambda x, a: [b.minimum(x[0], x[1])],
        gradient=_both(
            lambda x, y, out, d: _share_of_extreme(x, y, d, False)[0],
            lambda x, y, out, d: _share_of_extreme(x, y, d, False)[1],
        ),
        kind=Kind.EXACT,
        examples=binary(),
        corners=and_special(binary_corners(), (5, 7), (5, 7)),
        dtypes=NUMBERS,
        aliases=("paddle.minimum",),
    )
)


def _number_of(choose: Any) -> Any:
    """fmax, fmin: the operand that is a number where the other is NaN."""
    return lambda x, a: [b.move(choose, x[0], x[1]) if isinstance(x[0], Tracked) else choose(x[0], x[1])]


def _fmax_shares(larger: bool) -> Any:
    """The whole gradient to the chosen side, to the first where both are equal."""

    def first(x: Operand, y: Operand, out: Operand, d: Operand) -> Operand:
        keep = value_of(x) >= value_of(y) if larger else value_of(x) <= value_of(y)
        return b.move(lambda g: np.where(keep, g, 0.0), d)

    def second(x: Operand, y: Operand, out: Operand, d: Operand) -> Operand:
        keep = value_of(x) >= value_of(y) if larger else value_of(x) <= value_of(y)
        return b.move(lambda g: np.where(keep, 0.0, g), d)

    return _both(first, second)


for _name, _choose, _larger in (("fmax", np.fmax, True), ("fmin", np.fmin, False)):
    register(
        OperatorSpec(
            name=_name,
            call=lambda paddle, t, a, name=_name: getattr(paddle, name)(t[0], t[1]),  # type: ignore[misc]
            oracle=_number_of(_choose),
            gradient=_fmax_shares(_larger),
            kind=Kind.EXACT,
            examples=binary(),
            corners=and_special(binary_corners(), (5, 7), (5, 7)),
            dtypes=NUMBERS,
            aliases=(f"paddle.{_name}",),
        )
    )

register(
    OperatorSpec(
        name="floor_divide",
        call=lambda paddle, t, a: paddle.floor_divide(t[0], t[1]),
        oracle=lambda x, a: [np.floor_divide(x[0], x[1])],
        kind=Kind.EXACT,
        examples=binary("integers", "nonzero_integers"),
        corners=binary_corners("integers", "nonzero_integers"),
        dtypes=("int32", "int64"),
        offered=(),
        aliases=("paddle.floor_divide", "paddle.Tensor.__floordiv__"),
    )
)

register(
    OperatorSpec(
        name="remainder",
        call=lambda paddle, t, a: paddle.remainder(t[0], t[1]),
        oracle=lambda x, a: [np.remainder(x[0], x[1])],
        kind=Kind.EXACT,
        examples=binary("integers", "nonzero_integers"),
        corners=binary_corners("integers", "nonzero_integers"),
        dtypes=("int32", "int64"),
        offered=(),
        aliases=("paddle.remainder", "paddle.mod", "paddle.Tensor.__mod__"),
    )
)


def _halves(*shape: int) -> Any:
    """Half-way between whole numbers: no multiple of one."""
    return tensor(shape, "integers", low=-40, high=40, offset=0.5)


register(
    OperatorSpec(
        name="remainder_float",
        call=lambda paddle, t, a: paddle.remainder(t[0], t[1]),
        oracle=lambda x, a: [b.move(np.remainder, x[0], x[1])],
        gradient=_both(lambda x, y, out, d: d, lambda x, y, out, d: -(d * b.move(lambda p, q: np.floor(p / q), x, y))),
        kernels=lambda a, dtype: [Kernel(("remainder",), dtype)],
        grad_kernels=lambda a, dtype: [Kernel(("remainder_grad",), dtype)],
        kind=Kind.EXACT,
        stress=False,  # here it is exact, and no jump is near
        examples=lambda dtype: st.builds(
            lambda shape: describe(_halves(*shape), tensor(shape, "nonzero_integers")), shapes(min_rank=1)
        ),
        corners=lambda dtype: [
            describe(_halves(4, 6), tensor((4, 6), "nonzero_integers")),
            describe(_halves(2, 3, 5), tensor((5,), "nonzero_integers")),
            describe(_halves(64, 65), tensor((64, 1), "nonzero_integers")),
        ],
        aliases=("paddle.remainder", "paddle.mod", "paddle.Tensor.__mod__"),
    )
)


def _power_gradient(x: Operand, y: Operand, out: Operand, d: Operand) -> Operand:
    return d * y * b.power(x, y - 1.0)


register(
    OperatorSpec(
        name="elementwise_pow",
        call=lambda paddle, t, a: paddle.pow(t[0], t[1]),
        oracle=lambda x, a: [b.power(x[0], x[1])],
        gradient=_both(_power_gradient, lambda x, y, out, d: d * b.log(x) * b.power(x, y)),
        kind=Kind.ELEMENTWISE,
        examples=binary("positive", "unit"),
        corners=binary_corners("positive", "unit"),
        aliases=("paddle.pow", "paddle.Tensor.__rpow__"),
    )
)


register(
    OperatorSpec(
        name="div_scale",
        call=lambda paddle, t, a: t[0] / a["divisor"],
        oracle=lambda x, a: [x[0] / float(a["divisor"])],
        gradient=lambda x, out, d, a: [d[0] / float(a["divisor"])],
        kernels=lambda a, dtype: [kernel("div_scale|scale", dtype)],
        grad_kernels=lambda a, dtype: [kernel("div_scale|scale", dtype)],
        kind=Kind.ELEMENTWISE,
        examples=unary(("normal",), st.fixed_dictionaries({"divisor": st.sampled_from([3.0, -0.7, 4.0])})),
        corners=unary_corners(("normal",), [{"divisor": 3.0}, {"divisor": 8.0}]),
        aliases=("paddle.Tensor.__truediv__",),
    )
)


EXPONENTS = (2.0, 3.0, -1.0, 0.5, -0.5, 1.0, 2.5, 0.0)

register(
    OperatorSpec(
        name="pow",
        call=lambda paddle, t, a: paddle.pow(t[0], a["y"]),
        oracle=lambda x, a: [b.power(x[0], float(a["y"]))],
        gradient=lambda x, out, d, a: [d[0] * float(a["y"]) * b.power(x[0], float(a["y"]) - 1.0)],
        kind=Kind.ELEMENTWISE,
        examples=unary(("positive",), st.fixed_dictionaries({"y": st.sampled_from(EXPONENTS)})),
        corners=unary_corners(("positive",), [{"y": exponent} for exponent in EXPONENTS]),
        identity=lambda attributes, shapes: attributes["y"] == 1.0,
        aliases=("paddle.pow", "paddle.Tensor.pow", "paddle.Tensor.__pow__"),
    )
)


def _sums(dtype: str) -> st.SearchStrategy[Description]:
    return st.builds(
        lambda shape, count: describe(*[tensor(shape)] * count),
        shapes(),
        st.integers(1, 5),
    )


def _added(x: list[Operand], a: Attributes) -> list[Operand]:
    result = x[0]
    for term in x[1:]:
        result = result + term
    return [result]


register(
    OperatorSpec(
        name="add_n",
        call=lambda paddle, t, a: paddle.add_n(list(t)),
        oracle=_added,
        kind=Kind.REDUCTION,
        examples=_sums,
        corners=lambda dtype: [describe(*[tensor(shape)] * 3) for shape in ((3, 5), (), (7, 13))],
        dtypes=("float32", "int64"),
        aliases=("paddle.add_n",),
    )
)


def _scale(x: list[Operand], a: Attributes) -> list[Operand]:
    if value_of(x[0]).dtype.kind != "f":  # whole numbers: the factor and the bias are whole too
        scale, bias = int(a["scale"]), int(a["bias"])
        return [((x[0] * scale + bias) if a["bias_after_scale"] else (x[0] + bias) * scale).astype(x[0].dtype)]
    if a["bias_after_scale"]:
        return [x[0] * float(a["scale"]) + float(a["bias"])]
    return [(x[0] + float(a["bias"])) * float(a["scale"])]


def _scale_examples(dtype: str) -> Any:
    numbers = st.sampled_from([2.0, -1.0, 0.125, 3.0] if dtype.startswith("float") else [2.0, -1.0, 3.0])
    biases = st.sampled_from([0.0, 1.0, -2.5] if dtype.startswith("float") else [0.0, 1.0, -2.0])
    attributes = st.fixed_dictionaries({"scale": numbers, "bias": biases, "bias_after_scale": st.booleans()})
    return unary(("normal",), attributes)(dtype)


def _scale_corners(dtype: str) -> Any:
    variants = [
        {"scale": 2.0, "bias": 0.0, "bias_after_scale": True},
        {"scale": -1.0, "bias": 1.0, "bias_after_scale": True},
    ]
    if dtype.startswith("float"):
        variants.append({"scale": 0.1, "bias": 0.3, "bias_after_scale": False})
    return unary_corners(("normal",), variants)(dtype)


register(
    OperatorSpec(
        name="scale",
        call=lambda paddle, t, a: paddle.scale(t[0], a["scale"], a["bias"], a["bias_after_scale"]),
        oracle=_scale,
        gradient=lambda x, out, d, a: [d[0] * float(a["scale"])],
        grad_kernels=lambda a, dtype: [Kernel(("scale",), dtype)],
        kind=Kind.ELEMENTWISE,
        examples=_scale_examples,
        corners=_scale_corners,
        dtypes=NUMBERS,
        aliases=("paddle.scale", "paddle.Tensor.__add__", "paddle.Tensor.__mul__", "paddle.Tensor.__sub__"),
    )
)
