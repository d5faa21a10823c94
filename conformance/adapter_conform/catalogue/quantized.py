"""Quantization: weights stored as small integers and the layers that multiply with them, integers of activations.

How a device lays out a quantized weight is its own business, so the entries never look at one: a weight is quantized
and dequantized, or quantized and multiplied with. Weights of the regime "grid" quantize without error, so that the
layers are held to the error of their arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor
from adapter_conform.releases import weight_dequantize

__all__: list[str] = []

ARCH = 80
"""The model of an NVIDIA card that the weights are for. Paddle wants one of its own list on every device."""
LARGEST = {"weight_only_int8": 127, "weight_only_int4": 7, "llm.int8": 127}
HALVES = ("float16", "bfloat16")


LEFT_OUT = {"special": "a range that holds NaN or infinity gives no scale: what becomes of the rest is nowhere said"}


def _named(*names: str) -> Any:
    return lambda a, dtype: [Kernel((name,), dtype) for name in names]


def _peaks(w: Array, group: int) -> Array:
    """The largest magnitude of each group of rows, [groups, n]."""
    length = max(len(w), 1) if group == -1 else group
    return np.stack([np.abs(w[p : p + length]).max(axis=0) for p in range(0, len(w), length)])


def _round_trip(x: list[Operand], a: Attributes) -> list[Operand]:
    """The weight comes back to within half a step, a rounding of the scale before it is used and one of the result."""
    w, group = x[0], a["group_size"]
    peaks = _peaks(w.value, group)
    steps = peaks / LARGEST[a["algo"]]
    scales = Tracked(steps, w.arithmetic, steps * w.arithmetic.u * 4)
    each = len(w.value) if group == -1 else group
    step, peak = (np.repeat(item, each, axis=0)[: len(w.value)] for item in (steps, peaks))
    error = step * 0.5 * (1 + 2.0**-16) + 2 * w.arithmetic.u_out * peak
    return [Tracked(w.value, w.arithmetic, error), b.move(lambda v: v[0] if group == -1 else v, scales)]


def _round_trip_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    quant = paddle.nn.quant
    numbers, scale = quant.weight_quantize(t[0], a["algo"], ARCH, a["group_size"])
    return [weight_dequantize(paddle, numbers, scale, a["algo"], a["group_size"]), scale]


ROUND_TRIPS: tuple[tuple[tuple[int, int], str, int], ...] = (
    ((64, 32), "weight_only_int8", -1),
    ((128, 48), "weight_only_int4", -1),
    ((192, 16), "weight_only_int8", 64),
    ((256, 64), "weight_only_int4", 128),
    ((512, 128), "weight_only_int8", 128),
    ((320, 32), "weight_only_int4", 64),
)

register(
    OperatorSpec(
        name="weight_quantize",
        call=_round_trip_call,
        oracle=_round_trip,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda k, n, algo, group, regime: describe(tensor([k * 64, n * 16], regime), algo=algo, group_size=group),
            st.integers(1, 4),
            st.integers(1, 4),
            st.sampled_from(["weight_only_int8", "weight_only_int4"]),
            st.sampled_from([-1, 64, 128]),
            st.sampled_from(["normal", "unit", "positive"]),
        ),
        corners=lambda dtype: [
            describe(tensor(shape), algo=algo, group_size=group) for shape, algo, group in ROUND_TRIPS
        ],
        dtypes=(),
        offered=HALVES,
        kernels=_named("weight_quantize", "weight_dequantize"),
        aliases=("paddle.nn.quant.weight_quantize", "paddle.nn.quant.weight_dequantize"),
    )
)


def _grid(k: int, n: int, algo: str, group: int) -> dict[str, Any]:
    return tensor([k, n], "grid", largest=LARGEST[algo], group=group)


def _rounded_weight(w: Tracked) -> Tracked:
    """Kernels may round the dequantized weight to storage, as those for GPUs do."""
    return Tracked(w.value, w.arithmetic, w.arithmetic.u_out * np.abs(w.value))


def _linear(x: list[Operand], a: Attributes) -> list[Operand]:
    product = b.dot(x[0], _rounded_weight(x[1]))
    return [product + x[2] if len(x) > 2 else product]


def _linear_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    turned = b.move(lambda v: np.swapaxes(v, -1, -2), _rounded_weight(x[1]))
    return [b.dot(d[0], turned), *[None] * (len(x) - 1)]


def _linear_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    quant = paddle.nn.quant
    numbers, scale = quant.weight_quantize(t[1], a["algo"], ARCH, a["group_size"])
    bias = t[2] if len(t) > 2 else None
    return quant.weight_only_linear(t[0], numbers, bias, scale, a["algo"][-4:], ARCH, a["group_size"])


def _layer(lead: Sequence[int], k: int, n: int, algo: str, group: int, bias: bool, probe: bool = False) -> Description:
    inputs = [tensor([*lead, k], "integers" if probe else "normal"), _grid(k, n, algo, group)]
    if bias:
        inputs.append(tensor([n]))
    return describe(*inputs, algo=algo, group_size=group)


def _layers(groups: Sequence[int], algos: Sequence[str]) -> Any:
    return lambda dtype: st.builds(
        _layer,
        st.lists(st.integers(1, 5), min_size=1, max_size=2),
        st.integers(1, 4).map(lambda i: 64 * i),
        st.integers(1, 5).map(lambda i: 32 * i),  # Paddle wants 16 rows of int4 pairs
        st.sampled_from(list(algos)),
        st.sampled_from(list(groups)),
        st.booleans(),
    )


WEIGHT_ONLY = ("weight_only_int8", "weight_only_int4")


def _weight_only(name: str, groups: Sequence[int], corners: Sequence[Description], **more: Any) -> None:
    register(
        OperatorSpec(
            name=name,
            call=_linear_call,
            oracle=_linear,
            kind=Kind.QUANTIZED,
            left_out=LEFT_OUT,
            examples=_layers(groups, WEIGHT_ONLY),
            corners=lambda dtype: list(corners),
            dtypes=(),
            offered=HALVES,
            kernels=_named("weight_quantize", "weight_only_linear"),
            aliases=("paddle.nn.quant.weight_only_linear",),
            **more,
        )
    )


_weight_only(
    "weight_only_linear",
    (-1,),
    [
        _layer((3,), 64, 32, "weight_only_int8", -1, True),
        _layer((2, 5), 128, 64, "weight_only_int4", -1, False),
        _layer((1,), 512, 256, "weight_only_int8", -1, True),
        _layer((2, 16), 1024, 352, "weight_only_int4", -1, True),
    ],
    gradient=_linear_gradient,
)
_weight_only(
    "weight_only_linear_grouped",  # Paddle has no gradient of it
    (64, 128),
    [
        _layer((3,), 128, 32, "weight_only_int8", 64, True),
        _layer((2, 5), 256, 64, "weight_only_int4", 128, False),
        _layer((1,), 512, 256, "weight_only_int4", 64, True),
        _layer((2, 16), 1024, 352, "weight_only_int8", 128, True),
    ],
)


def _llm_int8(x: list[Operand], a: Attributes) -> list[Operand]:
    """Beside its arithmetic, the layer rounds elements within the threshold to steps of 1/127 of their row's range."""
    rows = x[0]
    size = np.abs(rows.value)
    limit = a["threshold"] * (1 + rows.arithmetic.u_out)
    kept = (size > limit).any(axis=tuple(range(size.ndim - 1)))
    ranges = np.where(size > limit, 0.0, size).max(axis=-1, keepdims=True)
    step = np.where(kept, 0.0, ranges / 127 * (0.5 + 2.0**-12))
    return _linear([Tracked(rows.value, rows.arithmetic, step), *x[1:]], a)


