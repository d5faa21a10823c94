"""Plugins written in Python: hands what the hooks of one return to the compiled library that stands for it in Paddle.

The library (``csrc/bridge``) is an ordinary plugin library: it exports the same table, answers Paddle's callbacks and
registers kernels, and its trampolines call the functions of :class:`~adapter_sdk.records.KernelDescription`,
:class:`~adapter_sdk.records.MemoryFunctions` and :class:`~adapter_sdk.records.StreamFunctions`. A plugin's wheel
installs a copy of it as ``paddle_custom_device/lib<name>.so`` (CMake: ``adapter_sdk_add_python_plugin``); without one,
:func:`adapter_sdk.mount` uses the SDK's own file.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from adapter_sdk import _table
from adapter_sdk._installed import default_folder
from adapter_sdk.dtypes import DTYPE_CODES, to_numpy
from adapter_sdk.errors import LibraryUnusable, MountError
from adapter_sdk.native import PluginLibrary
from adapter_sdk.records import KernelDescription, MemoryFunctions, StreamFunctions

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["NAME_VARIABLE", "Context", "DeviceTensor", "bridge_file", "open_library", "specification"]

NAME_VARIABLE = "ADAPTER_SDK_PYTHON_PLUGIN"
"""Environment variable that tells the SDK's own bridge file which plugin it stands for."""


class Context:
    """First argument of every kernel function. Speaks of the call that runs on the calling thread."""

    def __init__(self, methods: Mapping[str, Callable[..., Any]], synchronous: bool) -> None:
        self.card: Callable[[], int] = methods["card"]
        """The card that the call is for, from 0."""
        self.stream: Callable[[], object] = partial(methods["stream"], synchronous)
        """What ``StreamFunctions.create`` returned for the stream of the call; None for a synchronous device."""
        self.random: Callable[[int], tuple[int, int]] = methods["random"]
        """``random(n)``: (seed, number) of Paddle's generator for a counter-based random stream; with n above 0 the
        number is drawn, so that two calls differ."""
        self._dtype: Callable[[], int] = methods["dtype"]
        self._allocate = methods["allocate"]

    def dtype(self) -> np.dtype[Any]:
        """Dtype of the kernel that was called; one function may serve several."""
        return to_numpy(_table.DTYPE_NAMES[self._dtype()])

    def allocate(self, output: int, shape: Sequence[int], dtype: npt.DTypeLike | None = None) -> Any:
        """Memory for the ``output``-th output, whose shape only the kernel can know (it arrived as None).

        ``dtype`` is the kernel's unless given.

        Raises:
            ValueError: there is no such output, or no such dtype.
            MemoryError: the card is full.
        """
        code = self._dtype() if dtype is None else DTYPE_CODES[np.dtype(dtype).name]
        return self._allocate(output, tuple(int(size) for size in shape), code)


