"""Inputs between fences: what a kernel reads or writes beyond them must show. On a device made of NumPy arrays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.spec import Kind, OperatorSpec
from adapter_conform.execution import _changed_inputs
from adapter_conform.tensors import LAYOUTS, from_tensor, place


class Memory:
    """A tensor whose views share its memory."""

    def __init__(self, array: Array, dtype: str = "") -> None:
        self.array, self.dtype = array, f"paddle.{dtype or array.dtype.name}"

    def _view(self, array: Array) -> Memory:
        return Memory(array, self.dtype.split(".")[1])

    def __getitem__(self, index: Any) -> Memory:
        return self._view(self.array[index])

    def reshape(self, shape: list[int]) -> Memory:
        view = self.array.view()
        view.shape = tuple(shape)  # raises where a copy would be needed
        return self._view(view)

    def transpose(self, axes: list[int]) -> Memory:
        return self._view(self.array.transpose(axes))

    def numpy(self) -> Array:
        return self.array.copy()


def as_strided(base: Memory, shape: list[int], stride: list[int]) -> Memory:
    steps = [step * base.array.itemsize for step in stride]
    return base._view(np.lib.stride_tricks.as_strided(base.array, shape, steps))


def to_tensor(array: Array) -> Memory:
    return Memory(array.copy(), "bfloat16" if array.dtype == np.uint16 else "")


PADDLE = SimpleNamespace(to_tensor=to_tensor, as_strided=as_strided)
READER = OperatorSpec(
    name="reader",
    call=lambda paddle, t, a: None,
    oracle=lambda x, a: [],
    kind=Kind.EXACT,
    examples=lambda dtype: pytest.fail("nothing is drawn here"),
    corners=lambda dtype: [],
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
def test_every_layout_holds_the_same_numbers(layout: str, shape: tuple[int, ...], dtype: str) -> None:
    numbers = np.random.default_rng(1).integers(-3, 4, shape)
    array = np.asarray(numbers).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    if layout == "overlapping" and array.ndim:
        array = np.repeat(array[:1], array.shape[0], axis=0)
    placed = place(PADDLE, array, layout)
    assert np.array_equal(from_tensor(placed.tensor), array)
    assert placed.tensor.array.shape == array.shape
    assert not _changed_inputs(READER, [placed])


@pytest.mark.parametrize("layout", ["fenced", "misaligned", "sliced"])
def test_fences_are_not_numbers_and_a_write_into_one_is_seen(layout: str) -> None:
    array = np.ones((3, 4), np.float32)
    placed = place(PADDLE, array, layout)
    flat = placed.base.array.reshape(-1)
    first = int(np.argmax(placed.inside.reshape(-1)))
    assert np.isnan(flat[first - 1]), "a read before the first element gives NaN"
    assert np.isnan(flat[~placed.inside.reshape(-1)]).all()
    flat[first - 1] = 3
    (figure,) = _changed_inputs(READER, [placed])
    assert (figure.gate, figure.value, figure.passed) == ("fence", 1, False)


def test_a_write_into_an_input_is_seen_in_every_layout() -> None:
    for layout in LAYOUTS:
        array = np.zeros((3, 4), np.float32)
        placed = place(PADDLE, array, layout)
        placed.tensor.array[1, 2] = 5
        gates = [figure.gate for figure in _changed_inputs(READER, [placed])]
        assert gates == ["intact"], layout


def test_misaligned_is_off_by_one_element() -> None:
    array = np.zeros(7, np.float32)
    bases = [place(PADDLE, array, layout) for layout in ("fenced", "misaligned")]
    apart = [int(item.tensor.array.ctypes.data - item.base.array.ctypes.data) for item in bases]
    assert apart == [64, 68]


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="no layout 'sideways'"):
        place(PADDLE, np.zeros(3), "sideways")
