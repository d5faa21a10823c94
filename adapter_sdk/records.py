"""The records that hooks exchange. Immutable, checked when built; plain data without Paddle.

A wrong value raises :class:`adapter_sdk.errors.RecordInvalid`, which names record, field and fault.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from adapter_sdk.dtypes import DTYPES
from adapter_sdk.errors import RecordInvalid, did_you_mean
from adapter_sdk.versions import check_specifier

__all__ = [
    "PADDLE_PLACES",
    "CollectivesDescription",
    "DeviceDescription",
    "FusedOperatorDescription",
    "KernelDescription",
    "MemoryDescription",
    "MemoryFunctions",
    "PeakThroughput",
    "Provenance",
    "StreamDescription",
    "StreamFunctions",
    "Waiver",
]

Provenance = Literal["own", "reference"]
"""Who wrote a kernel: ``"own"`` the vendor, ``"reference"`` the SDK's host implementation standing in for it."""

PADDLE_PLACES = ("cpu", "gpu", "xpu", "ipu")
_COLLECTIVES = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "broadcast",
    "reduce",
    "all_to_all",
    "scatter",
    "gather",
    "send",
    "recv",
    "barrier",
)


@dataclass(frozen=True)
class PeakThroughput:
    """What one card can do at best, by dtype."""

    dtype: str
    tflops: float
    """Dense matrix products of this dtype, 10^12 floating point operations per second."""

    def __post_init__(self) -> None:
        _check_dtype(self, "dtype", self.dtype)
        if not _is_number(self.tflops) or not math.isfinite(self.tflops) or self.tflops <= 0:
            raise _invalid(self, "tflops", f"must be a finite number above 0, is {self.tflops!r}")


@dataclass(frozen=True)
class DeviceDescription:
    """What the device is, and for whom the plugin was built."""

    name: str
    """Name of the plugin; equals the name of its entry point."""
    vendor: str
    device_type: str
    """As in ``paddle.set_device("refchip:0")``: lower case letters, digits and underscores."""
    version: str
    """Of the plugin."""
    cards: int
    """Cards that this machine offers now; 0 makes the plugin unusable here."""
    memory_bytes: tuple[int, ...]
    """Memory of each card, in bytes; one entry a card."""
    paddle_versions: str
    """Supported Paddle releases as a PEP 440 specifier, e.g. ``">=3.0,<3.4"``."""
    contract: tuple[int, int]
    """(major, minor) of the contract that the plugin was written for."""
    peaks: tuple[PeakThroughput, ...] = ()
    """At most one entry a dtype."""
    library: Path | None = None
    """Native library that Paddle is to load; None for a plugin written in Python."""
    sub_device_type: str = ""
    """Model of the chip, for Paddle's own bookkeeping; may be empty."""

    def __post_init__(self) -> None:
        _check_name(self, "name", self.name, r"[a-z][a-z0-9_-]*")
        _check_text(self, "vendor", self.vendor)
        _check_name(self, "device_type", self.device_type, r"[a-z][a-z0-9_]*")
        if self.device_type in PADDLE_PLACES:
            raise _invalid(self, "device_type", f"must not be {self.device_type!r}, which is a place of Paddle's own")
        _check_text(self, "version", self.version)
        _check_natural(self, "cards", self.cards)
        self._check_memory()
        self._check_versions()
        self._check_peaks()
        if self.library is not None and not isinstance(self.library, Path):
            raise _invalid(self, "library", f"must be a pathlib.Path or None, is {self.library!r}")

    def _check_memory(self) -> None:
        _check_tuple(self, "memory_bytes", self.memory_bytes, int)
        if len(self.memory_bytes) != self.cards:
            raise _invalid(
                self, "memory_bytes", f"must have one entry a card: {len(self.memory_bytes)} for {self.cards} cards"
            )
        for card, size in enumerate(self.memory_bytes):
            if size <= 0:
                raise _invalid(self, "memory_bytes", f"must be above 0, is {size} for card {card}")

    def _check_versions(self) -> None:
        _check_text(self, "paddle_versions", self.paddle_versions)
        try:
            check_specifier(self.paddle_versions)
        except ValueError as error:
            raise _invalid(self, "paddle_versions", f"is no specifier: {error}") from error
        _check_tuple(self, "contract", self.contract, int)
        if len(self.contract) != 2:
            raise _invalid(self, "contract", f"must be (major, minor), is {self.contract!r}")

    def _check_peaks(self) -> None:
        _check_tuple(self, "peaks", self.peaks, PeakThroughput)
        dtypes = [peak.dtype for peak in self.peaks]
        if len(set(dtypes)) != len(dtypes):
            raise _invalid(self, "peaks", f"must name each dtype once, names {', '.join(dtypes)}")


