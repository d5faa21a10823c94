"""Equal elements where an order is asked for.

Paddle documents an order of equal elements for a stable sort alone. topk may take them in any order, but the places
that it gives must hold the values that it gives, and be different places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _top_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> list[Any]:
    """The values, what stands in their places, and how many pairs of places in a row are the same."""
    values, places = paddle.topk(tensors[0], a["k"], axis=-1, largest=a["largest"])
    alike = paddle.cast(places.unsqueeze(-1) == places.unsqueeze(-2), "int32")
    return [values, paddle.take_along_axis(tensors[0], places, -1), alike.sum([-2, -1])]


def _top(x: list[Operand], a: Attributes) -> list[Operand]:
    def pick(v: Any) -> Any:
        order = np.sort(v, axis=-1)
        return (order[..., ::-1] if a["largest"] else order)[..., : a["k"]]

    values = b.move(pick, x[0])
    rows = value_of(x[0]).shape[:-1]
    return [values, values, np.full(rows, a["k"], np.int64)]  # each place is equal to itself alone


def _tied(shape: Sequence[int], k: int, largest: bool) -> Description:
    return describe(tensor(shape, "integers"), k=min(k, shape[-1]), largest=largest)


register(
    OperatorSpec(
        name="topk_ties",
        call=_top_call,
        oracle=_top,
        kernels=lambda a, dtype: [Kernel(("topk",), dtype)],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            _tied,
            st.lists(st.integers(2, 20), min_size=1, max_size=3),
            st.integers(2, 9),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _tied((3, 40), 12, True),
            _tied((50,), 50, False),
            _tied((2, 3, 16), 7, True),
            _tied((2, 320), 60, True),
        ],
        dtypes=("float32", "int64"),
        aliases=("paddle.topk",),
    )
)


def _sorted_places(x: list[Operand], a: Attributes) -> list[Operand]:
    values = value_of(x[0])
    # ranks, not the values, are turned about: unsigned numbers have no negative
    ranks = np.unique(values, return_inverse=True)[1].reshape(values.shape)
    return [np.argsort(-ranks if a["descending"] else ranks, axis=-1, kind="stable").astype(np.int64)]


register(
    OperatorSpec(
        name="argsort_stable",
        call=lambda paddle, t, a: paddle.argsort(t[0], axis=-1, descending=a["descending"], stable=True),
        oracle=_sorted_places,
        kernels=lambda a, dtype: [Kernel(("argsort",), dtype)],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            lambda shape, descending: describe(tensor(shape, "integers"), descending=descending),
            st.lists(st.integers(2, 20), min_size=1, max_size=3),
            st.booleans(),
        ),
        corners=lambda dtype: [
            describe(tensor((3, 40), "integers"), descending=False),
            describe(tensor((50,), "integers"), descending=True),
            describe(tensor((2, 1031), "integers"), descending=False),
        ],
        dtypes=("float32", "int64"),
        aliases=("paddle.argsort",),
    )
)
