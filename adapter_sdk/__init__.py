"""What a chip vendor imports to make a device known to PaddlePaddle, and what a user imports to mount it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from adapter_sdk.errors import (
    AdapterError,
    ContractMismatch,
    DeviceError,
    LibraryUnusable,
    MountError,
    PaddleMismatch,
    PluginInvalid,
    PluginNotFound,
    RecordInvalid,
)
from adapter_sdk.hookspecs import CONTRACT_VERSION, hookimpl
from adapter_sdk.manager import LoadedPlugin, PluginStatus, discover, load
from adapter_sdk.mounting import mount
from adapter_sdk.native import NativePlugin, PluginLibrary
from adapter_sdk.records import (
    CollectivesDescription,
    DeviceDescription,
    FusedOperatorDescription,
    KernelDescription,
    MemoryDescription,
    MemoryFunctions,
    PeakThroughput,
    StreamDescription,
    StreamFunctions,
    Waiver,
)

__all__ = [
    "CONTRACT_VERSION",
    "AdapterError",
    "CollectivesDescription",
    "ContractMismatch",
    "DeviceDescription",
    "DeviceError",
    "FusedOperatorDescription",
    "KernelDescription",
    "LibraryUnusable",
    "LoadedPlugin",
    "MemoryDescription",
    "MemoryFunctions",
    "MountError",
    "NativePlugin",
    "PaddleMismatch",
    "PeakThroughput",
    "PluginInvalid",
    "PluginLibrary",
    "PluginNotFound",
    "PluginStatus",
    "RecordInvalid",
    "StreamDescription",
    "StreamFunctions",
    "Waiver",
    "__version__",
    "cmake_dir",
    "discover",
    "hookimpl",
    "include_dir",
    "load",
    "mount",
]

try:
    __version__ = importlib.metadata.version("adapter-sdk")
except importlib.metadata.PackageNotFoundError:
    __version__ = "0+source"  # used from a source tree that is not installed


def include_dir() -> Path:
    """Folder for the compiler's ``-I``: holds ``adapter_sdk/plugin_table.h`` and the C++ headers."""
    return Path(__file__).resolve().parent / "include"


def cmake_dir() -> Path:
    """Folder for CMake's ``AdapterSDK_DIR``: makes ``find_package(AdapterSDK)`` work."""
    return Path(__file__).resolve().parent / "cmake"
