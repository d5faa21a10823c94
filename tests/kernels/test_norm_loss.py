"""Normalisations, cross entropy and the squared norm against their definitions in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from finite_differences import assert_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from kernel_checks import Array, assert_within_ulps, draw

Call = Callable[..., list[Any]]

FLOATS = ("float32", "float64")
SHAPES = array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)
SMALL_SHAPES = array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)
SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=25, deadline=None)
EPSILON = 1e-5
IGNORED = -100


def rounded(value: float) -> np.longdouble:
    """An attribute of C's type float as the kernel sees it."""
    return np.longdouble(np.float32(value))


@pytest.mark.parametrize("dtype", FLOATS)
@FEW
@given(shape=array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6), seed=SEEDS)
def test_squared_l2_norm(call: Call, dtype: str, shape: tuple[int, ...], seed: int) -> None:
    x = draw(shape, dtype, seed, -4, 4)
    (got,) = call("squared_l2_norm", dtype, [x], [], [((1,), dtype)])
    assert_within_ulps(got, np.sum(np.square(x.astype(np.longdouble))).reshape(1), 1 if dtype == "float32" else 64)
    (got,) = call("squared_l2_norm_grad", dtype, [x, np.array([3], dtype)], [], [(shape, dtype)])
    np.testing.assert_array_equal(got, np.asarray(2 * x * 3, dtype))


def test_squared_l2_norm_is_held_in_double(call: Call) -> None:
    x = np.full(1 << 16, 0.1, np.float32)
    x[0] = 4096
    (got,) = call("squared_l2_norm", "float32", [x], [], [((1,), "float32")])
    assert got[0] == np.float32(np.sum(np.square(x.astype(np.float64))))


