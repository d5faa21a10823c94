"""Random numbers: distributions, seeds, dropout.

A distribution is judged by fractions of ``COUNT`` numbers: how many lie below each of some levels, and in how many
neighbouring pairs both lie below the middle. Each fraction is a mean of independent trials, so by W. Hoeffding,
"Probability inequalities for sums of bounded random variables", JASA 58 (1963), it misses its expectation by more than
``sqrt(log(2 / delta) / (2 trials))`` with a probability of at most delta. The deltas of a case add up to
``FALSE_ALARM``. COUNT is a power of two, so that the means themselves are exact in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked
from adapter_conform.catalogue.draw import SHAPES, shapes
from adapter_conform.catalogue.precision import Arithmetic, numpy_dtype
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__ = ["COUNT", "FALSE_ALARM", "hoeffding"]

FALSE_ALARM = 1e-9
COUNT = 1 << 16
LEVELS = 31


def hoeffding(trials: int, fractions: int) -> float:
    """The error limit of each of ``fractions`` fractions of ``trials``, together wrong half of FALSE_ALARM's time."""
    return math.sqrt(math.log(4 * fractions / FALSE_ALARM) / (2 * trials))


def _fractions(paddle: Any, numbers: Any, levels: Any, middle: Any) -> list[Any]:
    """The fraction of numbers below each level, and of pairs of neighbours that both lie below the middle."""
    below = paddle.cast(numbers.reshape([-1, 1]) < levels.reshape([1, -1]), "float32")
    low = paddle.cast(numbers.reshape([-1, 2]) < middle, "float32")
    return [below.mean(axis=0), (low[:, 0] * low[:, 1]).mean()]