def _llm_int8_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    numbers, scale = paddle.nn.quant.weight_quantize(t[1], "llm.int8", ARCH, -1)
    bias = t[2] if len(t) > 2 else None
    return paddle.nn.quant.llm_int8_linear(t[0], numbers, bias, scale, a["threshold"])


def _llm_layer(lead: Sequence[int], k: int, n: int, bias: bool, threshold: float) -> Description:
    made = _layer(lead, k, n, "llm.int8", -1, bias)
    return {**made, "attributes": {"threshold": threshold}}


register(
    OperatorSpec(
        name="llm_int8_linear",
        call=_llm_int8_call,
        oracle=_llm_int8,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            _llm_layer,
            st.lists(st.integers(1, 5), min_size=1, max_size=2),
            st.integers(1, 4).map(lambda i: 64 * i),
            st.integers(1, 5).map(lambda i: 16 * i),
            st.booleans(),
            st.sampled_from([3.0, 6.0, 20.0]),
        ),
        corners=lambda dtype: [
            _llm_layer((3,), 64, 32, True, 6.0),
            _llm_layer((2, 16), 512, 128, False, 6.0),
            _llm_layer((4,), 128, 64, True, 1000.0),
            _llm_layer((1,), 64, 16, False, 0.0),
        ],
        dtypes=(),
        offered=HALVES,
        kernels=_named("weight_quantize", "llm_int8_linear"),
        aliases=("paddle.nn.quant.llm_int8_linear",),
    )
)


