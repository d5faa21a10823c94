"""Sums, means, extremes and everything else that folds axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked, value_of
from adapter_conform.catalogue.draw import and_special
from adapter_conform.catalogue.gates import PROVING_SIZE
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.unary import sigmoid
from adapter_conform.catalogue.values import describe, tensor

__all__ = ["axes_of", "log_softmax_of", "softmax_of"]


def axes_of(a: Attributes, rank: int) -> tuple[int, ...]:
    """The axes that ``a["axis"]`` names (None: all of them), counted from the front."""
    axis = a["axis"]
    if axis is None or axis == []:
        return tuple(range(rank))
    return tuple(item % rank for item in ([axis] if isinstance(axis, int) else axis))


CORNERS: tuple[tuple[tuple[int, ...], Any, bool], ...] = (
    ((4, 33), -1, False),
    ((3, 5, 7), None, False),
    ((3, 5, 7), [0, -1], True),
    ((6,), 0, False),
    ((), None, False),
    ((1, 1), 1, True),
    ((5, 1031), 1, False),
    ((2, 3, 4, 5), [1, 2], False),
    ((7, 3), 0, True),
    ((2, 64, 128), -1, True),
)
EMPTY: tuple[tuple[int, ...], Any, bool] = ((0, 4), 0, False)


def _corners(regimes: Sequence[str], probes: bool, empty: bool) -> Callable[[str], list[Description]]:
    """Regimes take turns; with ``probes`` the first example and every fourth are exact probes."""

    def corners(dtype: str) -> list[Description]:
        found = []
        for index, (shape, axis, keepdim) in enumerate([*CORNERS[:4], *([EMPTY] if empty else []), *CORNERS[4:]]):
            probe = probes and index % 4 == 0
            regime = "integers" if probe else regimes[index % len(regimes)]
            found.append(describe(tensor(shape, regime), probe=probe, axis=axis, keepdim=keepdim))
        return found

    return corners


@st.composite
def _folding(draw: st.DrawFn, regimes: Sequence[str], probes: bool, one_axis: bool) -> Description:
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    rank = len(shape)
    single = st.integers(-rank, rank - 1)
    if one_axis:
        axis: Any = draw(single)
    else:
        several = st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True)
        axis = draw(st.one_of(single, several, st.none()))
    probe = probes and draw(st.integers(0, 3)) == 0
    regime = "integers" if probe else draw(st.sampled_from(list(regimes)))
    return describe(tensor(shape, regime), probe=probe, axis=axis, keepdim=draw(st.booleans()))


def _reducer(
    name: str,
    oracle: Callable[[Any, tuple[int, ...], bool], Operand],
    gradient: Callable[[Any, Any, Any, tuple[int, ...]], Operand] | None,
    regimes: Sequence[str] = ("normal",),
    kind: Kind = Kind.REDUCTION,
    probes: bool = False,
    empty: bool = False,
    **extra: Any,
) -> None:
    """Registers ``paddle.<name>(x, axis, keepdim)``; ``gradient(x, out, dout, axes)`` gets out and dout with all axes
    kept, so that they broadcast against x."""

    def kept(operand: Operand, like: Operand, axes: tuple[int, ...]) -> Operand:
        shape = [1 if i in axes else side for i, side in enumerate(value_of(like).shape)]
        return b.move(lambda v: np.reshape(v, shape), operand)

    def grad(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
        assert gradient is not None
        axes = axes_of(a, value_of(x[0]).ndim)
        return [gradient(x[0], kept(out[0], x[0], axes), kept(d[0], x[0], axes), axes)]

    register(
        OperatorSpec(
            name=name,
            call=lambda paddle, t, a: getattr(paddle, name)(t[0], axis=a["axis"], keepdim=a["keepdim"]),
            oracle=lambda x, a: [oracle(x[0], axes_of(a, value_of(x[0]).ndim), a["keepdim"])],
            gradient=None if gradient is None else grad,
            kind=kind,
            examples=lambda dtype: _folding(regimes, probes, False),
            corners=_corners(regimes, probes, empty),
            identity=_nothing_reduced,
            aliases=(f"paddle.{name}", f"paddle.Tensor.{name}"),
            **extra,
        )
    )


def _nothing_reduced(a: Attributes, shapes: Sequence[tuple[int, ...]]) -> bool:
    return all(shapes[0][axis] == 1 for axis in axes_of(a, len(shapes[0])))


def _spread(x: Operand, d: Operand) -> Operand:
    return b.move(lambda g: np.broadcast_to(g, value_of(x).shape), d)


def _sum(x: Operand, axes: tuple[int, ...], keepdims: bool) -> Operand:
    if isinstance(x, Tracked):
        return b.total(x, axes, keepdims)
    return np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=np.int64))  # whole numbers are summed as int64


def _extreme_gradient(x: Tracked, out: Tracked, d: Tracked, axes: tuple[int, ...]) -> Operand:
    return b.move(lambda g: np.where(x.value == out.value, g, 0.0), d)


def _any(x: Operand, axes: tuple[int, ...], keepdims: bool) -> Operand:
    return np.asarray(np.any(value_of(x) != 0, axis=axes, keepdims=keepdims))


def _all(x: Operand, axes: tuple[int, ...], keepdims: bool) -> Operand:
    return np.asarray(np.all(value_of(x) != 0, axis=axes, keepdims=keepdims))


def _mean_gradient(x: Tracked, out: Tracked, d: Tracked, axes: tuple[int, ...]) -> Operand:
    return _spread(x, d / float(math.prod(x.shape[axis] for axis in axes)))


def _product_gradient(x: Tracked, out: Tracked, d: Tracked, axes: tuple[int, ...]) -> Operand:
    return d * (out / x)


_reducer(
    "sum",
    _sum,
    lambda x, out, d, axes: _spread(x, d),
    probes=True,
    empty=True,
    dtypes=("float32", "int32", "int64", "bool"),
)
_reducer("mean", b.mean, _mean_gradient, probes=True, probe_ulps=2)
register(
    OperatorSpec(
        name="mean_all",
        call=lambda paddle, t, a: paddle._C_ops.mean_all(t[0]),
        oracle=lambda x, a: [b.mean(x[0])],
        gradient=lambda x, out, d, a: [_spread(x[0], d[0] / float(x[0].size))],
        kind=Kind.REDUCTION,
        probe_ulps=2,
        examples=lambda dtype: st.builds(
            lambda shape: describe(tensor(shape)), st.lists(st.integers(1, 9), min_size=1, max_size=4)
        ),
        corners=lambda dtype: [
            describe(tensor((4, 33), "integers"), probe=True),
            describe(tensor((7, 13))),
            describe(tensor((1,))),
            describe(tensor((2, 31, 1))),
        ],
    )
)

_reducer("max", b.amax, _extreme_gradient, ("distinct",), Kind.EXACT, dtypes=("float32", "int32", "int64"))
_reducer("min", b.amin, _extreme_gradient, ("distinct",), Kind.EXACT, dtypes=("float32", "int32", "int64"))
_reducer("prod", b.product, _product_gradient, ("near_one",))
_reducer("any", _any, None, ("integers",), Kind.EXACT, dtypes=("bool",), offered=())
_reducer("all", _all, None, ("integers",), Kind.EXACT, dtypes=("bool",), offered=())


def _along_axis(
    regimes: Sequence[str], probes: bool = False, proving: bool = False, **attributes: Any
) -> dict[str, Any]:
    """Strategy and corners for operators along one axis. With ``proving``, an axis of length 1 is drawn in small
    tensors alone: there the only right result is zero."""

    def corners(dtype: str) -> list[Description]:
        found = []
        picks = [corner for corner in CORNERS if isinstance(corner[1], int)]
        for index, (shape, axis, _) in enumerate(picks):
            probe = probes and index % 4 == 0
            regime = "integers" if probe else regimes[index % len(regimes)]
            found.append(describe(tensor(shape, regime), probe=probe, axis=axis, **attributes))
        return found

    def drop(description: Description) -> Description:
        description["attributes"].pop("keepdim")
        description["attributes"].update(attributes)
        return description

    def proves(description: Description) -> bool:
        shape = description["inputs"][0]["shape"]
        return not proving or shape[description["attributes"]["axis"]] > 1 or math.prod(shape) < PROVING_SIZE

    return {"corners": corners, "examples": lambda dtype: _folding(regimes, probes, True).filter(proves).map(drop)}


register(
    OperatorSpec(
        name="argmax",
        call=lambda paddle, t, a: paddle.argmax(t[0], axis=a["axis"]),
        oracle=lambda x, a: [np.argmax(value_of(x[0]), axis=a["axis"]).astype(np.int64)],
        kind=Kind.EXACT,
        dtypes=("float32", "int32", "int64"),
        aliases=("paddle.argmax", "paddle.Tensor.argmax"),
        **_along_axis(("distinct", "integers")),
    )
)


register(
    OperatorSpec(
        name="argmin",
        call=lambda paddle, t, a: paddle.argmin(t[0], axis=a["axis"]),
        oracle=lambda x, a: [np.argmin(value_of(x[0]), axis=a["axis"]).astype(np.int64)],
        kind=Kind.EXACT,
        dtypes=("float32", "int32", "int64"),
        aliases=("paddle.argmin", "paddle.Tensor.argmin"),
        **_along_axis(("distinct", "integers")),
    )
)

register(
    OperatorSpec(
        name="nonzero",
        call=lambda paddle, t, a: paddle.nonzero(t[0]),
        oracle=lambda x, a: [np.argwhere(value_of(x[0]) != 0).astype(np.int64)],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape: describe(tensor(shape, "integers", low=-1, high=2)),
            st.lists(st.integers(1, 9), min_size=1, max_size=4),
        ),
        corners=lambda dtype: [
            describe(tensor(shape, "integers", low=-1, high=2)) for shape in ((4, 6), (1,), (7, 13), (2, 3, 5, 4))
        ],
        dtypes=("float32", "int64", "bool"),
        aliases=("paddle.nonzero",),
    )
)


def _reversed_sum(d: Operand, axis: int) -> Operand:
    flipped = b.move(lambda g: np.flip(g, axis), d)
    return b.move(lambda g: np.flip(g, axis), b.running_sum(flipped, axis))


register(
    OperatorSpec(
        name="cumsum",
        call=lambda paddle, t, a: paddle.cumsum(t[0], axis=a["axis"]),
        oracle=lambda x, a: [b.running_sum(x[0] if isinstance(x[0], Tracked) else x[0].astype(np.int64), a["axis"])],
        gradient=lambda x, out, d, a: [_reversed_sum(d[0], a["axis"])],
        kind=Kind.REDUCTION,
        identity=_nothing_reduced,
        dtypes=("float32", "int64"),
        aliases=("paddle.cumsum", "paddle.Tensor.cumsum"),
        **_along_axis(("normal",), probes=True),
    )
)


def _shifted(x: Tracked, axis: int) -> Tracked:
    """x - max(x): the maximum is exact, so is the result of the largest element."""
    return x - b.amax(x, (axis,), True)  # type: ignore[no-any-return]


def softmax_of(x: Tracked, axis: int) -> Tracked:
    """exp(x - max) / sum(exp(x - max)) along ``axis``."""
    powers = b.exp(_shifted(x, axis))
    return powers / b.total(powers, (axis,), True)  # type: ignore[no-any-return]


def log_softmax_of(x: Tracked, axis: int) -> Tracked:
    """(x - max) - log(sum(exp(x - max))) along ``axis``."""
    shifted = _shifted(x, axis)
    return shifted - b.log(b.total(b.exp(shifted), (axis,), True))


_SOFTMAX = _along_axis(("normal", "masked"))

register(
    OperatorSpec(
        name="softmax",
        call=lambda paddle, t, a: paddle.nn.functional.softmax(t[0], axis=a["axis"]),
        oracle=lambda x, a: [softmax_of(x[0], a["axis"])],
        gradient=lambda x, out, d, a: [out[0] * (d[0] - b.total(d[0] * out[0], (a["axis"],), True))],
        kind=Kind.REDUCTION,
        aliases=("paddle.nn.functional.softmax",),
        examples=_SOFTMAX["examples"],
        corners=and_special(_SOFTMAX["corners"], (9, 4), axis=-1),
    )
)

register(
    OperatorSpec(
        name="log_softmax",
        call=lambda paddle, t, a: paddle.nn.functional.log_softmax(t[0], axis=a["axis"]),
        oracle=lambda x, a: [log_softmax_of(x[0], a["axis"])],
        gradient=lambda x, out, d, a: [d[0] - b.exp(out[0]) * b.total(d[0], (a["axis"],), True)],
        kind=Kind.REDUCTION,
        aliases=("paddle.nn.functional.log_softmax",),
        **_along_axis(("normal",), proving=True),
    )
)


def _logsumexp(x: Tracked, axes: tuple[int, ...], keepdims: bool) -> Operand:
    peak = b.amax(x, axes, True)
    peak = b.select(np.isfinite(peak.value), peak, 0.0)  # inf - inf is NaN; infinities decide by themselves
    result = b.log(b.total(b.exp(x - peak), axes, True)) + peak
    return result if keepdims else b.move(lambda v: np.squeeze(v, axis=axes), result)


_reducer(
    "logsumexp",
    _logsumexp,
    lambda x, out, d, axes: d * b.exp(x - out),
    kernels=lambda a, dtype: [Kernel(("logsumexp",), dtype)],
)


def _swiglu(x: list[Operand], a: Attributes) -> list[Operand]:
    left, right = _halves(x)
    return [left * sigmoid(left) * right]


def _halves(x: list[Operand]) -> tuple[Operand, Operand]:
    if len(x) == 2:
        return x[0], x[1]
    middle = value_of(x[0]).shape[-1] // 2
    return x[0][..., :middle], x[0][..., middle:]


def _swiglu_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    left, right = _halves(x)
    s = sigmoid(left)
    first = d[0] * right * (s * (1.0 + left * (1.0 - s)))
    second = d[0] * (left * s)
    if len(x) == 2:
        return [first, second]
    return [b.move(lambda p, q: np.concatenate([p, q], axis=-1), first, second)]


def _swiglu_call(paddle: Any, tensors: Sequence[Any], _: Attributes) -> Any:
    return paddle.incubate.nn.functional.swiglu(*tensors)


register(
    OperatorSpec(
        name="swiglu",
        call=_swiglu_call,
        oracle=_swiglu,
        gradient=_swiglu_gradient,
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            lambda shape, pair: describe(*([tensor(shape)] * 2 if pair else [tensor([*shape[:-1], 2 * shape[-1]])])),
            st.lists(st.integers(1, 9), min_size=1, max_size=4),
            st.booleans(),
        ),
        corners=lambda dtype: [
            describe(tensor((3, 5)), tensor((3, 5))),
            describe(tensor((4, 10))),
            describe(tensor((1,)), tensor((1,))),
            describe(tensor((2, 32, 352)), tensor((2, 32, 352))),
            describe(tensor((2, 16, 704))),
        ],
        aliases=("paddle.incubate.nn.functional.swiglu", "paddle.nn.functional.swiglu"),
    )
)
