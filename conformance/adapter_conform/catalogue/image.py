"""Operators of image models: convolution, group normalisation, padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked
from adapter_conform.catalogue.movement import movement
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec, kernel
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _first(x: Operand, a: Attributes) -> Operand:
    """Channels moved from the last axis to the second, where they come last."""
    return b.move(lambda v: np.moveaxis(v, -1, 1), x) if a["layout"] == "NHWC" else x


def _last(x: Operand, a: Attributes) -> Operand:
    return b.move(lambda v: np.moveaxis(v, 1, -1), x) if a["layout"] == "NHWC" else x


def _pads(a: Attributes, sides: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and behind, of height and width."""
    padding = a["padding"]
    if padding == "SAME":
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sides, window, a["stride"], strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    top, bottom, left, right = [0] * 4 if padding == "VALID" else padding
    return [(top, bottom), (left, right)]


def _sources(shape: Sequence[int], window: Sequence[int], a: Attributes) -> Array:
    """``[batch, groups, taps, height, width]``: the flat place that each tap of the window reads; -1 is padding."""
    batch, _, *sides = shape
    pads = [(0, 0), (0, 0), *_pads(a, sides, window)]
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    padded = np.pad(numbers, pads, constant_values=-1)
    dilations = [1, 1] if a["padding"] == "SAME" else a["dilation"]  # Paddle drops the dilation there
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, window, strict=True)]
    windows: Array = np.lib.stride_tricks.sliding_window_view(padded, tuple(spans), axis=(2, 3))  # type: ignore[call-overload]
    places = windows[:, :, :: a["stride"][0], :: a["stride"][1], :: dilations[0], :: dilations[1]]
    taps = np.moveaxis(places, (4, 5), (2, 3))  # batch, channels, window, window, height, width
    return np.ascontiguousarray(taps).reshape(batch, a["groups"], -1, *taps.shape[4:])


def _patches(x: Tracked, sources: Array) -> Operand:
    """``[batch, groups, taps, places]``"""
    flat = sources.reshape(*sources.shape[:3], -1)
    return b.move(lambda v: np.where(flat >= 0, v.reshape(-1)[np.maximum(flat, 0)], 0.0), x)


