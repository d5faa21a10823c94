"""Reading and writing through tensors of indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.movement import movement
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec, kernel
from adapter_conform.catalogue.values import InputDescription, describe, tensor
from adapter_conform.catalogue.views import basic_index

__all__: list[str] = []


def _indices(shape: Sequence[int], high: int, low: int = 0, dtype: str = "int64") -> InputDescription:
    return tensor(shape, "integers", dtype, low=low, high=high)


def _embedded(x: list[Array], a: Attributes) -> list[Array]:
    rows = x[1][x[0]]
    padding = a["padding_idx"]
    return [rows if padding is None else np.where((x[0] == padding)[..., None], 0, rows)]


def _embedding_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    return paddle.nn.functional.embedding(tensors[0], tensors[1], padding_idx=a["padding_idx"])


def _embedding(shape: Sequence[int], rows: int, width: int, padding: int | None = None) -> Description:
    return describe(_indices(shape, rows), tensor((rows, width)), padding_idx=padding)


movement(
    "embedding",
    _embedding_call,
    _embedded,
    moved=(1,),
    dtypes=("float32",),
    examples=lambda dtype: st.builds(
        _embedding,
        st.lists(st.integers(1, 6), min_size=1, max_size=3),
        st.integers(1, 20),
        st.integers(1, 9),
        st.just(None),
    ),
    corners=lambda dtype: [
        _embedding((2, 5), 11, 4),
        _embedding((7,), 3, 1),
        _embedding((2, 4), 6, 3, padding=2),
        _embedding((4, 64), 320, 128),
    ],
    aliases=("paddle.nn.functional.embedding",),
)


def _gather(shape: Sequence[int], count: int, axis: int, dtype: str = "int64") -> Description:
    return describe(tensor(shape), _indices([count], shape[axis], dtype=dtype), axis=axis)


def _gathers(dtype: str) -> Any:
    return st.builds(
        lambda shape, count, axis: _gather(shape, count, axis % len(shape)),
        st.lists(st.integers(1, 7), min_size=1, max_size=3),
        st.integers(1, 12),
        st.integers(0, 2),
    )


movement(
    "gather",
    lambda paddle, t, a: paddle.gather(t[0], t[1], axis=a["axis"]),
    lambda x, a: [np.take(x[0], x[1], axis=a["axis"])],
    dtypes=("float32", "int64"),
    examples=_gathers,
    corners=lambda dtype: [
        _gather((5, 3), 4, 0),
        _gather((4, 6), 9, 1),
        _gather((7,), 3, 0, "int32"),
        _gather((64, 128), 33, 0),
    ],
    aliases=("paddle.gather",),
)

movement(
    "index_select",
    lambda paddle, t, a: paddle.index_select(t[0], t[1], axis=a["axis"]),
    lambda x, a: [np.take(x[0], x[1], axis=a["axis"])],
    dtypes=("float32", "int64"),
    examples=_gathers,
    corners=lambda dtype: [_gather((5, 3), 4, 0), _gather((4, 6), 9, 1)],
    aliases=("paddle.index_select",),
)


def _gather_nd(shape: Sequence[int], lead: Sequence[int], depth: int) -> Description:
    return describe(tensor(shape), _indices([*lead, depth], min(shape[:depth])))


movement(
    "gather_nd",
    lambda paddle, t, a: paddle.gather_nd(t[0], t[1]),
    lambda x, a: [x[0][tuple(np.moveaxis(x[1], -1, 0))]],
    dtypes=("float32", "int64"),
    examples=lambda dtype: st.builds(
        lambda shape, lead, depth: _gather_nd(shape, lead, min(depth, len(shape))),
        st.lists(st.integers(1, 6), min_size=1, max_size=3),
        st.lists(st.integers(1, 5), min_size=1, max_size=2),
        st.integers(1, 3),
    ),
    corners=lambda dtype: [_gather_nd((4, 5), (3,), 2), _gather_nd((4, 5), (2, 3), 1)],
    aliases=("paddle.gather_nd", "paddle.Tensor.gather_nd"),
)

movement(
    "index_sample",
    lambda paddle, t, a: paddle.index_sample(t[0], t[1]),
    lambda x, a: [np.take_along_axis(x[0], x[1], axis=1)],
    dtypes=("float32", "int64"),
    examples=lambda dtype: st.builds(
        lambda rows, columns, count: describe(tensor((rows, columns)), _indices((rows, count), columns)),
        st.integers(1, 6),
        st.integers(1, 9),
        st.integers(1, 9),
    ),
    corners=lambda dtype: [
        describe(tensor((3, 5)), _indices((3, 2), 5)),
        describe(tensor((1, 1)), _indices((1, 1), 1)),
        describe(tensor((2, 320)), _indices((2, 17), 320)),
    ],
    aliases=("paddle.index_sample",),
)

movement(
    "take_along_axis",
    lambda paddle, t, a: paddle.take_along_axis(t[0], t[1], a["axis"], broadcast=False),
    lambda x, a: [np.take_along_axis(x[0], x[1], axis=a["axis"])],
    dtypes=("float32", "int64"),
    examples=lambda dtype: st.builds(
        lambda rows, columns, count: describe(tensor((rows, columns)), _indices((rows, count), columns), axis=1),
        st.integers(1, 6),
        st.integers(1, 9),
        st.integers(1, 9),
    ),
    corners=lambda dtype: [
        describe(tensor((3, 5)), _indices((3, 2), 5), axis=1),
        describe(tensor((4, 3)), _indices((2, 3), 4), axis=0),
    ],
    aliases=("paddle.take_along_axis",),
)

INDEXED_GET = "index_elementwise_get|gather_nd|gather"  # the later ones up to Paddle 3.1

movement(
    "index_elementwise_get",
    lambda paddle, t, a: t[0][basic_index(a["index"], t)],
    lambda x, a: [x[0][basic_index(a["index"], x)]],
    kernels=lambda a, dtype: [kernel(INDEXED_GET, dtype)],
    grad_kernels=lambda a, dtype: [kernel("index_elementwise_get_grad|gather_nd_grad|gather_grad", dtype)],
    dtypes=("float32", "int64", "bool"),
    not_offered=("int16",),
    layouts=("fenced", "misaligned"),  # Paddle, also on its CPU, indexes the wrong axis of a transposed tensor
    examples=lambda dtype: st.builds(
        lambda rows, columns, count, both: describe(
            tensor((rows, columns)),
            _indices((count,), rows, -rows),
            *([_indices((count,), columns)] if both else []),
            index=[{"tensor": 1}, {"tensor": 2}] if both else [{"tensor": 1}],
        ),
        st.integers(1, 7),
        st.integers(1, 7),
        st.integers(1, 9),
        st.booleans(),
    ),
    corners=lambda dtype: [
        describe(tensor((4, 6)), _indices((3,), 4), index=[{"tensor": 1}]),
        describe(tensor((32, 16)), _indices((2, 32), 32), index=[{"tensor": 1}]),
        describe(tensor((4, 6)), _indices((3,), 4), _indices((3,), 6), index=[{"tensor": 1}, {"tensor": 2}]),
        describe(tensor((4, 6)), _indices((5,), 6), index=[[None, None, None], {"tensor": 1}]),
    ],
    aliases=("paddle.Tensor.__getitem__",),
)


def _written(x: list[Array], a: Attributes, value: Any) -> Array:
    result = x[0].copy()
    result[basic_index(a["index"], x)] = value
    return result


def _set(name: str, kernels: str, examples: Any, corners: Any, from_tensor: bool, *, dtypes: Sequence[str]) -> None:
    """Registers an assignment ``x[index] = value``; the value is the last input or ``attributes["value"]``."""

    def call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
        tensors[0][basic_index(a["index"], tensors)] = tensors[-1] if from_tensor else a["value"]
        return tensors[0]

    def oracle(x: list[Operand], a: Attributes) -> list[Operand]:
        values = [value_of(operand) for operand in x]
        result = _written(values, a, values[-1] if from_tensor else a["value"])
        return [Tracked(result, x[0].arithmetic) if isinstance(x[0], Tracked) else result]

    register(
        OperatorSpec(
            name=name,
            call=call,
            oracle=oracle,
            kernels=lambda a, dtype: [kernel(kernels, dtype)],
            kind=Kind.EXACT,
            examples=examples,
            corners=corners,
            dtypes=tuple(dtypes),
            static=False,
            mutates=(0,),
            aliases=("paddle.Tensor.__setitem__",),
        )
    )


def _ranges(shape: Sequence[int], values: bool) -> st.SearchStrategy[Description]:
    def build(starts: list[int], steps: list[int]) -> Description:
        index: list[Any] = [[start, None, step] for start, step in zip(starts, steps, strict=False)]
        if not values:
            return describe(tensor(shape), index=index, value=2)
        sides = [len(range(side)[slice(*item)]) for side, item in zip(shape, index, strict=False)]
        return describe(tensor(shape), tensor([*sides, *shape[len(sides) :]]), index=index)

    numbers = st.lists(st.integers(0, 2), min_size=1, max_size=len(shape))
    return st.builds(build, numbers, st.lists(st.integers(1, 3), min_size=len(shape), max_size=len(shape)))


def _ranged(values: bool) -> Any:
    sides = st.lists(st.integers(3, 8), min_size=1, max_size=3)
    return lambda dtype: sides.flatmap(lambda shape: _ranges(shape, values))


_set(
    "set_value",
    "set_value",
    _ranged(False),
    lambda dtype: [
        describe(tensor((4, 6)), index=[1], value=3),
        describe(tensor((4, 6)), index=[[None, None, None], [0, 6, 2]], value=0),
        describe(tensor((2, 5, 3)), index=["...", -1], value=7),
    ],
    False,
    dtypes=("float32", "int64"),
)

_set(
    "set_value_with_tensor",
    "set_value_with_tensor",
    _ranged(True),
    lambda dtype: [
        describe(tensor((4, 6)), tensor((2, 6)), index=[[1, 3, None]]),
        describe(tensor((4, 6)), tensor((6,)), index=[2]),
        describe(tensor((2, 5, 3)), tensor((2, 2, 3)), index=[[None, None, None], [0, 4, 2]]),
    ],
    True,
    dtypes=("float32", "int64"),
)

_set(
    "index_put",
    "index_elementwise_put_with_tensor|index_put",
    lambda dtype: st.builds(
        lambda rows, columns, share: describe(
            tensor((rows, columns)),
            tensor((max(1, rows * share // 4),), "unique", "int64", high=rows),
            tensor((max(1, rows * share // 4), columns)),
            index=[{"tensor": 1}],
        ),
        st.integers(1, 8),
        st.integers(1, 6),
        st.integers(1, 4),
    ),
    lambda dtype: [
        describe(tensor((5, 3)), tensor((2,), "unique", "int64", high=5), tensor((2, 3)), index=[{"tensor": 1}]),
    ],
    True,
    dtypes=("float32", "int64"),
)


_set(
    "index_elementwise_put",
    "index_elementwise_put|index_put",
    lambda dtype: st.builds(
        lambda rows, columns: describe(
            tensor((rows, columns)), _indices((max(1, rows // 2),), rows), index=[{"tensor": 1}], value=3
        ),
        st.integers(1, 8),
        st.integers(1, 6),
    ),
    lambda dtype: [
        describe(tensor((5, 3)), _indices((2,), 5), index=[{"tensor": 1}], value=2),
        describe(tensor((64, 17)), _indices((9,), 64), index=[{"tensor": 1}], value=0),
        describe(tensor((7,)), _indices((3,), 7), index=[{"tensor": 1}], value=1),
    ],
    False,
    dtypes=("float32", "int64"),
)


def _put_rows(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    result = paddle.assign(t[0])
    result[t[1]] = t[2] if len(t) > 2 else 2.0
    return result


def _rows_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    kept = np.ones(value_of(x[0]).shape, bool)
    kept[value_of(x[1])] = False
    own = b.move(lambda g: np.where(kept, g, 0.0), d[0])
    return [own, None, *([d[0][value_of(x[1])]] if len(x) > 2 else [])]


def _rows_case(rows: int, count: int, columns: int, values: bool) -> Description:
    index = tensor((count,), "unique", "int64", high=rows)
    return describe(tensor((rows, columns)), index, *([tensor((count, columns))] if values else []))


for _name, _values in (("index_elementwise_put_grad", False), ("index_elementwise_put_with_tensor_grad", True)):
    register(
        OperatorSpec(
            name=_name,
            call=_put_rows,
            oracle=lambda x, a: [
                b.move(
                    lambda v, *w: np.where(
                        np.isin(np.arange(len(v)), value_of(x[1]))[:, None],
                        2.0 if not w else _spread_rows(v, x[1], *w),
                        v,
                    ),
                    x[0],
                    *x[2:],
                )
            ],
            gradient=_rows_gradient,
            kernels=lambda a, dtype, name=_name: [  # type: ignore[misc]
                kernel(f"{name.removesuffix('_grad')}|index_put", dtype)
            ],
            grad_kernels=lambda a, dtype, name=_name: [kernel(f"{name}|index_put_grad", dtype)],  # type: ignore[misc]
            kind=Kind.EXACT,
            examples=lambda dtype, values=_values: st.builds(  # type: ignore[misc]
                lambda rows, count, columns: _rows_case(rows, min(rows, count), columns, values),
                st.integers(1, 8),
                st.integers(1, 8),
                st.integers(1, 6),
            ),
            corners=lambda dtype, values=_values: [  # type: ignore[misc]
                _rows_case(5, 2, 3, values),
                _rows_case(64, 33, 17, values),
                _rows_case(1, 1, 1, values),
            ],
            static=False,
            aliases=("paddle.Tensor.__setitem__",),
        )
    )


def _spread_rows(like: Array, index: Array, rows: Array) -> Array:
    """``rows`` at the places ``index`` of an array like ``like``."""
    result = np.zeros_like(like)
    result[index] = rows
    return result


def _top(x: list[Operand], a: Attributes) -> list[Operand]:
    order = _top_order(x[0], a)
    return [b.argselect(x[0], order, a["axis"]), order]


def _top_order(x: Operand, a: Attributes) -> Array:
    values = value_of(x)
    order = np.argsort(-values if a["largest"] else values, axis=a["axis"], kind="stable")
    return np.take(order, range(a["k"]), axis=a["axis"]).astype(np.int64)


def _top_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    order = _top_order(x[0], a)

    def put(flow: Array) -> Array:
        result = np.zeros(value_of(x[0]).shape)
        np.put_along_axis(result, order, flow, a["axis"])
        return result

    return [b.move(put, d[0])]


def _top_description(shape: Sequence[int], axis: int, k: int, largest: bool = True) -> Description:
    return describe(tensor(shape, "distinct"), axis=axis, k=min(k, shape[axis]), largest=largest)


register(
    OperatorSpec(
        name="topk",
        call=lambda paddle, t, a: list(paddle.topk(t[0], a["k"], axis=a["axis"], largest=a["largest"])),
        oracle=_top,
        gradient=_top_gradient,
        kernels=lambda a, dtype: [Kernel(("topk",), dtype)],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape, axis, k, largest: _top_description(shape, axis % len(shape), k, largest),
            st.lists(st.integers(1, 7), min_size=1, max_size=3),
            st.integers(0, 2),
            st.integers(1, 5),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _top_description((4, 9), -1, 3),
            _top_description((5, 3), 0, 2, largest=False),
            _top_description((2, 320), -1, 50),
        ],
        aliases=("paddle.topk",),
    )
)


def _scattered(x: list[Array], a: Attributes) -> list[Array]:
    result = x[0].copy()
    result[x[1]] = x[2]
    return [result]


def _scatter_case(rows: int, count: int, columns: int) -> Description:
    """No row twice: Paddle leaves open which of two updates stays."""
    return describe(
        tensor((rows, columns)),
        tensor((count,), "unique", "int64", high=rows),
        tensor((count, columns)),
        overwrite=True,
    )


movement(
    "scatter",
    lambda paddle, t, a: paddle.scatter(t[0], t[1], t[2], overwrite=a["overwrite"]),
    _scattered,
    moved=(0, 2),
    inputs=3,
    dtypes=("float32", "int64"),
    examples=lambda dtype: st.builds(
        lambda rows, count, columns: _scatter_case(rows, min(rows, count), columns),
        st.integers(1, 8),
        st.integers(1, 8),
        st.integers(1, 6),
    ),
    corners=lambda dtype: [_scatter_case(5, 2, 3), _scatter_case(1, 1, 1), _scatter_case(64, 33, 17)],
    aliases=("paddle.scatter",),
)


def _accumulated(x: list[Operand], a: Attributes) -> list[Operand]:
    """x with each value added to the row that its index names; indices may meet."""
    rows, columns = value_of(x[0]).shape
    places = (value_of(x[1])[:, None] * columns + np.arange(columns)).reshape(-1)
    numbers = np.arange(rows * columns)
    if not isinstance(x[0], Tracked):
        result = x[0].copy()
        np.add.at(result.reshape(-1), places, x[2].reshape(-1))
        return [result]
    terms = b.move(lambda v, w: np.concatenate([v.reshape(-1), w.reshape(-1)]), x[0], x[2])
    return [b.scatter_sum(rows * columns, np.concatenate([numbers, places]), terms).reshape((rows, columns))]


def _put_case(rows: int, count: int, columns: int) -> Description:
    return describe(
        tensor((rows, columns)), tensor((count,), "labels", "int64", classes=rows), tensor((count, columns))
    )


register(
    OperatorSpec(
        name="index_put_accumulate",
        call=lambda paddle, t, a: paddle.index_put(t[0], (t[1],), t[2], accumulate=True),
        oracle=_accumulated,
        gradient=lambda x, out, d, a: [d[0], None, d[0][value_of(x[1])]],
        kernels=lambda a, dtype: [kernel("index_put", dtype)],
        grad_kernels=lambda a, dtype: [kernel("index_put_grad", dtype)],
        kind=Kind.REDUCTION,
        examples=lambda dtype: st.builds(_put_case, st.integers(1, 8), st.integers(1, 9), st.integers(1, 6)),
        corners=lambda dtype: [_put_case(5, 3, 4), _put_case(2, 9, 1), _put_case(64, 40, 17)],
        dtypes=("float32", "int64"),
        aliases=("paddle.index_put",),
    )
)