def layer_norm(x: Array, scale: Array | None, bias: Array | None, axis: int) -> Array:
    axes = tuple(range(axis, x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    normal = centred / np.sqrt(variance + rounded(EPSILON))
    if scale is not None:
        normal = normal * scale.reshape(x.shape[axis:])
    return np.asarray(normal if bias is None else normal + bias.reshape(x.shape[axis:]))


@FEW
@given(shape=SHAPES, seed=SEEDS, data=st.data(), scaled=st.booleans(), shifted=st.booleans())
def test_layer_norm(
    call: Call, shape: tuple[int, ...], seed: int, data: st.DataObject, scaled: bool, shifted: bool
) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    width = int(np.prod(shape[axis:]))
    x = draw(shape, "float64", seed, -3, 3)
    scale = draw((width,), "float64", seed + 1, -2, 2) if scaled else None
    bias = draw((width,), "float64", seed + 2, -2, 2) if shifted else None
    rows = x.reshape(-1, width)
    specification = [(shape, "float64"), ((len(rows),), "float64"), ((len(rows),), "float64")]
    out, mean, variance = call("layer_norm", "float64", [x, scale, bias], [EPSILON, axis], specification)
    np.testing.assert_allclose(mean, rows.mean(axis=1), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(variance, rows.var(axis=1), rtol=1e-12, atol=1e-13)
    wanted = layer_norm(x.astype(np.longdouble), scale, bias, axis).astype(float)
    np.testing.assert_allclose(out, wanted, rtol=1e-9, atol=1e-10)


@FEW
@given(shape=SMALL_SHAPES, seed=SEEDS, data=st.data(), scaled=st.booleans())
def test_layer_norm_gradients(call: Call, shape: tuple[int, ...], seed: int, data: st.DataObject, scaled: bool) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    width = int(np.prod(shape[axis:]))
    # apart from each other by 0.5 at least: near-equal rows have a curvature that differences cannot follow
    x = np.random.default_rng(seed).permutation(np.arange(np.prod(shape)) * 0.5).reshape(shape)
    scale = draw((width,), "float64", seed + 1, 0.5, 2) if scaled else None
    bias = draw((width,), "float64", seed + 2, -2, 2) if scaled else None
    g = draw(shape, "float64", seed + 3, -2, 2)
    rows = x.reshape(-1, width)
    inputs = [x, scale, bias, rows.mean(axis=1), rows.var(axis=1), g]
    parameter = ((width,), "float64") if scaled else None
    dx, dscale, dbias = call(
        "layer_norm_grad", "float64", inputs, [EPSILON, axis], [(shape, "float64"), parameter, parameter]
    )
    if width > 1:
        assert_gradient(dx, lambda v: layer_norm(v, scale, bias, axis), x, g)
    else:
        np.testing.assert_array_equal(dx, np.zeros(shape))
    if scale is not None and bias is not None:
        assert_gradient(dscale, lambda v: layer_norm(x, v, bias, axis), scale, g)
        assert_gradient(dbias, lambda v: layer_norm(x, scale, v, axis), bias, g)


def test_layer_norm_of_large_numbers_keeps_its_digits(call: Call) -> None:
    x = (np.arange(64, dtype=np.float32) + 2.0**20).reshape(1, 64)
    (out, _, _) = call("layer_norm", "float32", [x, None, None], [EPSILON, 1], [((1, 64), "float32"), None, None])
    np.testing.assert_allclose(out, layer_norm(x.astype(float), None, None, 1), rtol=1e-6, atol=1e-7)


def rms_norm(x: Array, scale: Array | None, axis: int) -> Array:
    squares = np.square(x).mean(axis=tuple(range(axis, x.ndim)), keepdims=True)
    return np.asarray(x / np.sqrt(squares + EPSILON) * (1 if scale is None else scale))


@FEW
@given(shape=SMALL_SHAPES, seed=SEEDS, data=st.data(), scaled=st.booleans())
def test_rms_norm(call: Call, shape: tuple[int, ...], seed: int, data: st.DataObject, scaled: bool) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    x = draw(shape, "float64", seed, 0.5, 3)
    scale = draw(shape[axis:], "float64", seed + 1, -2, 2) if scaled else None
    attributes = [list(shape[axis:]), EPSILON]
    out, inverse = call("rms_norm", "float64", [x, scale], attributes, [(shape, "float64"), (shape[:axis], "float64")])
    np.testing.assert_allclose(out, rms_norm(x, scale, axis), rtol=1e-12, atol=1e-13)
    g = draw(shape, "float64", seed + 2, -2, 2)
    parameter = (shape[axis:], "float64") if scaled else None
    dx, dscale = call("rms_norm_grad", "float64", [x, scale, inverse, g], attributes, [(shape, "float64"), parameter])
    assert_gradient(dx, lambda v: rms_norm(v, scale, axis), x, g)
    if scale is not None:
        assert_gradient(dscale, lambda v: rms_norm(x, v, axis), scale, g)


def test_rms_norm_refuses_another_shape(call: Call) -> None:
    with pytest.raises(ValueError, match="normalized_shape"):
        call("rms_norm", "float64", [np.ones((2, 3)), None], [[4], EPSILON], [((2, 3), "float64"), None])


def log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def weights_of(labels: Array, classes: int, axis: int) -> Array:
    """Hard labels, of length 1 along ``axis``, as weights of the classes; none where they are to be ignored."""
    shape = [1] * labels.ndim
    shape[axis] = classes
    return np.asarray(labels == np.arange(classes).reshape(shape), float)


def negative_log_likelihood(logs: Array, weights: Array, axis: int) -> Array:
    return np.asarray(-np.sum(np.where(weights == 0, 0, weights * logs), axis=axis, keepdims=True))


def drawn_labels(shape: tuple[int, ...], axis: int, dtype: str, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    own = tuple(1 if i == axis % len(shape) else n for i, n in enumerate(shape))
    labels = rng.integers(0, shape[axis], own)
    return np.where(rng.random(own) < 0.25, IGNORED, labels).astype(dtype)


@pytest.mark.parametrize("label_dtype", ["int32", "int64"])
@pytest.mark.parametrize("dtype", FLOATS)
@FEW
@given(shape=SHAPES, seed=SEEDS, data=st.data(), in_place=st.booleans())
def test_cross_entropy_of_hard_labels(
    call: Call, dtype: str, label_dtype: str, shape: tuple[int, ...], seed: int, data: st.DataObject, in_place: bool
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = draw(shape, dtype, seed, -60, 60)
    labels = drawn_labels(shape, axis, label_dtype, seed)
    logs = log_softmax(x.astype(np.longdouble), axis)
    attributes = [False, True, True, IGNORED, axis]
    specification = [x if in_place else (shape, dtype), (labels.shape, dtype)]
    softmax, loss = call("cross_entropy_with_softmax", dtype, [x, labels], attributes, specification)
    wanted = negative_log_likelihood(logs, weights_of(labels, shape[axis], axis % len(shape)), axis)
    assert_within_ulps(loss, wanted, 2, np.maximum(np.abs(wanted), 1))
    assert_within_ulps(softmax, np.exp(logs), 128)


@pytest.mark.parametrize("use_softmax", [True, False])
@pytest.mark.parametrize("soft", [True, False])
@FEW
@given(shape=SMALL_SHAPES, seed=SEEDS, data=st.data(), in_place=st.booleans())
def test_cross_entropy_and_its_gradient(
    call: Call, soft: bool, use_softmax: bool, shape: tuple[int, ...], seed: int, data: st.DataObject, in_place: bool
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = draw(shape, "float64", seed, 0.5, 3)
    x = x if use_softmax else x / x.sum(axis=axis, keepdims=True)
    if soft:
        labels = draw(shape, "float64", seed + 1, 0.1, 1)
        labels = weights = labels / labels.sum(axis=axis, keepdims=True)
    else:
        labels = drawn_labels(shape, axis, "int64", seed)
        weights = weights_of(labels, shape[axis], axis % len(shape))

    def definition(v: Array) -> Array:
        return negative_log_likelihood(log_softmax(v, axis) if use_softmax else np.log(v), weights, axis)

    loss_shape = np.sum(x, axis=axis, keepdims=True).shape
    attributes = [soft, use_softmax, True, IGNORED, axis]
    specification = [(shape, "float64"), (loss_shape, "float64")]
    softmax, loss = call("cross_entropy_with_softmax", "float64", [x, labels], attributes, specification)
    np.testing.assert_allclose(loss, definition(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(softmax, np.exp(log_softmax(x, axis)) if use_softmax else x, rtol=1e-12)
    g = draw(loss_shape, "float64", seed + 2, -2, 2)
    target = softmax if in_place else (shape, "float64")
    (got,) = call("cross_entropy_with_softmax_grad", "float64", [labels, softmax, g], attributes, [target])
    assert_gradient(got, definition, x, g)


def test_cross_entropy_of_an_impossible_class_stays_finite(call: Call) -> None:
    probabilities = np.array([[0.0, 1.0]])
    attributes = [False, False, True, IGNORED, -1]
    specification = [((1, 2), "float64"), ((1, 1), "float64")]
    _, loss = call("cross_entropy_with_softmax", "float64", [probabilities, np.array([[0]])], attributes, specification)
    np.testing.assert_array_equal(loss, [[1e20]])


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_is_an_error(call: Call, label: int) -> None:
    inputs = [np.zeros((2, 3)), np.array([[0], [label]])]
    specification = [((2, 3), "float64"), ((2, 1), "float64")]
    message = f"label {label} at position 1 is neither one of 3 classes nor ignore_index -100"
    with pytest.raises(RuntimeError, match=message):
        call("cross_entropy_with_softmax", "float64", inputs, [False, True, True, IGNORED, -1], specification)