def _int8_product(x: list[Operand], a: Attributes) -> list[Operand]:
    left, right = (np.asarray(value_of(item), dtype=np.int32) for item in x)
    left = np.swapaxes(left, -1, -2) if a["transpose_x"] else left
    right = np.swapaxes(right, -1, -2) if a["transpose_y"] else right
    return [np.matmul(left, right).astype(np.int32)]


def _int8_operands(batch: Sequence[int], m: int, k: int, n: int, tx: bool, ty: bool) -> Description:
    left, right = [*batch, *((k, m) if tx else (m, k))], (n, k) if ty else (k, n)
    extremes: dict[str, Any] = {"low": -128, "high": 128}
    return describe(
        tensor(left, "integers", **extremes), tensor(right, "integers", **extremes), transpose_x=tx, transpose_y=ty
    )


register(
    OperatorSpec(
        name="matmul_int8",
        call=lambda paddle, t, a: paddle.matmul(t[0], t[1], a["transpose_x"], a["transpose_y"]),
        oracle=_int8_product,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            _int8_operands,
            st.lists(st.integers(1, 3), max_size=2),
            st.integers(1, 33),
            st.integers(1, 65),
            st.integers(1, 33),
            st.booleans(),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _int8_operands((), 16, 32, 8, False, False),
            _int8_operands((2,), 7, 300, 5, False, True),
            _int8_operands((), 64, 1024, 128, True, False),
        ],
        dtypes=(),
        offered=("int8",),
        kernels=_named("matmul"),
        aliases=("paddle.matmul",),
    )
)


def _grads(name: str) -> Any:
    return lambda a, dtype: [Kernel((f"{name}_grad",), dtype)]


