"""A kernel call as a fault sees it: host copies of what went in and came out, and ways to change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from adapter_sdk._table import DTYPE_NAMES, KernelCallStruct, TensorViewStruct
from adapter_sdk.native import CopyKind

if TYPE_CHECKING:
    from adapter_conform.session import DeviceLibrary

__all__ = ["POISON", "Array", "Call", "Device", "View", "views_of"]

Array = npt.NDArray[Any]
POISON = 0xCB
"""The byte with which the SDK fills fresh outputs while the suite checks them."""


@dataclass(frozen=True)
class View:
    """A tensor on the device."""

    address: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


def _view(raw: TensorViewStruct) -> View:
    name = DTYPE_NAMES.get(raw.dtype, "uint8")
    dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    return View(raw.data or 0, dtype, tuple(raw.dims[: raw.rank]))


def views_of(raw: KernelCallStruct) -> tuple[list[View], list[View]]:
    """Inputs and outputs. Absent optional inputs, and inputs that a kernel may do without, are not among them."""
    inputs = [_view(raw.inputs[i]) for i in range(raw.n_inputs)]
    return inputs, [_view(raw.outputs[i]) for i in range(raw.n_outputs)]


@dataclass(frozen=True)
class Device:
    """Copies between the host and one card, complete on return."""

    library: DeviceLibrary
    card: int

    def read(self, view: View) -> Array:
        """A copy; zeros where there is no memory: Paddle frees a tensor of which a kernel needs the shape alone."""
        array = np.zeros(view.shape, view.dtype)
        if view.nbytes and view.address:
            self.library.copy(self.card, CopyKind.DEVICE_TO_HOST, array.ctypes.data, view.address, view.nbytes)
        return array

    def write(self, view: View, array: Array) -> None:
        if view.nbytes:
            self.library.copy(self.card, CopyKind.HOST_TO_DEVICE, view.address, array.ctypes.data, view.nbytes)


@dataclass
class Call:
    """One call of a broken kernel."""

    device: Device
    inputs: Sequence[Array]
    """As they were before the kernel ran."""
    input_views: Sequence[View]
    output_views: Sequence[View]
    attributes: Mapping[str, Any]
    """As the catalogue's entry names them."""
    memory: dict[str, Any]
    """Whatever the fault keeps from one call to the next, in this process."""
    changed: bool = field(default=False, init=False)
    """Whether the fault has come into effect."""

    def output(self, index: int = 0) -> Array:
        """What the kernel wrote."""
        return self.device.read(self.output_views[index])

    def write(self, values: Any, index: int = 0) -> None:
        """Puts ``values``, rounded to nearest, where output ``index`` was."""
        self._put(self.output_views[index], values)

    def write_input(self, values: Any, index: int = 0) -> None:
        self._put(self.input_views[index], values)

    def leave_unwritten(self, places: Any, index: int = 0) -> None:
        """Makes elements of output ``index`` look as if the kernel had never touched them."""
        right = self.output(index)
        content = right.copy()
        content.reshape(-1).view(np.uint8).reshape(right.size, -1)[np.asarray(places).reshape(-1)] = POISON
        self._put(self.output_views[index], content)

    def _put(self, view: View, values: Any) -> None:
        content = np.ascontiguousarray(np.broadcast_to(np.asarray(values), view.shape).astype(view.dtype))
        if content.tobytes() == self.device.read(view).tobytes():
            return
        self.device.write(view, content)
        self.changed = True