def _matrix(filters: Operand, a: Attributes) -> Operand:
    """``[groups, filters / groups, taps]``"""
    return b.move(lambda v: v.reshape(a["groups"], v.shape[0] // a["groups"], -1), filters)


def _conv(x: list[Operand], a: Attributes) -> list[Operand]:
    image = _first(x[0], a)
    sources = _sources(image.shape, x[1].shape[2:], a)
    result = b.dot(_matrix(x[1], a), _patches(image, sources))
    return [_last(result.reshape(image.shape[0], x[1].shape[0], *sources.shape[3:]), a)]


def _conv_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    image, flow = _first(x[0], a), _first(d[0], a)
    sources = _sources(image.shape, x[1].shape[2:], a)
    matrix = _matrix(x[1], a)
    grouped = b.move(lambda v: v.reshape(v.shape[0], *matrix.shape[:2], -1), flow)
    spread = b.dot(b.move(lambda v: np.swapaxes(v, 1, 2), matrix), grouped)
    summed = b.scatter_sum(image.size, sources.reshape(spread.shape), spread).reshape(image.shape)
    # all images side by side make one inner product
    joined = b.move(lambda v: np.moveaxis(v, 0, 2).reshape(*v.shape[1:3], -1), grouped)
    patches = b.move(lambda v: np.moveaxis(v, 0, 2).reshape(*v.shape[1:3], -1), _patches(image, sources))
    filters = b.dot(joined, b.move(lambda v: np.swapaxes(v, 1, 2), patches)).reshape(x[1].shape)
    return [_last(summed, a), filters]


def _conv_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    return paddle.nn.functional.conv2d(
        tensors[0],
        tensors[1],
        stride=a["stride"],
        padding=a["padding"],
        dilation=a["dilation"],
        groups=a["groups"],
        data_format=a["layout"],
    )


def _case(
    image: Sequence[int],
    filters: int,
    window: Sequence[int],
    *,
    stride: Sequence[int] = (1, 1),
    padding: str | Sequence[int] = (0, 0, 0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    layout: str = "NCHW",
    probe: bool = False,
) -> Description:
    """``image`` is given as batch, channels, height, width whatever the layout."""
    regime = "integers" if probe else "normal"
    shape = [image[0], *image[2:], image[1]] if layout == "NHWC" else image
    return describe(
        tensor(shape, regime),
        tensor([filters, image[1] // groups, *window], regime),
        probe=probe,
        stride=list(stride),
        padding=padding if isinstance(padding, str) else list(padding),
        dilation=list(dilation),
        groups=groups,
        layout=layout,
    )


@st.composite
def _conv_examples(draw: st.DrawFn, depthwise: bool) -> Description:
    groups, share = draw(st.integers(2 if depthwise else 1, 3)), 1 if depthwise else draw(st.integers(2, 3))
    window, dilation, stride = (draw(st.tuples(st.integers(1, n), st.integers(1, n))) for n in (3, 2, 2))
    sides = [dilation[i] * (window[i] - 1) + draw(st.integers(1, 6)) for i in (0, 1)]
    # no window lies in the padding altogether: where the stride lets those alone, the result is zero
    most = [min(2, dilation[i] * (window[i] - 1)) for i in (0, 0, 1, 1)]
    padding = draw(st.one_of(st.sampled_from(["SAME", "VALID"]), st.tuples(*[st.integers(0, n) for n in most])))
    return _case(
        [draw(st.integers(1, 3)), groups * share, *sides],
        groups * draw(st.integers(1, 3)),
        window,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        layout="NCHW" if depthwise else draw(st.sampled_from(["NCHW", "NHWC"])),
    )


for _name, _depthwise, _corners in (
    (
        "conv2d",
        False,
        [
            _case([2, 4, 9, 8], 6, [3, 3], padding=[1, 1, 1, 1], probe=True),
            _case([2, 4, 9, 8], 6, [3, 3], padding=[1, 0, 2, 1], stride=[2, 1], groups=2),
            _case([1, 3, 7, 7], 5, [3, 2], dilation=[2, 2], layout="NHWC"),
            _case([2, 4, 6, 7], 4, [3, 3], padding="SAME", stride=[2, 2], groups=2, layout="NHWC"),
            _case([1, 2, 5, 5], 3, [2, 2], padding="VALID"),
            _case([3, 5, 1, 1], 7, [1, 1]),
            _case([1, 32, 16, 16], 32, [3, 3], padding=[1, 1, 1, 1]),
        ],
    ),
    (
        "depthwise_conv2d",
        True,
        [
            _case([2, 4, 9, 8], 4, [3, 3], padding=[1, 1, 1, 1], groups=4, probe=True),
            _case([2, 3, 7, 6], 6, [3, 2], stride=[2, 1], dilation=[1, 2], groups=3),
            _case([1, 16, 17, 17], 16, [5, 5], padding=[2, 2, 2, 2], groups=16),
        ],
    ),
):
    register(
        OperatorSpec(
            name=_name,
            call=_conv_call,
            oracle=_conv,
            gradient=_conv_gradient,
            # whether a convolution of one channel a group goes to the depthwise kernel is Paddle's choice by device
            kernels=lambda a, dtype, name=_name: [_conv_kernel(name, "", dtype)],  # type: ignore[misc]
            grad_kernels=lambda a, dtype, name=_name: [_conv_kernel(name, "_grad", dtype)],  # type: ignore[misc]
            kind=Kind.GEMM,
            examples=lambda dtype, depthwise=_depthwise: _conv_examples(depthwise),  # type: ignore[misc]
            corners=lambda dtype, corners=_corners: list(corners),  # type: ignore[misc]
            offered=("float64", "float16", "bfloat16"),
            aliases=("paddle.nn.functional.conv2d", "paddle.nn.Conv2D"),
        )
    )


def _conv_kernel(name: str, suffix: str, dtype: str) -> Any:
    return kernel("|".join(f"{one}{suffix}" for one in dict.fromkeys((name, "conv2d"))), dtype)


def _grouped(x: Tracked, a: Attributes) -> tuple[Tracked, Tracked]:
    """(x - mean) / sqrt(variance + epsilon) by groups, channels first, and the factor of each group."""
    image = _first(x, a)
    parts = image.reshape(image.shape[0], a["groups"], -1)
    apart = parts - b.mean(parts, (2,), True)
    spread = b.inverse_root(b.mean(apart * apart, (2,), True) + float(a["epsilon"]))
    return apart * spread, spread


def _per_channel(x: Tracked, rank: int) -> Tracked:
    return x.reshape(-1, *[1] * (rank - 2))


def _group_norm(x: list[Operand], a: Attributes) -> list[Operand]:
    shape = _first(x[0], a).shape
    normal = _grouped(x[0], a)[0].reshape(shape)
    return [_last(normal * _per_channel(x[1], len(shape)) + _per_channel(x[2], len(shape)), a)]


def _group_norm_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    flow = _first(d[0], a)
    normal, spread = _grouped(x[0], a)
    scaled = (flow * _per_channel(x[1], flow.ndim)).reshape(normal.shape)
    inner = scaled - b.mean(scaled, (2,), True) - normal * b.mean(scaled * normal, (2,), True)
    lead = (0, *range(2, flow.ndim))
    own = (spread * inner).reshape(flow.shape)
    return [_last(own, a), b.total(flow * normal.reshape(flow.shape), lead), b.total(flow, lead)]


def _norm_case(batch: int, groups: int, share: int, places: Sequence[int], layout: str = "NCHW") -> Description:
    channels = groups * share
    shape = [batch, *places, channels] if layout == "NHWC" else [batch, channels, *places]
    parameters = [tensor([channels], "near_one")] * 2
    # a float32 number: the kernels of Paddle 3.3.0 and before take a C float
    return describe(tensor(shape), *parameters, groups=groups, epsilon=2.0**-17, layout=layout)


register(
    OperatorSpec(
        name="group_norm",
        call=lambda paddle, t, a: paddle.nn.functional.group_norm(
            t[0], a["groups"], a["epsilon"], t[1], t[2], data_format=a["layout"]
        ),
        oracle=_group_norm,
        gradient=_group_norm_gradient,
        kind=Kind.NORM,
        examples=lambda dtype: st.builds(
            _norm_case,
            st.integers(1, 3),
            st.integers(1, 4),
            st.integers(1, 3),
            st.lists(st.integers(2, 6), min_size=2, max_size=2),
            st.sampled_from(["NCHW", "NHWC"]),
        ),
        corners=lambda dtype: [
            _norm_case(2, 2, 2, [3, 5]),
            _norm_case(2, 3, 1, [4, 4], "NHWC"),
            _norm_case(1, 1, 3, [7, 2]),
            _norm_case(2, 8, 4, [16, 16]),
        ],
        offered=("float64", "float16", "bfloat16"),
        aliases=("paddle.nn.functional.group_norm", "paddle.nn.GroupNorm"),
    )
)

PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Paddle's names and NumPy's."""


def _pad(x: list[Array], a: Attributes) -> list[Array]:
    left, right, top, bottom, front, behind = a["paddings"]
    depth = [(front, behind), (top, bottom), (left, right)]
    widths = [(0, 0), *depth, (0, 0)] if a["layout"] == "NDHWC" else [(0, 0), (0, 0), *depth]
    options = {"constant_values": a["value"] if x[0].dtype.kind == "f" else 0} if a["mode"] == "constant" else {}
    return [np.pad(x[0], widths, PAD_MODES[a["mode"]], **options)]  # type: ignore[call-overload]


def _pad_case(
    image: Sequence[int], paddings: Sequence[int], mode: str, value: float = 0.0, layout: str = "NCDHW"
) -> Description:
    return describe(tensor(image), paddings=list(paddings), mode=mode, value=value, layout=layout)


movement(
    "pad3d",
    lambda paddle, t, a: paddle.nn.functional.pad(
        t[0], a["paddings"], mode=a["mode"], value=a["value"], data_format=a["layout"]
    ),
    _pad,
    dtypes=("float32",),
    offered=("float64", "float16", "bfloat16"),
    examples=lambda dtype: st.builds(
        _pad_case,
        st.lists(st.integers(2, 5), min_size=5, max_size=5),
        st.lists(st.integers(0, 1), min_size=6, max_size=6),
        st.sampled_from(list(PAD_MODES)),
        st.sampled_from([0.0, 1.5]),
        st.sampled_from(["NCDHW", "NDHWC"]),
    ),
    corners=lambda dtype: [
        _pad_case((2, 3, 2, 4, 5), (1, 2, 0, 3, 1, 0), "constant", 1.5),
        _pad_case((2, 3, 2, 4, 5), (1, 2, 0, 3, 1, 1), "reflect"),
        _pad_case((1, 2, 3, 4, 2), (3, 2, 0, 1, 1, 2), "replicate", layout="NDHWC"),
        _pad_case((1, 2, 3, 4, 5), (3, 2, 0, 1, 1, 2), "circular"),
        _pad_case((1, 1, 1, 1, 1), (0, 0, 0, 0, 0, 0), "constant", -2.0),
        _pad_case((1, 16, 1, 16, 16), (0, 1, 0, 1, 0, 0), "constant"),
    ],
    aliases=("paddle.nn.functional.pad",),
)


def _nearest_rows(n_in: int, n_out: int) -> list[int]:
    """floor(i * n_in / n_out), in whole numbers."""
    return [i * n_in // n_out for i in range(n_out)]


def _nearest(x: list[Array], a: Attributes) -> list[Array]:
    tall, wide = (_nearest_rows(n_in, n_out) for n_in, n_out in zip(x[0].shape[2:], a["size"], strict=True))
    return [x[0][:, :, tall][:, :, :, wide]]


def _resized(shape: Sequence[int], size: Sequence[int]) -> Description:
    return describe(tensor(shape), size=list(size))


movement(
    "nearest_interp",
    lambda paddle, t, a: paddle.nn.functional.interpolate(t[0], size=a["size"], mode="nearest"),
    _nearest,
    dtypes=("float32",),
    examples=lambda dtype: st.builds(
        lambda n, c, h, w, up: _resized((n, c, h, w), (h * up, w * up)),
        st.integers(1, 2),
        st.integers(1, 3),
        st.integers(1, 7),
        st.integers(1, 7),
        st.sampled_from([1, 2, 4]),  # powers of two: the ratio has no rounding error
    ),
    corners=lambda dtype: [
        _resized((1, 2, 4, 4), (8, 8)),
        _resized((2, 3, 5, 7), (7, 5)),
        _resized((1, 1, 8, 6), (4, 3)),
        _resized((1, 4, 16, 16), (32, 32)),
    ],
    aliases=("paddle.nn.functional.interpolate", "paddle.nn.Upsample"),
)