def _passed(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    """The gradient of the identity."""
    return [d[0], *[None] * (len(x) - 1)]


def _abs_max(x: list[Operand], a: Attributes) -> list[Operand]:
    """x on the nearest of 255 numbers between -scale and scale, the largest magnitude (of its channel)."""
    size, axis = np.abs(x[0].value), a["axis"]
    others = tuple(i for i in range(size.ndim) if i != axis)
    scale = size.max(axis=others if axis >= 0 else None, keepdims=True)
    return [Tracked(x[0].value, x[0].arithmetic, scale / 127 * (0.5 + 2.0**-14) + 2 * x[0].arithmetic.u_out * size)]


def _fake(shape: Sequence[int], axis: int, round_type: int, regime: str = "normal") -> Description:
    return describe(tensor(shape, regime), axis=axis, round_type=round_type)


def _fake_examples(axes: Sequence[int]) -> Any:
    return lambda dtype: st.builds(
        _fake,
        st.lists(st.integers(1, 17), min_size=2, max_size=3),
        st.sampled_from(list(axes)),
        st.integers(0, 1),
        st.sampled_from(["normal", "unit", "positive"]),
    )


register(
    OperatorSpec(
        name="fake_quantize_dequantize_abs_max",
        call=lambda paddle, t, a: paddle._C_ops.fake_quantize_dequantize_abs_max(t[0], 8, a["round_type"])[0],
        oracle=_abs_max,
        gradient=_passed,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=_fake_examples([-1]),
        corners=lambda dtype: [_fake((3, 5), -1, 0), _fake((64, 128), -1, 1), _fake((1031,), -1, 1)],
        offered=HALVES,
        aliases=("paddle.nn.quant.quant_layers.FakeQuantAbsMax",),
    )
)

register(
    OperatorSpec(
        name="fake_channel_wise_quantize_dequantize_abs_max",
        call=lambda paddle, t, a: paddle._C_ops.fake_channel_wise_quantize_dequantize_abs_max(
            t[0], 8, a["round_type"], a["axis"]
        )[0],
        oracle=_abs_max,
        gradient=_passed,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=_fake_examples([0, 1]),
        corners=lambda dtype: [_fake((3, 5), 0, 0), _fake((64, 128), 1, 1), _fake((7, 13, 2), 0, 1)],
        offered=HALVES,
        aliases=("paddle.nn.quant.quant_layers.FakeQuantChannelWiseAbsMax",),
    )
)

STEPS = (5, 7, 9, 11, 13)
"""Odd steps of a grid: a whole number is never half-way between two multiples."""


def _channel_scales(shape: Sequence[int], axis: int) -> list[float]:
    return [127.0 * STEPS[i % len(STEPS)] for i in range(1 if axis < 0 else shape[axis])]


def _linear_quanter(layer: str) -> Any:
    def call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
        made = getattr(paddle.nn.quant.format, layer)
        return made(t[1], zero_point=paddle.zeros_like(t[1]), quant_axis=a["axis"], bit_length=8)(t[0])

    return call


def _spread_scales(x: list[Operand], a: Attributes) -> Array:
    scales = value_of(x[1])
    return scales if a["axis"] < 0 else scales.reshape([-1 if i == a["axis"] else 1 for i in range(x[0].ndim)])


def _integers_of(x: list[Operand], a: Attributes) -> list[Operand]:
    return [b.move(lambda v: np.clip(np.rint(v * 127 / _spread_scales(x, a)), -128, 127), x[0])]


def _quanted(shape: Sequence[int], axis: int, reach: int = 2000) -> Description:
    scales = _channel_scales(shape, axis)
    return describe(
        tensor(shape, "integers", low=-reach, high=reach), tensor([len(scales)], "listed", values=scales), axis=axis
    )


def _quanted_examples(reach: int) -> Any:
    return lambda dtype: st.builds(
        lambda shape, axis: _quanted(shape, axis, reach),
        st.lists(st.integers(1, 9), min_size=2, max_size=3),
        st.integers(-1, 1),
    )


register(
    OperatorSpec(
        name="quantize_linear",
        call=_linear_quanter("LinearQuanter"),
        oracle=_integers_of,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=_quanted_examples(2000),
        corners=lambda dtype: [_quanted((7, 13), -1), _quanted((5, 9), 0), _quanted((2, 5, 6), 1)],
        offered=(),
        kernels=_named("quantize_linear_deprecated_infer"),
        legacy=True,
        static=False,  # the layer owns parameters, which a traced function may not make
        aliases=("paddle.nn.quant.format.LinearQuanter",),
    )
)

register(
    OperatorSpec(
        name="dequantize_linear",
        call=_linear_quanter("LinearDequanter"),
        oracle=lambda x, a: [x[0] * b.move(lambda v: _spread_scales([x[0], v], a), x[1]) / 127.0],
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=_quanted_examples(128),
        corners=lambda dtype: [
            _quanted(shape, axis, 128) for shape, axis in (((7, 13), -1), ((5, 9), 0), ((2, 5, 6), 1))
        ],
        offered=(),
        kernels=_named("dequantize_linear_deprecated"),
        legacy=True,
        static=False,
        aliases=("paddle.nn.quant.format.LinearDequanter",),
    )
)


def _grid_integers(x: list[Operand], a: Attributes) -> list[Operand]:
    """round(x / scale * 127), and the scale: within half a step and what rounding x / scale may move it.

    A channel of zeros stays zero: Paddle divides by scale + 1e-6 where scale is 1e-30 or less.
    """
    size, axis = np.abs(x[0].value), a["axis"]
    others = tuple(i for i in range(size.ndim) if i != axis)
    scale = size.max(axis=others if axis >= 0 else None, keepdims=True)
    exact = x[0].value / np.where(scale == 0, 1, scale) * 127
    half = 0.5 + 4 * x[0].arithmetic.u * np.abs(exact) + x[0].arithmetic.u_out * np.abs(exact)
    return [Tracked(exact, x[0].arithmetic, half), Tracked(scale.reshape(-1), x[0].arithmetic)]


def _to_integers(name: str, axes: Sequence[int]) -> None:
    def call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
        attributes = [8, a["round_type"], *([a["axis"], False] if axes[0] >= 0 else [])]
        numbers, scale = getattr(paddle._C_ops, name)(t[0], *attributes)
        return [numbers, scale.reshape([-1])]

    register(
        OperatorSpec(
            name=name,
            call=call,
            oracle=_grid_integers,
            kind=Kind.QUANTIZED,
            left_out=LEFT_OUT,
            examples=_fake_examples(list(axes)),
            corners=lambda dtype: [
                _fake((3, 5), axes[0], 0),
                _fake((64, 128), axes[-1], 1),
                _fake((31, 7), axes[0], 1),
            ],
            dtypes=(),
            offered=("float32", *HALVES),
            static=False,
        )
    )


_to_integers("fake_quantize_abs_max", (-1,))
_to_integers("fake_channel_wise_quantize_abs_max", (0, 1))


def _averaged(x: list[Operand], a: Attributes) -> tuple[Tracked, Tracked, Tracked]:
    """Scale, state and accumulator after a moving average took in the largest magnitude."""
    rate = x[0].lift(float(a["rate"]))
    state = x[2] * rate + 1.0
    accumulator = x[1] * rate + np.abs(x[0].value).max()
    return (accumulator / state).stored(), state, accumulator


def _average_call(name: str) -> Any:
    def call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
        made = getattr(paddle._C_ops, name)
        return list(made(t[0], paddle.ones_like(t[1]), t[1], t[2], a["rate"], 8, False, a["round_type"]))

    return call


def _average(name: str, integers: bool, gradient: Any = None) -> None:
    def oracle(x: list[Operand], a: Attributes) -> list[Operand]:
        scale, state, accumulator = _averaged(x, a)
        size = scale.value.reshape(())
        error = 0.0 if scale.error is None else scale.error.reshape(()) / size
        inside = np.clip(x[0].value, -size, size)
        slack = np.abs(inside) * (error + 4 * x[0].arithmetic.u + 2 * x[0].arithmetic.u_out)
        if not integers:
            limit = size / 127 * (0.5 + 2.0**-14) + slack + size * error
            return [Tracked(inside, x[0].arithmetic, limit + size / 127 * a["spill"]), scale, state, accumulator]
        numbers = inside / size * 127
        return [Tracked(numbers, x[0].arithmetic, 0.5 + slack / size * 127 + a["spill"]), scale, state, accumulator]

    def described(shape: Sequence[int], round_type: int) -> Description:
        """A scale of 0.6 of the largest magnitude. Rounding to even lets -128 through: one step more below."""
        return describe(
            tensor(shape),
            tensor([1], "listed", values=[0.5]),
            tensor([1], "listed", values=[1.5]),
            rate=0.875,
            round_type=round_type,
            spill=1.0 if round_type == 0 else 0.0,
        )

    register(
        OperatorSpec(
            name=name,
            call=_average_call(name),
            oracle=oracle,
            gradient=gradient,
            kind=Kind.QUANTIZED,
            left_out=LEFT_OUT,
            examples=lambda dtype: st.builds(
                described, st.lists(st.integers(1, 17), min_size=2, max_size=3), st.integers(0, 1)
            ),
            corners=lambda dtype: [described((3, 5), 0), described((64, 65), 1), described((7, 13), 1)],
            dtypes=(),
            offered=("float32", *HALVES),
            layouts=("plain", "fenced"),
            static=False,
        )
    )


_average("fake_quantize_moving_average_abs_max", True)
_average("fake_quantize_dequantize_moving_average_abs_max", False, _passed)


def _observer_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    layer = paddle.nn.quant.quant_layers.MovingAverageAbsMaxScale(moving_rate=0.875, dtype=a["dtype"])
    layer.train()
    layer(t[0])
    return [layer(t[1]), layer._scale]


def _observed(x: list[Operand], a: Attributes) -> list[Operand]:
    """The second input; and the largest magnitudes of both, averaged: (0.875 first + second) / (0.875 + 1)."""
    first, second = (Tracked(np.abs(item.value).max().reshape(1), item.arithmetic) for item in x)
    return [x[1], (first * 0.875 + second) / 1.875]


register(
    OperatorSpec(
        name="moving_average_abs_max_scale",
        call=_observer_call,
        oracle=_observed,
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda shape: describe(tensor(shape), tensor(shape), dtype=dtype),
            st.lists(st.integers(1, 17), min_size=2, max_size=3),
        ),
        corners=lambda dtype: [
            describe(tensor(shape), tensor(shape), dtype=dtype) for shape in ((3, 5), (64, 65), (7, 13))
        ],
        dtypes=(),
        offered=("float32",),
        legacy=True,
        static=False,  # the layer owns parameters, which a traced function may not make
        aliases=("paddle.nn.quant.quant_layers.MovingAverageAbsMaxScale",),
    )
)