@dataclass(frozen=True)
class DeviceTensor:
    """What functions get in place of an array when the host cannot read device memory."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Kernel:
    operator: str
    signature: str
    dtype: int
    accumulator: int
    provenance: int
    flags: int
    function: Callable[..., object]


@dataclass(frozen=True)
class _Specification:
    """What ``csrc/bridge/plugin.cc`` reads, attribute by attribute."""

    name: str
    vendor: str
    version: str
    device_type: str
    sub_device_type: str
    paddle_versions: str
    features: int
    peaks: tuple[tuple[int, float], ...]
    memory_bytes: tuple[int, ...]
    memory: MemoryFunctions
    streams: StreamFunctions | None
    kernels: tuple[_Kernel, ...]
    device_tensor: type[DeviceTensor] | None
    dtypes: dict[int, np.dtype[Any]]
    numpy_interface: object
    describe_error: Callable[..., str]
    start: Callable[..., Context]


def bridge_file() -> Path:
    """The SDK's own copy of the bridge library.

    Raises:
        LibraryUnusable: this adapter-sdk was installed without its compiled part.
    """
    name = "libadapter_python.so"
    folders = [Path(__file__).resolve().parent / "lib"]
    site = default_folder()
    if site is not None:  # a checkout on sys.path beside an installed wheel
        folders.append(site.parent / "adapter_sdk" / "lib")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise LibraryUnusable(
        folders[0] / name, "is missing", "install adapter-sdk from its wheel: `pip install adapter-sdk`"
    )


def open_library(plugin: LoadedPlugin) -> PluginLibrary:
    """The library that stands for a plugin written in Python, with its table filled from the hooks.

    Raises:
        MountError: a hook carries no functions, so that the plugin is neither native nor written in Python.
        LibraryUnusable: the library is missing or cannot be loaded, or the plugin's functions failed while it was.
    """
    _check_functions(plugin)
    path = _library_of(plugin)
    os.environ[NAME_VARIABLE] = plugin.name
    try:
        handle = ctypes.PyDLL(str(path))
        handle.adapter_bridge_load()
    except (OSError, RuntimeError, AttributeError) as error:
        raise LibraryUnusable(path, f"cannot stand for plugin {plugin.name!r}: {error}", _REMEDY) from error
    library = PluginLibrary(path)
    if library.name != plugin.name:
        fault = f"stands for plugin {library.name!r} in this process already"
        raise LibraryUnusable(path, fault, "mount one plugin without a library of its own in a process")
    return library


def _check_functions(plugin: LoadedPlugin) -> None:
    lacking = [
        f"{kernel.operator}/{kernel.dtype} of adapter_kernels" for kernel in plugin.kernels if not kernel.function
    ]
    if plugin.memory.functions is None:
        lacking.insert(0, "the record of adapter_memory")
    if lacking:
        raise MountError(
            plugin.name,
            f"it has no native library, and {lacking[0]} carries no functions",
            "name the library in adapter_device, or give MemoryDescription.functions and KernelDescription.function",
        )


_REMEDY = "mend what the message names; `adapter-sdk doctor` checks the rest"


def _library_of(plugin: LoadedPlugin) -> Path:
    site = default_folder()
    own = site / f"lib{plugin.name}.so" if site else None
    return own if own is not None and own.is_file() else bridge_file()


def specification(name: str) -> _Specification:
    """Everything that the bridge has to know of the plugin ``name``. Called by the bridge.

    Raises:
        AdapterError: the plugin cannot be loaded, or is not written in Python.
    """
    from adapter_sdk.manager import load

    plugin = load(name)
    _check_functions(plugin)
    device, memory = plugin.device, plugin.memory.functions
    assert memory is not None
    streams = plugin.streams.functions
    return _Specification(
        name=device.name,
        vendor=device.vendor,
        version=device.version,
        device_type=device.device_type,
        sub_device_type=device.sub_device_type,
        paddle_versions=device.paddle_versions,
        features=_features(plugin),
        peaks=tuple((DTYPE_CODES[peak.dtype], float(peak.tflops)) for peak in device.peaks),
        memory_bytes=device.memory_bytes,
        memory=memory,
        streams=streams,
        kernels=tuple(_kernel(kernel) for kernel in plugin.kernels),
        device_tensor=None if plugin.memory.host_readable else DeviceTensor,
        dtypes={code: to_numpy(dtype) for dtype, code in DTYPE_CODES.items()},
        numpy_interface=_numpy_interface(),
        describe_error=_describe_error,
        start=partial(_start, streams is None),
    )


def _features(plugin: LoadedPlugin) -> int:
    said = {
        "async_streams": plugin.streams.asynchronous,
        "host_unreadable": not plugin.memory.host_readable,
        "profiler": plugin.streams.profiled,
    }
    return sum(_table.FEATURES[name] for name, holds in said.items() if holds)


def _kernel(kernel: KernelDescription) -> _Kernel:
    assert kernel.function is not None
    return _Kernel(
        operator=kernel.operator,
        signature=kernel.signature,
        dtype=DTYPE_CODES[kernel.dtype],
        accumulator=DTYPE_CODES[kernel.accumulator] if kernel.accumulator else 0,
        provenance={name: code for code, name in _table.PROVENANCES.items()}[kernel.provenance],
        flags=_table.KERNEL_FUSED if kernel.fused else 0,
        function=kernel.function,
    )


def _numpy_interface() -> object:
    package = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    return import_module(f"{package}._multiarray_umath")._ARRAY_API


def _describe_error(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> str:
    """The last line first, since Paddle shows it beside its own; then the way there."""
    told = "".join(traceback.format_exception_only(kind, error)).strip()
    way = "".join(traceback.format_exception(kind, error, trace)).strip()
    return f"{told}\n{way}"


def _start(synchronous: bool, methods: Mapping[str, Callable[..., Any]], stop: Callable[[], None]) -> Context:
    atexit.register(stop)
    return Context(methods, synchronous)
