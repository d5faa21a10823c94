"""Native plugins: what a plugin library says of itself (:class:`PluginLibrary`), and the hooks that repeat it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal, cast

from adapter_sdk import _table
from adapter_sdk._counters import CallCounters
from adapter_sdk._elf import check_shared_library
from adapter_sdk._installed import find_library
from adapter_sdk.errors import ContractMismatch, DeviceError, LibraryUnusable
from adapter_sdk.hookspecs import CONTRACT_VERSION, hookimpl
from adapter_sdk.records import (
    CollectivesDescription,
    DeviceDescription,
    FusedOperatorDescription,
    KernelDescription,
    MemoryDescription,
    PeakThroughput,
    Provenance,
    StreamDescription,
    Waiver,
)

__all__ = ["CopyKind", "Interface", "KernelRow", "NativePlugin", "PluginLibrary", "Registration"]

Registration = Literal["not_mounted", "registered", "refused"]
"""What became of a kernel, or of the whole library, when Paddle loaded it."""

_QUERIES = (
    "card_count",
    "memory_bytes",
    "kernel_count",
    "kernel_at",
    "mount_state",
    "mount_message",
    "last_error",
)
_REBUILD = "rebuild the plugin against the headers of this adapter-sdk"


class CopyKind(IntEnum):
    """Direction of :meth:`PluginLibrary.copy`, numbered as in plugin_table.h."""

    HOST_TO_DEVICE = 0
    DEVICE_TO_HOST = 1
    DEVICE_TO_DEVICE = 2


@dataclass(frozen=True)
class KernelRow(KernelDescription):
    """A kernel as the library's table holds it now: the declaration, and what became of it in Paddle."""

    registration: Registration = "not_mounted"
    refusal: str = ""
    """Why registration was refused: operator, expected and given signature."""
    for_other_paddle: bool = False
    """Refused, but it is what another supported release of Paddle wants; a refused kernel without this fits none."""


@dataclass(frozen=True)
class Interface:
    """What Paddle was given when it loaded a library."""

    slots: Mapping[str, int]
    """Slot of this release's ``C_DeviceInterface`` -> address of the function; 0 where the plugin leaves it empty."""
    queries_take_card: bool
    """Versions and ``get_compute_capability`` take ``(C_Device, size_t*)``; before Paddle 3.1 ``(size_t*)`` alone."""


