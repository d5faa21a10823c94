"""The oracle's entry point: what it converts, what it refuses, what it catches."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Call = Callable[..., list[Any]]


@pytest.fixture
def x() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.arange(6, dtype="float32").reshape(2, 3)


def test_every_kernel_is_listed_once(call: Call) -> None:
    from adapter_sdk import _kernels

    rows = _kernels.kernels()
    assert ("add", "float32", "Tensor,Tensor||Tensor") in rows
    assert ("add_grad", "float64", "Tensor,Tensor,Tensor|int|Tensor,Tensor") in rows
    assert len(set(rows)) == len(rows)


def test_unneeded_outputs_are_none(call: Call, x: Any) -> None:
    x_grad, y_grad = call("add_grad", "float32", [x, x[0], x], [-1], [None, ((3,), "float32")])
    assert x_grad is None
    assert y_grad.tolist() == [3, 5, 7]


def test_an_unknown_dimension_is_found_out(call: Call, x: Any) -> None:
    assert call("add", "float32", [x, x], [], [((-1, -1), "float32")])[0].shape == (2, 3)


def test_strided_inputs_are_made_row_major(call: Call, x: Any) -> None:
    (got,) = call("add", "float32", [x.T, np.float32(1)], [], [((3, 2), "float32")])
    np.testing.assert_array_equal(got, x.T + 1)


def test_an_array_as_output_is_written_in_place(call: Call, x: Any) -> None:
    (got,) = call("add", "float32", [x, x], [], [x])
    np.testing.assert_array_equal(x, 2 * np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize(
    ("inputs", "attributes", "outputs", "message"),
    [
        (2, [], 2, "wanted 3 inputs, 1 attributes and 2 outputs, got 2, 0 and 2"),
        (3, [1.5], 2, "attribute 0: wanted an integer, got 1.5"),
        (3, [True], 2, "attribute 0: wanted an integer, got True"),
        (3, [2**40], 2, "attribute 0: 1099511627776 is too large"),
        (3, ["-1"], 2, "attribute 0: wanted an integer, got '-1'"),
    ],
)
def test_wrong_arguments_name_kernel_and_signature(
    call: Call, x: Any, inputs: int, attributes: list[Any], outputs: int, message: str
) -> None:
    title = "kernel add_grad (float32, signature Tensor,Tensor,Tensor|int|Tensor,Tensor): "
    with pytest.raises(ValueError, match=re.escape(title + message)):
        call("add_grad", "float32", [x] * inputs, attributes, [None] * outputs)


def test_wrong_inputs_and_outputs_are_refused(call: Call, x: Any) -> None:
    for inputs, outputs, message in [
        ([x, None], [((2, 3), "float32")], "input 1: an input that is not optional is None"),
        ([x, 3], [((2, 3), "float32")], "input 1: an input is no array but 3"),
        ([x, x.astype(">f4")], [((2, 3), "float32")], "byte order"),
        ([x, x], [((2, 3), "float31")], "output 0: 'float31' is no dtype of a tensor"),
        ([x, x], [x.T], "output 0: an array to write into has to be row-major and writeable"),
        ([x, x[:, :2]], [((-1, -1), "float32")], "do not broadcast"),
    ]:
        with pytest.raises(ValueError, match=message):
            call("add", "float32", inputs, [], outputs)


def test_unknown_kernels_and_dtypes_are_key_errors(call: Call) -> None:
    with pytest.raises(KeyError, match="no kernel named 'ad'"):
        call("ad", "float32", [], [], [])
    with pytest.raises(KeyError, match="'add' has no dtype 'uint64'; it has float32, float64"):
        call("add", "uint64", [], [], [])


def test_an_output_too_small_to_write_into_is_refused(call: Call, x: Any) -> None:
    with pytest.raises(ValueError, match="needs 24 bytes, the array to write into has 4"):
        call("assign", "float32", [x], [], [np.zeros(1, "float32")])