def _distributed(below: Callable[[Array, Attributes], Array]) -> Callable[[list[Operand], Attributes], list[Operand]]:
    """The oracle of :func:`_fractions`, given the probabilities of a number to lie below the levels."""

    def oracle(x: list[Operand], a: Attributes) -> list[Operand]:
        model = Arithmetic.of("float32")
        levels, middle = (below(b.value_of(item).astype(np.float64), a) for item in x)
        return [
            Tracked(levels, model, np.full(levels.shape, hoeffding(COUNT, levels.size))),
            Tracked(middle**2, model, np.full(middle.shape, hoeffding(COUNT // 2, 1))),
        ]

    return oracle


def _levels(values: Iterable[float], dtype: str, **attributes: Any) -> Description:
    ordered = sorted({float(np.asarray(value, numpy_dtype(dtype))) for value in values})
    listed = [int(value) if dtype.startswith("int") else value for value in ordered]
    middle = listed[len(listed) // 2]
    return describe(
        tensor([len(listed)], "listed", values=listed), tensor([], "listed", values=[middle]), dtype=dtype, **attributes
    )


def _sampled(
    name: str,
    sample: Callable[[Any, list[int], Attributes], Any],
    below: Callable[[Array, Attributes], Array],
    corners: Callable[[str], list[Description]],
    aliases: tuple[str, ...],
    dtypes: tuple[str, ...] = ("float32",),
    offered: tuple[str, ...] = ("float64",),
) -> None:
    """Registers an operator by what it draws: its distribution, its seed, the shapes that it can draw."""
    made: dict[str, Any] = {
        "kernels": lambda a, dtype: [Kernel((name,), dtype)],
        "kind": Kind.RANDOM,
        "dtypes": dtypes,
        "offered": offered,
        "aliases": aliases,
    }
    register(
        OperatorSpec(
            name=name,
            call=lambda paddle, t, a: _fractions(paddle, sample(paddle, [COUNT], a), t[0], t[1]),
            oracle=_distributed(below),
            result_dtypes=lambda a, dtype: ["float32", "float32"],
            examples=lambda dtype: st.sampled_from(corners(dtype)),
            corners=corners,
            **made,
        )
    )
    register(
        OperatorSpec(
            name=f"{name}_seed",
            call=lambda paddle, t, a: _seeded(paddle, lambda: sample(paddle, [a["count"]], a), a["paddle_seed"]),
            oracle=lambda x, a: [np.asarray(True)] * 4,
            static=False,  # a seed set while a graph is traced does not belong to the graph
            examples=lambda dtype: st.builds(
                _seed_case(corners(dtype)[0]), st.integers(64, 999), st.integers(0, 2**31)
            ),
            corners=lambda dtype: [_seed_case(corners(dtype)[0])(count, 7) for count in (64, 1031)],
            **made,
        )
    )
    register(
        OperatorSpec(
            name=f"{name}_shape",
            call=lambda paddle, t, a: paddle.zeros_like(sample(paddle, a["shape"], a)),
            oracle=lambda x, a: [np.zeros(a["shape"], numpy_dtype(a["dtype"]))],
            examples=lambda dtype: st.builds(lambda shape: _shape_case(corners(dtype)[0], shape), shapes()),
            corners=lambda dtype: [_shape_case(corners(dtype)[0], shape) for shape in SHAPES],
            **made,
        )
    )


def _seed_case(like: Description) -> Callable[[int, int], Description]:
    return lambda count, seed: describe(**{**like["attributes"], "count": count, "paddle_seed": seed})


def _shape_case(like: Description, shape: Sequence[int]) -> Description:
    return describe(**{**like["attributes"], "shape": list(shape)})


def _seeded(paddle: Any, sample: Callable[[], Any], seed: int) -> list[Any]:
    """The same seed repeats two draws; the second draw differs from the first, another seed from this one."""
    paddle.seed(seed)
    first, second = sample(), sample()
    paddle.seed(seed)
    again, twice = sample(), sample()
    paddle.seed(seed + 1)
    other = sample()
    return [(first == again).all(), (second == twice).all(), (first != second).any(), (first != other).any()]


def _uniform_corners(dtype: str) -> list[Description]:
    ranges = ((0.0, 1.0), (-2.0, 3.0), (1e3, 1e3 + 1))
    return [_levels(np.linspace(low, high, LEVELS), dtype, low=low, high=high) for low, high in ranges]


_sampled(
    "uniform",
    lambda paddle, shape, a: paddle.uniform(shape, a["dtype"], min=a["low"], max=a["high"]),
    lambda v, a: np.clip((v - a["low"]) / (a["high"] - a["low"]), 0.0, 1.0),
    _uniform_corners,
    ("paddle.uniform", "paddle.rand"),
)


def _gaussian_corners(dtype: str) -> list[Description]:
    cases = ((0.0, 1.0), (3.0, 0.5), (-100.0, 20.0))
    return [_levels(m + s * np.linspace(-4, 4, LEVELS), dtype, mean=m, deviation=s) for m, s in cases]


def _normal_below(v: Array, a: Attributes) -> Array:
    scaled = (v - a["mean"]) / (a["deviation"] * math.sqrt(2))
    return 0.5 * np.asarray(np.frompyfunc(math.erfc, 1, 1)(-scaled), dtype=np.float64)


_sampled(
    "gaussian",
    lambda paddle, shape, a: paddle.tensor.random.gaussian(shape, a["mean"], a["deviation"], dtype=a["dtype"]),
    _normal_below,
    _gaussian_corners,
    ("paddle.randn", "paddle.normal", "paddle.standard_normal"),
)


def _randint_corners(dtype: str) -> list[Description]:
    ranges = ((0, 10), (-3, 50), (0, 2**31 - 1), (5, 6))
    return [
        _levels([float(v) for v in np.linspace(low, high, LEVELS).astype(np.int64)], dtype, low=low, high=high)
        for low, high in ranges
    ]


_sampled(
    "randint",
    lambda paddle, shape, a: paddle.randint(a["low"], a["high"], shape, a["dtype"]),
    lambda v, a: np.clip((v - a["low"]) / (a["high"] - a["low"]), 0.0, 1.0),
    _randint_corners,
    ("paddle.randint",),
    dtypes=("int64", "int32"),
    offered=(),
)

MODES = ("upscale_in_train", "downscale_in_infer")


def _dropout_factor(a: Attributes) -> float:
    """What every element is multiplied with where nothing is random: in evaluation, or with p = 1."""
    if a["training"]:
        return 0.0
    return 1.0 - a["p"] if a["mode"] == "downscale_in_infer" else 1.0


def _scaled(x: Tracked, factor: float) -> Tracked:
    return x if factor == 1 else x * factor


def _dropout_corners(dtype: str) -> list[Description]:
    """0-D tensors are left to one mode: Paddle's CPU kernel cannot scale them down."""
    cases = [(p, mode, False) for mode in MODES for p in (0.5, 1.0, 0.125)] + [(1.0, mode, True) for mode in MODES]
    return [
        describe(tensor(shape), p=p, mode=mode, training=training)
        for shape, (p, mode, training) in zip(SHAPES, cases, strict=True)
    ]


register(
    OperatorSpec(
        name="dropout",
        call=lambda paddle, t, a: paddle.nn.functional.dropout(t[0], a["p"], training=a["training"], mode=a["mode"]),
        oracle=lambda x, a: [_scaled(x[0], _dropout_factor(a))],
        gradient=lambda x, out, d, a: [_scaled(d[0], _dropout_factor(a))],
        kind=Kind.RANDOM,
        examples=lambda dtype: st.builds(
            lambda shape, p, mode: describe(tensor(shape), p=p, mode=mode, training=False),
            shapes(min_rank=1),
            st.sampled_from([0.125, 0.25, 0.5]),
            st.sampled_from(MODES),
        ),
        corners=_dropout_corners,
        offered=("float64",),
        aliases=("paddle.nn.functional.dropout", "paddle.nn.Dropout"),
    )
)


def _kept_factor(a: Attributes) -> float:
    return 1.0 / (1.0 - a["p"]) if a["mode"] == "upscale_in_train" else 1.0


def _train(paddle: Any, tensors: Sequence[Any], a: Attributes) -> list[Any]:
    """What dropout did beyond scaling the elements that it kept, and the fraction that it kept.

    The gradient of the first is 0 only if the backward call drops what the forward call dropped.
    """
    result = paddle.nn.functional.dropout(tensors[0], a["p"], mode=a["mode"])
    kept = paddle.cast(result != 0, result.dtype)
    return [result - tensors[0] * kept * _kept_factor(a), paddle.cast(result != 0, "float32").mean()]


def _trained(x: list[Operand], a: Attributes) -> list[Operand]:
    """Zero, to a rounding of each of the two scaled numbers. Every p drawn is a C float, as graphs hold it."""
    limit = _slack(x[0], a)
    fraction = Tracked(1 - a["p"], Arithmetic.of("float32"), np.asarray(hoeffding(COUNT, 1)))
    return [limit, fraction]


def _slack(x: Tracked, a: Attributes) -> Tracked:
    return Tracked(np.zeros(x.shape), x.arithmetic, 4 * x.arithmetic.u * np.abs(x.value) * _kept_factor(a))


def _fused_dropout(paddle: Any, t: Sequence[Any], a: Attributes, evaluation: bool) -> Any:
    """The public function takes its fused way on GPUs alone."""
    return paddle._C_ops.fused_dropout_add(t[0], t[1], None, a["p"], evaluation, a["mode"], 0, False)[0]


def _with_sum(paddle: Any, tensors: Sequence[Any], a: Attributes) -> list[Any]:
    """As :func:`_train`; what is added to the dropped-out tensor is taken off again."""
    result = _fused_dropout(paddle, tensors, a, False) - tensors[1]
    kept = paddle.cast(result != 0, result.dtype)
    return [result - tensors[0] * kept * _kept_factor(a), paddle.cast(result != 0, "float32").mean()]


register(
    OperatorSpec(
        name="fused_dropout_add",
        call=lambda paddle, t, a: _fused_dropout(paddle, t, a, True),
        oracle=lambda x, a: [_scaled(x[0], _dropout_factor({**a, "training": False})) + x[1]],
        gradient=lambda x, out, d, a: [_scaled(d[0], _dropout_factor({**a, "training": False})), d[0]],
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            lambda shape, p, mode: describe(tensor(shape), tensor(shape), p=p, mode=mode),
            shapes(min_rank=1),
            st.sampled_from([0.125, 0.5]),
            st.sampled_from(MODES),
        ),
        corners=lambda dtype: [
            describe(tensor(shape), tensor(shape), p=p, mode=mode)
            for shape, p, mode in (((4, 6), 0.5, MODES[0]), ((7, 13), 0.25, MODES[1]), ((64, 65), 0.125, MODES[0]))
        ],
        dtypes=(),
        offered=("float32", "float64", "float16", "bfloat16"),
        static=False,
        aliases=("paddle.incubate.nn.functional.fused_dropout_add",),
    )
)

register(
    OperatorSpec(
        name="fused_dropout_add_train",
        call=_with_sum,
        oracle=_trained,
        gradient=lambda x, out, d, a: [_slack(d[0], a), b.move(np.zeros_like, d[0])],
        kernels=lambda a, dtype: [Kernel(("fused_dropout_add",), dtype)],
        grad_kernels=lambda a, dtype: [Kernel(("fused_dropout_add_grad",), dtype)],
        result_dtypes=lambda a, dtype: [dtype, "float32"],
        kind=Kind.RANDOM,
        examples=lambda dtype: st.builds(
            lambda p, mode: _dropped_and_added(p, mode), st.sampled_from([0.125, 0.375, 0.75]), st.sampled_from(MODES)
        ),
        corners=lambda dtype: [_dropped_and_added(p, mode) for p in (0.5, 0.875) for mode in MODES],
        dtypes=(),
        offered=("float32", "float64"),
        static=False,
        aliases=("paddle.incubate.nn.functional.fused_dropout_add",),
    )
)


def _dropped_and_added(p: float, mode: str) -> Description:
    return describe(tensor([COUNT], "near_one"), tensor([COUNT], "constant", value=0.0), p=p, mode=mode)


register(
    OperatorSpec(
        name="dropout_train",
        call=_train,
        oracle=_trained,
        gradient=lambda x, out, d, a: [_slack(d[0], a)],
        kernels=lambda a, dtype: [Kernel(("dropout",), dtype)],
        grad_kernels=lambda a, dtype: [Kernel(("dropout_grad",), dtype)],
        result_dtypes=lambda a, dtype: [dtype, "float32"],
        kind=Kind.RANDOM,
        examples=lambda dtype: st.builds(
            lambda p, mode: describe(tensor([256, COUNT // 256], "near_one"), p=p, mode=mode),
            st.sampled_from([0.125, 0.375, 0.75]),
            st.sampled_from(MODES),
        ),
        corners=lambda dtype: [
            describe(tensor([COUNT], "near_one"), p=p, mode=mode) for p in (0.5, 0.25, 0.875) for mode in MODES
        ],
        offered=("float64",),
        aliases=("paddle.nn.functional.dropout", "paddle.nn.Dropout"),
    )
)


TOKENS = 8


def _top_p_rows(paddle: Any, t: Sequence[Any], a: Attributes) -> list[Any]:
    """The fraction of rows in which each token was chosen, and how often a token's probability came with another's."""
    rows = paddle.expand(t[0], [a["rows"], TOKENS])
    values, ids = paddle.tensor.search.top_p_sampling(rows, paddle.expand(t[1], [a["rows"], 1]))
    shares = [paddle.cast(ids == token, "float32").mean() for token in range(TOKENS)]
    own = paddle.take_along_axis(rows, ids, 1)
    return [paddle.stack(shares), paddle.cast(values != own, "float32").sum()]


def _top_p_shares(x: list[Operand], a: Attributes) -> list[Operand]:
    """A uniform number times top_p falls on a token in the descending order of probabilities: each gets the part of its
    probability that lies below top_p, over top_p."""
    model = Arithmetic.of("float32")
    probabilities = x[0].value[0]
    order = np.argsort(-probabilities, kind="stable")
    top = float(x[1].value[0, 0])
    ends = np.minimum(np.cumsum(probabilities[order]), top)
    shares = np.zeros(TOKENS)
    shares[order] = np.diff(ends, prepend=0.0) / top
    limit = hoeffding(a["rows"], TOKENS) + 1e-6  # of sums of probabilities that are rounded to float32
    return [Tracked(shares, model, np.full(TOKENS, limit)), np.asarray(0.0, np.float32)]


def _nucleus(top: float) -> Description:
    eighths = [3 / 16, 1 / 16, 5 / 16, 2 / 16, 1 / 32, 3 / 32, 4 / 32, 2 / 32]
    probabilities = tensor([1, TOKENS], "listed", values=eighths)
    return describe(probabilities, tensor([1, 1], "listed", values=[top]), rows=COUNT // 8)


register(
    OperatorSpec(
        name="top_p_sampling",
        call=_top_p_rows,
        oracle=_top_p_shares,
        result_dtypes=lambda a, dtype: ["float32", "float32"],
        kind=Kind.RANDOM,
        examples=lambda dtype: st.sampled_from([0.25, 0.5, 0.75, 1.0]).map(_nucleus),
        corners=lambda dtype: [_nucleus(top) for top in (0.5, 0.875, 1.0)],
        dtypes=(),
        offered=("float32",),
        static=False,
        aliases=("paddle.tensor.top_p_sampling",),
    )
)


@cache
def _lane(paddle: Any, device: str) -> Any:
    """A second stream of the process: Paddle keeps a pool of memory for each stream that it has ever seen."""
    return paddle.device.Stream(device)


def _independent(paddle: Any, t: Sequence[Any], a: Attributes) -> list[Any]:
    """In how many places two calls in a row, and two devices' streams, both lie below the middle."""
    first, second = (paddle.uniform([COUNT], "float32", min=0.0, max=1.0) < 0.5 for _ in range(2))
    with paddle.device.stream_guard(_lane(paddle, str(t[0].place)[6:-1])):
        third = paddle.uniform([COUNT], "float32", min=0.0, max=1.0) < 0.5
    paddle.device.synchronize()
    both = [paddle.logical_and(left, right) for left, right in ((first, second), (first, third))]
    return [paddle.cast(item, "float32").mean() for item in both]


def _quarters(x: list[Operand], a: Attributes) -> list[Operand]:
    return [Tracked(0.25, Arithmetic.of("float32"), np.asarray(hoeffding(COUNT, 2)))] * 2


register(
    OperatorSpec(
        name="uniform_calls",
        call=_independent,
        oracle=_quarters,
        kernels=lambda a, dtype: [Kernel(("uniform",), dtype)],
        kind=Kind.RANDOM,
        examples=lambda dtype: st.integers(0, 999).map(lambda n: describe(tensor([1]), number=n)),
        corners=lambda dtype: [describe(tensor([1]), number=n) for n in range(3)],
        offered=(),
        static=False,
        layouts=("plain",),
        aliases=("paddle.uniform",),
    )
)