@dataclass(frozen=True)
class MemoryFunctions:
    """Device memory of a plugin written in Python. The functions are called from any thread, and may raise.

    A piece of memory is a writable or read-only NumPy array of uint8 that views it, or, where the host cannot read
    device memory, an :class:`adapter_sdk.bridge.DeviceTensor`. Both are good during the call alone.
    """

    allocate: Callable[[int, int], int]
    """``allocate(card, size)``: address of a region of ``size`` bytes. Called once for each card, with its whole
    memory: the pieces that Paddle asks for are cut from it, because Paddle asks where no Python code may run."""
    copy: Callable[[int, int, Any, Any], object]
    """``copy(card, kind, destination, source)``, complete on return; ``kind`` is a :class:`adapter_sdk.native.CopyKind`
    and the two have one size."""
    fill: Callable[[int, Any, int], object]
    """``fill(card, destination, value)`` sets every byte, complete on return."""

    def __post_init__(self) -> None:
        _check_functions(self)


@dataclass(frozen=True)
class StreamFunctions:
    """Streams and events of a plugin written in Python, whose kernels may still run when they have returned.

    A stream is what ``create`` returns, an event what ``record`` returns; any object will do for both.
    """

    create: Callable[[int], object]
    """``create(card)``: a new stream."""
    destroy: Callable[[int, Any], object]
    """``destroy(card, stream)`` finishes pending work first."""
    synchronize: Callable[[int, Any], object]
    """``synchronize(card, stream)`` waits, and raises an error of earlier work on the stream."""
    done: Callable[[int, Any], bool]
    """``done(card, stream)``: whether nothing is pending."""
    record: Callable[[int, Any], object]
    """``record(card, stream)``: an event for all work that is on the stream by now."""
    wait: Callable[[int, Any, Any], object]
    """``wait(card, stream, event)``: work that is given to the stream later starts after the event."""
    event_done: Callable[[Any], bool]
    """``event_done(event)``."""
    synchronize_event: Callable[[Any], object]
    """``synchronize_event(event)`` waits."""
    call: Callable[[int, Any, Callable[[], None]], object]
    """``call(card, stream, function)`` calls ``function()`` after all work that is on the stream by now."""

    def __post_init__(self) -> None:
        _check_functions(self)


@dataclass(frozen=True)
class MemoryDescription:
    """What the plugin promises about device memory; the runtime suite checks each promise that is made."""

    host_readable: bool
    """Whether host code may dereference a device address. False: such an access faults."""
    min_chunk_bytes: int | None = None
    """Smallest unit handed out, in bytes; None makes no promise."""
    alignment_bytes: int | None = None
    """Every address is a multiple of this power of two; None makes no promise."""
    functions: MemoryFunctions | None = None
    """Required of a plugin written in Python; None for a native one. Since contract 1.1."""

    def __post_init__(self) -> None:
        _check_flag(self, "host_readable", self.host_readable)
        _check_optional(self, "functions", self.functions, MemoryFunctions)
        for field, value in (("min_chunk_bytes", self.min_chunk_bytes), ("alignment_bytes", self.alignment_bytes)):
            if value is not None:
                _check_natural(self, field, value, least=1)
        if self.alignment_bytes is not None and self.alignment_bytes & (self.alignment_bytes - 1):
            raise _invalid(self, "alignment_bytes", f"must be a power of two, is {self.alignment_bytes}")


@dataclass(frozen=True)
class StreamDescription:
    """What the plugin promises about streams and events."""

    asynchronous: bool
    """Kernels may still run after the call that launched them has returned."""
    profiled: bool = False
    """Device activity shows up in Paddle's profiler: the SDK times it by callbacks on the streams."""
    functions: StreamFunctions | None = None
    """For a plugin written in Python; None where all work is done when a call returns. Since contract 1.1."""

    def __post_init__(self) -> None:
        _check_optional(self, "functions", self.functions, StreamFunctions)
        _check_flag(self, "asynchronous", self.asynchronous)
        _check_flag(self, "profiled", self.profiled)


