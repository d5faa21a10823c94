"""Numbers in sequence: running products, evenly spaced values; and values put along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec, kernel
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _columns(x: Operand, axis: int) -> list[Operand]:
    """The slices of ``x`` along ``axis``."""
    return [b.move(lambda v, i=i: np.take(v, i, axis), x) for i in range(value_of(x).shape[axis])]


def _stacked(columns: Sequence[Operand], axis: int) -> Operand:
    return b.move(lambda *parts: np.stack(parts, axis), *columns)


def _running_products(x: Operand, axis: int) -> Operand:
    """One rounding in storage for each factor but the first: a kernel that keeps its product in the output's dtype."""
    columns = _columns(x, axis)
    products = columns[:1]
    for column in columns[1:]:
        products.append(products[-1] * column)
    return _stacked([_as_operand(product) for product in products], axis)


def _as_operand(x: Operand) -> Operand:
    return x if isinstance(x, Tracked) else np.asarray(x)


def _cumprod_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    """grad[j] = (product of x before j) * s[j] with s[j] = d[j] + x[j + 1] * s[j + 1].

    A kernel may as well divide the sum of d[i] * out[i] over i >= j by x[j], as Paddle's does: the wider limit holds.
    """
    factors, flow = _columns(x[0], a["axis"]), _columns(d[0], a["axis"])
    behind = flow[-1]
    sums = [behind]
    for column, own in zip(reversed(factors[1:]), reversed(flow[:-1]), strict=True):
        behind = own + column * behind
        sums.insert(0, behind)
    before = factors[0]
    grads = [sums[0]]
    for column, total in zip(factors[1:], sums[1:], strict=True):
        grads.append(before * total)
        before = before * column
    result = _stacked(grads, a["axis"])
    ahead = _columns(d[0] * out[0], a["axis"])[::-1]
    quotient = b.move(lambda v: np.flip(v, a["axis"]), b.running_sum(_stacked(ahead, a["axis"]), a["axis"])) / x[0]
    errors = [error for error in (result.error, quotient.error) if error is not None]  # None: exact
    return [Tracked(result.value, result.arithmetic, np.maximum.reduce(errors) if errors else None)]


def _cumprod_case(shape: Sequence[int], axis: int, probe: bool = False) -> Description:
    regime = {"regime": "integers", "low": 1, "high": 3} if probe else {"regime": "near_one"}
    return describe({**tensor(shape), **regime}, probe=probe, axis=axis)


register(
    OperatorSpec(
        name="cumprod",
        call=lambda paddle, t, a: paddle.cumprod(t[0], a["axis"]),
        oracle=lambda x, a: [_running_products(x[0], a["axis"])],
        gradient=_cumprod_gradient,
        kind=Kind.REDUCTION,
        examples=lambda dtype: st.builds(
            lambda shape, axis: _cumprod_case(shape, axis % len(shape)),
            st.lists(st.integers(1, 7), min_size=1, max_size=3),
            st.integers(0, 5),
        ),
        corners=lambda dtype: [
            _cumprod_case((3, 5), 1, probe=True),
            _cumprod_case((4, 3, 2), -3),
            _cumprod_case((1,), 0),
            _cumprod_case((2, 40), 1),
        ],
        dtypes=("float32", "int64"),
        offered=("float64", "float16", "bfloat16"),
        aliases=("paddle.cumprod",),
    )
)


def _linspace(x: list[Operand], a: Attributes) -> list[Operand]:
    """start + i * (stop - start) / (n - 1); a kernel may as well count from stop."""
    n = a["number"]
    if n == 1:
        return [b.move(lambda v: np.reshape(v, (1,)), x[0])]
    step = (x[1] - x[0]) / float(n - 1)
    places = np.arange(n, dtype=np.float64)
    rising, falling = x[0] + step * places, x[1] - step * places[::-1]
    assert rising.error is not None
    assert falling.error is not None
    return [Tracked(rising.value, rising.arithmetic, np.maximum(rising.error, falling.error))]


def _linspace_case(start: float, stop: float, number: int) -> Description:
    bounds = [tensor([], "listed", values=[value]) for value in (start, stop)]
    return describe(*bounds, number=number)