class PluginLibrary:
    """A plugin's shared library, read through its exported ``adapter_sdk_plugin_table``. Needs no Paddle.

    Where Paddle has loaded the same file, even through a symbolic link, this is the same library in memory: call
    counters and states are live. Methods that take a ``card`` count from 0.

    Raises:
        LibraryUnusable: the file is missing, damaged, for another machine, fails to load, or has no usable table.
        ContractMismatch: the table follows another major version of the contract.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).resolve()
        check_shared_library(self.path)
        self._handle = _load(self.path)
        self._table = _read_table(self.path, self._handle)
        self._counters: CallCounters | None = None
        self.name = self._text("name")
        self.vendor = self._text("vendor")
        self.version = self._text("version")
        self.device_type = self._text("device_type")
        self.sub_device_type = self._text("sub_device_type", required=False)
        self.paddle_versions = self._text("paddle_versions")
        self.sdk_version = self._text("sdk_version")
        self.contract: tuple[int, int] = (self._table.contract_major, self._table.contract_minor)
        self.features = frozenset(name for name, bit in _table.FEATURES.items() if self._table.features & bit)
        """Of ``"async_streams"``, ``"host_unreadable"``, ``"collectives"`` and ``"profiler"``."""

    def __repr__(self) -> str:
        return f"PluginLibrary({str(self.path)!r})"

    @property
    def peaks(self) -> tuple[PeakThroughput, ...]:
        """Dense GEMM peak of one card, by dtype."""
        rows = [self._table.peaks[index] for index in range(self._table.n_peaks)]
        return tuple(PeakThroughput(self._dtype(row.dtype, "a peak"), row.tflops) for row in rows)

    @property
    def table_address(self) -> int:
        """Address of the exported table, for C code that wants to read it or to use its tools."""
        return ctypes.addressof(self._table)

    def card_count(self) -> int:
        """Cards of this machine. Raises DeviceError when the library cannot tell."""
        return self._not_negative("card_count()", self._table.card_count())

    def memory_bytes(self, card: int) -> int:
        """Memory of a card, in bytes. Raises DeviceError, e.g. for a card that does not exist."""
        return self._not_negative(f"memory_bytes({card})", self._table.memory_bytes(card))

    def allocated_bytes(self, card: int) -> int:
        """Bytes that the device itself has handed out on a card; not the statistics of Paddle's pool."""
        return self._not_negative(f"allocated_bytes({card})", self._tool("allocated_bytes")(card))

    def kernels(self) -> list[KernelRow]:
        """Every row of the table, read anew: registrations change when Paddle loads the library."""
        return [self._kernel(index, row) for index, row in enumerate(self._rows())]

    def calls(self) -> dict[str, tuple[int, int]]:
        """``"operator/dtype"`` -> (eager, static) calls since the library was loaded.

        Rows that differ only in signature count together. Kernels count on entry; synchronise first to know that they
        have ended.
        """
        counters = self.call_counters()
        return {
            key: (eager, static) for key, (eager, static) in zip(counters.keys, counters.read().tolist(), strict=True)
        }

    def call_counters(self) -> CallCounters:
        """The counters behind :meth:`calls`, for those who read them often."""
        if self._counters is None or self._counters.rows != self._table.kernel_count():
            self._counters = CallCounters([(_key(self._kernel(i, row)), row) for i, row in enumerate(self._rows())])
        return self._counters

    def collective_calls(self) -> dict[str, int]:
        """Collective operation (``"all_reduce"``, ``"send"``...) -> calls since the library was loaded.

        Counted on entry, as for kernels. Empty for a library that was built without collectives.
        """
        try:
            table = _table.CollectivesTableStruct.in_dll(self._handle, _table.COLLECTIVES_SYMBOL)
        except ValueError:  # it exports no such symbol
            return {}
        rows = (table.rows[index] for index in range(table.n_rows))
        return {_decoded(row.operation): int(row.calls) for row in rows}

    def interface(self) -> Interface:
        """The callbacks that Paddle was given. Without slots before the mount, and for a library built with an SDK that
        did not export them yet."""
        try:
            table = _table.InterfaceTableStruct.in_dll(self._handle, _table.INTERFACE_SYMBOL)
        except ValueError:  # it exports no such symbol
            return Interface({}, queries_take_card=True)
        rows = (table.rows[index] for index in range(table.n_rows))
        return Interface({_decoded(row.name): row.function or 0 for row in rows}, bool(table.queries_take_card))

    def mount_state(self) -> Registration:
        """Whether Paddle has loaded the library, and whether the library agreed to serve it."""
        return self._registration(self._table.mount_state(), "the mount")

    def mount_message(self) -> str:
        """A sentence on the mount, e.g. why the running Paddle was refused."""
        return _decoded(self._table.mount_message())

    def last_error(self) -> str:
        """Last error of the calling thread; empty when there was none."""
        return _decoded(self._table.last_error())

    def set_checks(self, poison: bool, canary: bool) -> None:
        """Switches the checks around each kernel call. Each costs a stream synchronisation a call.

        Args:
            poison: fill fresh outputs with 0xCB before the kernel runs.
            canary: over-allocate outputs, and see that the bytes behind them are intact afterwards.
        """
        mask = (_table.CHECK_POISON if poison else 0) | (_table.CHECK_CANARY if canary else 0)
        self._tool("set_checks")(mask)

    def set_interposer(self, function: int | None, user: int | None = None) -> None:
        """Installs a C function (address of an ``AdapterInterposer``) around every kernel, or removes it with None.

        The caller keeps function and ``user`` data alive until the interposer is removed.
        """
        self._tool("set_interposer")(function, user)

    def copy(self, card: int, kind: CopyKind, destination: int, source: int, size: int) -> None:
        """Copies ``size`` bytes between addresses, complete on return. Raises DeviceError."""
        self._succeeded(
            f"copy(card={card}, {kind.name}, {size} bytes)",
            self._tool("copy")(card, int(kind), destination, source, size),
        )

    def synchronize(self, card: int) -> None:
        """Waits for all streams of a card. Raises DeviceError with an error of earlier work, if there was one."""
        self._succeeded(f"synchronize({card})", self._tool("synchronize")(card))

    def _rows(self) -> list[_table.KernelRowStruct]:
        rows = []
        for index in range(self._table.kernel_count()):
            pointer = self._table.kernel_at(index)
            if not pointer or pointer.contents.struct_size < ctypes.sizeof(_table.KernelRowStruct):
                raise self._unusable(f"kernel row {index} is missing or too short")
            rows.append(pointer.contents)
        return rows

    def _kernel(self, index: int, row: _table.KernelRowStruct) -> KernelRow:
        where = f"kernel row {index} ({_decoded(row.operator_name)})"
        provenance = _table.PROVENANCES.get(row.provenance)
        if provenance is None:
            raise self._unusable(f"{where} has the unknown provenance {row.provenance}")
        return KernelRow(
            operator=_decoded(row.operator_name),
            dtype=self._dtype(row.dtype, where),
            signature=_decoded(row.signature),
            accumulator=self._dtype(row.accumulator, where) if row.accumulator else None,
            provenance=cast(Provenance, provenance),
            fused=bool(row.flags & _table.KERNEL_FUSED),
            registration=self._registration(row.registration, where),
            refusal=_decoded(row.refusal),
            for_other_paddle=bool(row.flags & _table.KERNEL_OTHER_PADDLE),
        )

    def _dtype(self, code: int, where: str) -> str:
        name = _table.DTYPE_NAMES.get(code)
        if name is None:
            raise self._unusable(f"{where} has the unknown dtype {code}")
        return name

    def _registration(self, code: int, where: str) -> Registration:
        name = _table.REGISTRATIONS.get(code)
        if name is None:
            raise self._unusable(f"{where} has the unknown state {code}")
        return cast(Registration, name)

    def _text(self, field: str, required: bool = True) -> str:
        text = _decoded(getattr(self._table, field))
        if required and not text:
            raise self._unusable(f"field {field!r} of its table is empty")
        return text

    def _tool(self, field: str) -> Callable[..., int]:
        function: Callable[..., int] | None = getattr(self._table, field)
        if not function:
            raise DeviceError(self.name, field, f"the library's table has no such function; {_REBUILD}")
        return function

    def _not_negative(self, call: str, value: int) -> int:
        if value < 0:
            raise DeviceError(self.name, call, self.last_error() or f"it returned {value}")
        return value

    def _succeeded(self, call: str, status: int) -> None:
        if status != 0:
            raise DeviceError(self.name, call, self.last_error() or f"it returned {status}")

    def _unusable(self, fault: str) -> LibraryUnusable:
        return LibraryUnusable(self.path, fault, _REBUILD)