register(
    OperatorSpec(
        name="fake_dequantize_max_abs",
        call=lambda paddle, t, a: paddle._C_ops.fake_dequantize_max_abs(t[0], t[1], a["range"]),
        oracle=lambda x, a: [x[0] * x[1].value.item() / float(a["range"])],
        kind=Kind.QUANTIZED,
        left_out=LEFT_OUT,
        examples=lambda dtype: st.builds(
            lambda shape: describe(
                tensor(shape, "integers", low=-127, high=128), tensor([1], "listed", values=[1.5]), range=127.0
            ),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
        ),
        corners=lambda dtype: [
            describe(tensor(shape, "integers", low=-127, high=128), tensor([1], "listed", values=[2.5]), range=127.0)
            for shape in ((3, 5), (64, 65), (1,))
        ],
        dtypes=(),
        offered=("float32", "float64", *HALVES),
        static=False,
    )
)

register(
    OperatorSpec(
        name="apply_per_channel_scale",
        call=lambda paddle, t, a: paddle.nn.quant.apply_per_channel_scale(t[0], t[1]),
        oracle=lambda x, a: [x[0] * x[1]],
        kind=Kind.QUANTIZED,
        examples=lambda dtype: st.builds(
            lambda rows, columns: describe(tensor([rows, columns]), tensor([columns])),
            st.integers(1, 9),
            st.integers(1, 33),
        ),
        corners=lambda dtype: [describe(tensor(shape), tensor([shape[-1]])) for shape in ((4, 6), (1, 1), (64, 65))],
        dtypes=(),
        offered=("float32", *HALVES),
        aliases=("paddle.nn.quant.apply_per_channel_scale",),
    )
)