@dataclass(frozen=True)
class KernelDescription:
    """One kernel: an operator for one dtype."""

    operator: str
    """Paddle's kernel name, e.g. ``"softmax_grad"``."""
    dtype: str
    """Dtype in the kernel's key, e.g. ``"float32"``."""
    signature: str
    """``"inputs|attributes|outputs"``, e.g. ``"Tensor,Tensor|bool,bool|Tensor"``."""
    accumulator: str | None = None
    """Dtype in which sums are held; None where nothing is summed. The numeric gates are derived from it."""
    provenance: Provenance = "own"
    fused: bool = False
    """Stands for a chain of operators, e.g. swiglu."""
    function: Callable[..., object] | None = None
    """The kernel of a plugin written in Python, None for a native one. Called as ``function(context, *inputs,
    *attributes, *outputs)`` in the signature's order; see ``docs/python-plugins.md``. Since contract 1.1."""

    def __post_init__(self) -> None:
        _check_name(self, "operator", self.operator, r"[A-Za-z_][A-Za-z0-9_]*")
        _check_dtype(self, "dtype", self.dtype)
        if not isinstance(self.signature, str) or self.signature.count("|") != 2:
            raise _invalid(self, "signature", f"must read 'inputs|attributes|outputs', is {self.signature!r}")
        if self.accumulator is not None:
            _check_dtype(self, "accumulator", self.accumulator)
        if self.provenance not in ("own", "reference"):
            raise _invalid(self, "provenance", f"must be 'own' or 'reference', is {self.provenance!r}")
        _check_flag(self, "fused", self.fused)
        if self.function is not None and not callable(self.function):
            raise _invalid(self, "function", f"must be callable or None, is {self.function!r}")


@dataclass(frozen=True)
class CollectivesDescription:
    """Collectives between the cards of this device."""

    operations: tuple[str, ...] = ()
    """Those offered, e.g. ``("all_reduce", "broadcast")``; empty says all that Paddle's communicator asks for."""

    def __post_init__(self) -> None:
        _check_tuple(self, "operations", self.operations, str)
        for operation in self.operations:
            if operation not in _COLLECTIVES:
                raise _invalid(
                    self,
                    "operations",
                    f"holds the unknown {operation!r}{did_you_mean(operation, _COLLECTIVES)} "
                    f"(known: {', '.join(_COLLECTIVES)})",
                )


@dataclass(frozen=True)
class FusedOperatorDescription:
    """A fused operator that the plugin brings."""

    operator: str
    """Paddle's kernel name, e.g. ``"swiglu"``; a kernel with ``fused`` set must exist for it in each dtype."""
    dtypes: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_name(self, "operator", self.operator, r"[A-Za-z_][A-Za-z0-9_]*")
        _check_tuple(self, "dtypes", self.dtypes, str)
        if not self.dtypes:
            raise _invalid(self, "dtypes", "must name at least one dtype")
        for dtype in self.dtypes:
            _check_dtype(self, "dtypes", dtype)


@dataclass(frozen=True)
class Waiver:
    """A known failure that the vendor owns up to. It is printed on every report, and ends on a day."""

    operator: str
    dtype: str
    reason: str
    link: str
    """Public http(s) address of the defect."""
    expires: datetime.date
    """Last day on which the waiver holds."""

    def __post_init__(self) -> None:
        _check_name(self, "operator", self.operator, r"[A-Za-z_][A-Za-z0-9_]*")
        _check_dtype(self, "dtype", self.dtype)
        _check_text(self, "reason", self.reason)
        if not isinstance(self.link, str) or not re.fullmatch(r"https?://[^\s/]+\S*", self.link):
            raise _invalid(self, "link", f"must be an http(s) address, is {self.link!r}")
        if not isinstance(self.expires, datetime.date) or isinstance(self.expires, datetime.datetime):
            raise _invalid(self, "expires", f"must be a datetime.date, is {self.expires!r}")

    def covers(self, operator: str, dtype: str, on: datetime.date) -> bool:
        """Whether the waiver holds for this kernel on the day ``on``."""
        return (operator, dtype) == (self.operator, self.dtype) and on <= self.expires


def _invalid(record: object, field: str, fault: str) -> RecordInvalid:
    return RecordInvalid(type(record).__name__, field, fault)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_text(record: object, field: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _invalid(record, field, f"must be a non-empty string, is {value!r}")


def _check_name(record: object, field: str, value: object, pattern: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _invalid(record, field, f"must match {pattern}, is {value!r}")


def _check_dtype(record: object, field: str, value: object) -> None:
    if value not in DTYPES:
        hint = did_you_mean(value, DTYPES) if isinstance(value, str) else ""
        raise _invalid(record, field, f"must be a dtype, is {value!r}{hint} (known: {', '.join(DTYPES)})")


def _check_flag(record: object, field: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _invalid(record, field, f"must be True or False, is {value!r}")


def _check_functions(record: MemoryFunctions | StreamFunctions) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if not callable(value):
            raise _invalid(record, field.name, f"must be callable, is {value!r}")


def _check_optional(record: object, field: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise _invalid(record, field, f"must be a {kind.__name__} or None, is {value!r}")


def _check_natural(record: object, field: str, value: object, least: int = 0) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _invalid(record, field, f"must be a whole number from {least}, is {value!r}")


def _check_tuple(record: object, field: str, value: object, element: type) -> None:
    if not isinstance(value, tuple) or not all(isinstance(item, element) for item in value):
        raise _invalid(record, field, f"must be a tuple of {element.__name__}, is {value!r}")