class NativePlugin:
    """Implements every hook by reading a library's table, so that hooks and library cannot disagree.

    Args:
        library: the plugin's shared library; opened when the first hook is called.
        waivers: the one thing that a library does not carry.
    """

    def __init__(self, library: Path, waivers: Sequence[Waiver] = ()) -> None:
        self._path = Path(library)
        self._waivers = tuple(waivers)
        self._opened: PluginLibrary | None = None

    @classmethod
    def from_package(cls, package: str, waivers: Sequence[Waiver] = ()) -> NativePlugin:
        """The plugin whose library the distribution of ``package`` installed into ``paddle_custom_device/``.

        Raises:
            LibraryUnusable: there is no such library, or more than one.
        """
        return cls(find_library(package), waivers)

    def __repr__(self) -> str:
        return f"NativePlugin({str(self._path)!r})"

    @hookimpl
    def adapter_device(self) -> DeviceDescription:
        library = self._library()
        cards = library.card_count()
        return DeviceDescription(
            name=library.name,
            vendor=library.vendor,
            device_type=library.device_type,
            sub_device_type=library.sub_device_type,
            version=library.version,
            cards=cards,
            memory_bytes=tuple(library.memory_bytes(card) for card in range(cards)),
            paddle_versions=library.paddle_versions,
            contract=library.contract,
            peaks=library.peaks,
            library=library.path,
        )

    @hookimpl
    def adapter_memory(self) -> MemoryDescription:
        return MemoryDescription(host_readable="host_unreadable" not in self._library().features)

    @hookimpl
    def adapter_streams(self) -> StreamDescription:
        features = self._library().features
        return StreamDescription(asynchronous="async_streams" in features, profiled="profiler" in features)

    @hookimpl
    def adapter_kernels(self) -> Sequence[KernelDescription]:
        return [
            KernelDescription(row.operator, row.dtype, row.signature, row.accumulator, row.provenance, row.fused)
            for row in self._library().kernels()
        ]

    @hookimpl
    def adapter_kernel_supported(self, operator: str, dtype: str, attributes: Mapping[str, object]) -> bool:
        # The table declares kernels whole: it has no predicate on attributes.
        return f"{operator}/{dtype}" in self._library().call_counters()

    @hookimpl
    def adapter_fused_operators(self) -> Sequence[FusedOperatorDescription]:
        dtypes: dict[str, dict[str, None]] = {}
        for row in self._library().kernels():
            if row.fused:
                dtypes.setdefault(row.operator, {})[row.dtype] = None
        return [FusedOperatorDescription(operator, tuple(names)) for operator, names in dtypes.items()]

    @hookimpl
    def adapter_collectives(self) -> CollectivesDescription | None:
        return CollectivesDescription() if "collectives" in self._library().features else None

    @hookimpl
    def adapter_waivers(self) -> Sequence[Waiver]:
        return self._waivers

    def _library(self) -> PluginLibrary:
        if self._opened is None:
            self._opened = PluginLibrary(self._path)
        return self._opened