register(
    OperatorSpec(
        name="linspace",
        call=lambda paddle, t, a: paddle.linspace(t[0], t[1], a["number"], dtype=t[0].dtype),
        oracle=_linspace,
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            _linspace_case, st.integers(-9, 9).map(float), st.integers(10, 40).map(float), st.integers(1, 99)
        ),
        corners=lambda dtype: [
            _linspace_case(*case) for case in ((0.0, 1.0, 11), (5.0, -3.0, 8), (2.0, 9.0, 1), (0.0, 999.0, 1000))
        ],
        offered=("float64", "float16", "bfloat16"),
        aliases=("paddle.linspace",),
    )
)


def _flat_places(x: list[Operand], a: Attributes) -> Array:
    """The flat place in ``x`` that each index names."""
    grid = list(np.indices(x[1].shape))
    grid[a["axis"]] = x[1]
    return np.asarray(np.ravel_multi_index(grid, value_of(x[0]).shape))


def _put(x: list[Operand], a: Attributes) -> list[Operand]:
    places = _flat_places(x, a)
    if a["reduce"] == "add":
        flow = x[2]
        if not isinstance(flow, Tracked):
            result = np.array(x[0])
            np.add.at(result.reshape(-1), places.reshape(-1), flow.reshape(-1))
            return [result]
        numbers = np.arange(x[0].size)
        terms = b.move(lambda v, w: np.concatenate([v.reshape(-1), w.reshape(-1)]), x[0], flow)
        return [b.scatter_sum(x[0].size, np.concatenate([numbers, places.reshape(-1)]), terms).reshape(x[0].shape)]

    def assign(target: Array, values: Array) -> Array:
        result = np.array(target)
        result.reshape(-1)[places.reshape(-1)] = values.reshape(-1)
        return result

    return [b.move(assign, x[0], x[2])]


def _put_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    places = _flat_places(x, a)
    values = b.move(lambda v: v.reshape(-1)[places], d[0])
    if a["reduce"] == "add":
        return [d[0], None, values]
    return [b.move(lambda v: np.where(np.isin(np.arange(v.size), places).reshape(v.shape), 0.0, v), d[0]), None, values]


def _put_case(shape: Sequence[int], count: int, axis: int, reduce: str) -> Description:
    """Several values meet in one place only where they are added: Paddle leaves open which of them assign keeps."""
    several = [count if i == axis else side for i, side in enumerate(shape)]
    index = tensor(several, "labels", "int64", classes=shape[axis])
    if reduce == "assign" and len(shape) == 1:
        index = tensor(several, "unique", "int64", high=shape[axis])
    return describe(tensor(shape), index, tensor(several), axis=axis, reduce=reduce)


register(
    OperatorSpec(
        name="put_along_axis",
        call=lambda paddle, t, a: paddle.put_along_axis(
            t[0], t[1], t[2], a["axis"], reduce=a["reduce"], broadcast=False
        ),
        oracle=_put,
        gradient=_put_gradient,
        kind=Kind.EXACT,
        examples=lambda dtype: st.one_of(
            st.builds(
                lambda rows, columns, count: _put_case((rows, columns), count, 1, "add"),
                st.integers(1, 6),
                st.integers(1, 9),
                st.integers(1, 9),
            ),
            st.builds(
                lambda shape: _put_case(shape, 1, 0, "assign"),
                st.lists(st.integers(1, 6), min_size=1, max_size=3),
            ),
        ),
        corners=lambda dtype: [
            _put_case((3, 5), 1, 1, "assign"),
            _put_case((9,), 6, 0, "assign"),
            _put_case((3, 5), 4, 1, "add"),
            _put_case((6, 2, 3), 2, 0, "add"),
            _put_case((16, 60), 4, 1, "add"),
        ],
        dtypes=("float32", "int64"),
        offered=("float64", "float16", "bfloat16"),
        aliases=("paddle.put_along_axis",),
    )
)


def _shape_call(paddle: Any, tensors: Sequence[Any], _: Attributes) -> Any:
    return paddle.cast(paddle.shape(tensors[0]), "int64")  # int32 up to Paddle 3.0


register(
    OperatorSpec(
        name="shape64",
        call=_shape_call,
        oracle=lambda x, a: [np.asarray(value_of(x[0]).shape, np.int64)],
        kernels=lambda a, dtype: [kernel("shape64|shape", dtype)],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape: describe(tensor(shape)), st.lists(st.integers(0, 7), min_size=1, max_size=4)
        ),
        corners=lambda dtype: [describe(tensor(shape)) for shape in ((3, 5), (2, 0), (1,), (2, 1, 3, 1))],
        dtypes=("float32", "int64"),
        offered=("float64", "float16", "bfloat16"),
        aliases=("paddle.shape",),
    )
)
