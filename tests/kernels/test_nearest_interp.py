"""Nearest interpolation and its gradient against index arithmetic in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Call = Callable[..., list[Any]]


def rows(n_in: int, n_out: int, align: bool) -> list[int]:
    if n_out == 1:
        return [0]
    ratio = np.float32((n_in - 1) / (n_out - 1)) if align else np.float32(np.float32(n_in) / np.float32(n_out))
    return [min(int(ratio * np.float32(i) + np.float32(0.5 if align else 0.0)), n_in - 1) for i in range(n_out)]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(8, 6), (3, 5), (1, 1), (4, 3)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_nearest(call: Call, layout: str, size: tuple[int, int], align: bool) -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((2, 3, 4, 3))
    tall, wide = rows(4, size[0], align), rows(3, size[1], align)
    wanted = x[:, :, tall][:, :, :, wide]
    flow = draw.standard_normal(wanted.shape)
    slope = np.zeros_like(x)
    for i, source_i in enumerate(tall):
        for j, source_j in enumerate(wide):
            slope[:, :, source_i, source_j] += flow[:, :, i, j]

    def laid(array: Any) -> Any:
        return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == "NHWC" else array

    attributes = [layout, -1, *size, [], "nearest", align, 1]
    (got,) = call(
        "nearest_interp", "float64", [laid(x), None, None, None], attributes, [(laid(wanted).shape, "float64")]
    )
    np.testing.assert_array_equal(got, laid(wanted))
    inputs = [laid(x), None, None, None, laid(flow)]
    (grad,) = call("nearest_interp_grad", "float64", inputs, attributes, [(laid(x).shape, "float64")])
    np.testing.assert_allclose(grad, laid(slope), rtol=1e-14, atol=1e-14)


def test_a_scale_and_a_list_of_sizes_say_the_same(call: Call) -> None:
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    wanted = x.repeat(2, axis=2).repeat(2, axis=3)
    plain = ["NCHW", -1, -1, -1, [2.0, 2.0], "nearest", False, 1]
    (by_scale,) = call("nearest_interp", "float64", [x, None, None, None], plain, [((1, 2, 6, 8), "float64")])
    sizes = [np.array([6], np.int32), np.array([8], np.int32)]
    listed = ["NCHW", -1, -1, -1, [], "nearest", False, 1]
    (by_size,) = call("nearest_interp", "float64", [x, None, sizes, None], listed, [((1, 2, 6, 8), "float64")])
    np.testing.assert_array_equal(by_scale, wanted)
    np.testing.assert_array_equal(by_size, wanted)