def _load(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise LibraryUnusable(
            path,
            f"the loader refuses it: {error}",
            "install what the loader misses; a plugin must load without Paddle, so resolve PD_ symbols at run time",
        ) from error


def _read_table(path: Path, handle: ctypes.CDLL) -> _table.PluginTableStruct:
    try:
        head = (ctypes.c_uint32 * 3).in_dll(handle, _table.SYMBOL)
    except ValueError as error:
        raise LibraryUnusable(
            path, f"exports no symbol {_table.SYMBOL}", "announce the plugin with ADAPTER_PLUGIN, and export the symbol"
        ) from error
    size, major, minor = head
    if major != CONTRACT_VERSION[0]:
        raise ContractMismatch(f"plugin library {path}", (major, minor), CONTRACT_VERSION)
    expected = ctypes.sizeof(_table.PluginTableStruct)
    if size < expected:
        raise LibraryUnusable(
            path, f"its table is {size} bytes, contract {major}.{minor} has at least {expected}", _REBUILD
        )
    table = _table.PluginTableStruct.in_dll(handle, _table.SYMBOL)
    missing = [field for field in _QUERIES if not getattr(table, field)]
    if missing:
        raise LibraryUnusable(path, f"its table lacks {', '.join(missing)}", _REBUILD)
    return table


def _decoded(text: bytes | None) -> str:
    return text.decode("utf-8", errors="replace") if text else ""


def _key(kernel: KernelDescription) -> str:
    return f"{kernel.operator}/{kernel.dtype}"
