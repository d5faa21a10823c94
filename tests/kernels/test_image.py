"""Kernels of image models against their definitions in NumPy: convolution, group normalisation, padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from finite_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import Array, assert_exact, draw

Call = Callable[..., list[Any]]

SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=25, deadline=None)
SIDES = st.integers(1, 5)
PAIRS = st.tuples(st.integers(1, 2), st.integers(1, 2))


@dataclass(frozen=True)
class Convolution:
    x: tuple[int, ...]
    """Channels first."""
    filters: tuple[int, ...]
    strides: tuple[int, int]
    paddings: tuple[int, int, int, int]
    """Top, bottom, left, right."""
    dilations: tuple[int, int]
    groups: int

    def result(self, x: Array, filters: Array) -> Array:
        """By definition: every tap of the window on its own."""
        top, bottom, left, right = self.paddings
        padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
        places = [
            (padded.shape[2 + i] - self.dilations[i] * (filters.shape[2 + i] - 1) - 1) // self.strides[i] + 1
            for i in (0, 1)
        ]
        share = filters.shape[0] // self.groups
        out = np.zeros((x.shape[0], filters.shape[0], *places), x.dtype)
        for o in range(filters.shape[0]):
            group = o // share * filters.shape[1]
            for c, i, j in np.ndindex(*filters.shape[1:]):
                rows = slice(i * self.dilations[0], None, self.strides[0])
                columns = slice(j * self.dilations[1], None, self.strides[1])
                window = padded[:, group + c, rows, columns][:, : places[0], : places[1]]
                out[:, o] += window * filters[o, c, i, j]
        return out


@st.composite
def convolutions(draw_: st.DrawFn) -> Convolution:
    groups, share, channels = draw_(st.integers(1, 2)), draw_(st.integers(1, 2)), draw_(st.integers(1, 2))
    window = draw_(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw_(PAIRS)
    image = [dilations[i] * (window[i] - 1) + draw_(SIDES) for i in (0, 1)]
    paddings = draw_(st.tuples(*[st.integers(0, 2)] * 4))
    return Convolution(
        (draw_(st.integers(0, 2)), groups * channels, *image),
        (groups * share, channels, *window),
        draw_(PAIRS),
        paddings,
        dilations,
        groups,
    )


def last(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


@pytest.mark.parametrize("operator", ["conv2d", "depthwise_conv2d"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@FEW
@given(plan=convolutions(), seed=SEEDS)
def test_convolution(call: Call, operator: str, layout: str, plan: Convolution, seed: int) -> None:
    x, filters = draw(plan.x, "float64", seed, -2, 2), draw(plan.filters, "float64", seed + 1, -2, 2)
    wanted = plan.result(x, filters)
    g = draw(wanted.shape, "float64", seed + 2, -2, 2)
    own = last if layout == "NHWC" else np.asarray
    middle = [list(plan.dilations), plan.groups] if operator == "conv2d" else [plan.groups, list(plan.dilations)]
    attributes = [list(plan.strides), list(plan.paddings), "EXPLICIT", *middle, layout]
    (got,) = call(operator, "float64", [own(x), filters], attributes, [(own(wanted).shape, "float64")])
    np.testing.assert_allclose(got, own(wanted), rtol=1e-12, atol=1e-12)
    specification = [(own(x).shape, "float64"), (filters.shape, "float64")]
    dx, dw = call(f"{operator}_grad", "float64", [own(x), filters, own(g)], attributes, specification)
    # a convolution is linear in x and in the filters: its gradients are its values for unit operands
    wanted_x = np.array([(plan.result(unit(plan.x, at), filters) * g).sum() for at in np.ndindex(*plan.x)])
    wanted_w = np.array([(plan.result(x, unit(plan.filters, at)) * g).sum() for at in np.ndindex(*plan.filters)])
    np.testing.assert_allclose(dx, own(wanted_x.reshape(plan.x)), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(dw, wanted_w.reshape(plan.filters), rtol=1e-11, atol=1e-11)


def unit(shape: tuple[int, ...], place: tuple[int, ...]) -> Array:
    array = np.zeros(shape)
    array[place] = 1
    return array


@pytest.mark.parametrize("side", [4, 5, 6, 7])
@pytest.mark.parametrize(("stride", "window"), [(1, 3), (2, 3), (2, 4), (3, 2)])
def test_padding_algorithms(call: Call, side: int, stride: int, window: int) -> None:
    x, filters = draw((1, 1, side, side), "float64", 1, -2, 2), draw((1, 1, window, window), "float64", 2, -2, 2)
    out = -(-side // stride)
    total = max((out - 1) * stride + window - side, 0)
    before = total // 2
    same = Convolution(
        x.shape, filters.shape, (stride, stride), (before, total - before, before, total - before), (1, 1), 1
    )
    valid = Convolution(x.shape, filters.shape, (stride, stride), (0, 0, 0, 0), (1, 1), 1)
    for name, plan, paddings in (("SAME", same, [0, 0]), ("VALID", valid, [7, 7, 7, 7])):
        wanted = plan.result(x, filters)
        attributes = [[stride, stride], paddings, name, [1, 1], 1, "NCHW"]
        (got,) = call("conv2d", "float64", [x, filters], attributes, [(wanted.shape, "float64")])
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("filters", "strides", "padding", "groups"),
    [
        ((2, 3, 1, 1), [1, 1], "EXPLICIT", 1),
        ((3, 1, 1, 1), [1, 1], "EXPLICIT", 2),
        ((2, 2, 9, 9), [1, 1], "EXPLICIT", 1),
        ((2, 2, 1, 1), [0, 1], "EXPLICIT", 1),
        ((2, 2, 1, 1), [1, 1], "FULL", 1),
    ],
)
def test_convolution_refuses(
    call: Call, filters: tuple[int, ...], strides: list[int], padding: str, groups: int
) -> None:
    inputs, attributes = [np.ones((1, 2, 4, 4)), np.ones(filters)], [strides, [0, 0], padding, [1, 1], groups, "NCHW"]
    with pytest.raises(ValueError, match="conv2d"):
        call("conv2d", "float64", inputs, attributes, [((1, 2, 4, 4), "float64")])


EPSILON = 1e-5


def group_norm(x: Array, scale: Array | None, bias: Array | None, groups: int) -> Array:
    parts = x.reshape(x.shape[0], groups, -1)
    centred = parts - parts.mean(axis=2, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=2, keepdims=True) + EPSILON)
    normal = (centred / spread).reshape(x.shape)
    per_channel = (1, x.shape[1], *[1] * (x.ndim - 2))
    if scale is not None:
        normal = normal * scale.reshape(per_channel)
    return np.asarray(normal if bias is None else normal + bias.reshape(per_channel))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@FEW
@given(
    groups=st.integers(1, 3),
    share=st.integers(1, 2),
    places=st.lists(st.integers(1, 3), max_size=3),
    seed=SEEDS,
    scaled=st.booleans(),
)
def test_group_norm(
    call: Call, layout: str, groups: int, share: int, places: list[int], seed: int, scaled: bool
) -> None:
    shape = (2, groups * share, *places)
    x = np.random.default_rng(seed).permutation(np.arange(np.prod(shape)) * 0.5).reshape(shape)
    scale = draw(shape[1:2], "float64", seed + 1, 0.5, 2) if scaled else None
    bias = draw(shape[1:2], "float64", seed + 2, -2, 2) if scaled else None
    g = draw(shape, "float64", seed + 3, -2, 2)
    own = last if layout == "NHWC" else np.asarray
    back = (lambda v: np.moveaxis(v, -1, 1)) if layout == "NHWC" else np.asarray
    attributes = [EPSILON, groups, layout]
    pair = ((2, groups), "float64")
    out, mean, variance = call(
        "group_norm", "float64", [own(x), scale, bias], attributes, [(own(x).shape, "float64"), pair, pair]
    )
    parts = x.reshape(2, groups, -1)
    np.testing.assert_allclose(mean, parts.mean(axis=2), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(variance, parts.var(axis=2), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(back(out), group_norm(x, scale, bias, groups), rtol=1e-10, atol=1e-10)
    parameter = (shape[1:2], "float64") if scaled else None
    inputs = [own(x), scale, bias, out, mean, variance, own(g)]
    dx, dscale, dbias = call(
        "group_norm_grad", "float64", inputs, attributes, [(own(x).shape, "float64"), parameter, parameter]
    )
    if parts.shape[2] > 1:
        assert_gradient(back(dx), lambda v: group_norm(v, scale, bias, groups), x, g)
    else:
        np.testing.assert_array_equal(dx, 0)
    if scale is not None and bias is not None:
        assert_gradient(dscale, lambda v: group_norm(x, v, bias, groups), scale, g)
        assert_gradient(dbias, lambda v: group_norm(x, scale, v, groups), bias, g)


def test_group_norm_refuses_uneven_groups(call: Call) -> None:
    with pytest.raises(ValueError, match="group_norm: 3 channels"):
        call(
            "group_norm",
            "float64",
            [np.ones((1, 3, 2)), None, None],
            [EPSILON, 2, "NCHW"],
            [((1, 3, 2), "float64")] * 3,
        )


NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("layout", ["NCDHW", "NDHWC"])
@FEW
@given(image=st.tuples(*[st.integers(2, 4)] * 3), paddings=st.tuples(*[st.integers(0, 1)] * 6), seed=SEEDS)
def test_pad3d(
    call: Call, layout: str, mode: str, image: tuple[int, ...], paddings: tuple[int, ...], seed: int
) -> None:
    x = draw((2, 2, *image), "float64", seed, -2, 2)
    widths = [(0, 0), (0, 0), paddings[4:6], paddings[2:4], paddings[0:2]]
    extra: dict[str, Any] = {"constant_values": 1.5} if mode == "constant" else {}
    wanted = np.pad(x, widths, NUMPY_MODES[mode], **extra)
    own = last if layout == "NDHWC" else np.asarray
    attributes = [list(paddings), mode, 1.5, layout]
    (got,) = call("pad3d", "float64", [own(x)], attributes, [(own(wanted).shape, "float64")])
    assert_exact(got, own(wanted))
    g = draw(wanted.shape, "float64", seed + 1, -2, 2)
    (dx,) = call("pad3d_grad", "float64", [own(x), own(g)], attributes, [(own(x).shape, "float64")])
    # where each padded element came from, by padding the elements' numbers
    numbers = np.pad(
        np.arange(x.size).reshape(x.shape), widths, NUMPY_MODES[mode], **({"constant_values": -1} if extra else {})
    )
    summed = np.zeros(x.size)
    np.add.at(summed, numbers[numbers >= 0], g[numbers >= 0])
    np.testing.assert_allclose(dx, own(summed.reshape(x.shape)), rtol=1e-13, atol=1e-13)


def test_pad3d_cuts_off_and_refuses(call: Call) -> None:
    x = draw((1, 1, 1, 3, 4), "float32", 3, -2, 2)
    attributes = [[-1, 2, 0, -1, 0, 0], "constant", 0.5, "NCDHW"]
    (got,) = call("pad3d", "float32", [x], attributes, [((1, 1, 1, 2, 5), "float32")])
    wanted = np.pad(x[:, :, :, :2, 1:], [(0, 0)] * 4 + [(0, 2)], constant_values=0.5)
    assert_exact(got, wanted)
    for mode, paddings in (("reflect", [4, 0, 0, 0, 0, 0]), ("constant", [-3, -3, 0, 0, 0, 0]), ("mirror", [0] * 6)):
        with pytest.raises(ValueError, match="pad3d"):
            call("pad3d", "float32", [x], [paddings, mode, 0.0, "NCDHW"], [((-1,) * 5, "float32")])
