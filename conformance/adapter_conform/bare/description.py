"""What Paddle says of a bare device: its cards and its kernels, and how the kernels' signatures fit this Paddle.

``python -m adapter_conform.bare.description LIBRARY FILE`` loads the library into a Paddle of its own and writes the
answer to FILE, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapter_sdk._kernel_factory import KernelFactory

__all__ = ["BareKernel", "Description", "describe", "main"]

_OF_PADDLE = ("CUSTOM", "CPU")
"""Backends whose registrations tell with what arguments Paddle calls a kernel on a custom device."""


@dataclass(frozen=True)
class BareKernel:
    """A kernel that Paddle holds for the device."""

    operator: str
    dtype: str
    signature: str
    accepted: tuple[str, ...] = ()
    """The signatures with which this Paddle may call it; none where Paddle itself has no such kernel and no table of
    signatures knows it."""
    other_releases: tuple[str, ...] = ()
    """Known releases of Paddle whose signature it has, where it does not fit this one."""
    eager: bool = True
    """Whether it has a function for eager mode."""

    def misfit(self, paddle: str) -> str:
        """Why Paddle cannot call it; empty when it can."""
        if self.accepted and self.signature not in self.accepted:
            fits = f"; it fits Paddle {', '.join(self.other_releases)}" if self.other_releases else ""
            wanted = " or ".join(self.accepted)
            return f"its signature is {self.signature}, Paddle {paddle} calls it with {wanted}{fits}"
        return "" if self.eager else "it has no function for eager mode, and Paddle calls it all the same"


@dataclass(frozen=True)
class Description:
    """A device type as the running Paddle has it."""

    device_type: str
    paddle: str
    memory_bytes: tuple[int, ...]
    """A number a card: what the device says it has in all."""
    kernels: tuple[BareKernel, ...]

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Description:
        rows = []
        for row in data["kernels"]:
            lists = {name: tuple(row[name]) for name in ("accepted", "other_releases")}
            rows.append(BareKernel(**{**row, **lists}))
        return cls(data["device_type"], data["paddle"], tuple(data["memory_bytes"]), tuple(rows))

    @cached_property
    def misfits(self) -> dict[tuple[str, str], str]:
        """(operator, dtype) -> why Paddle cannot call it."""
        return {(kernel.operator, kernel.dtype): why for kernel in self.kernels if (why := kernel.misfit(self.paddle))}

    @property
    def unknown(self) -> list[str]:
        """Operators whose signature nothing here knows."""
        return sorted({kernel.operator for kernel in self.kernels if not kernel.accepted})


def describe(paddle: Any, device_type: str) -> Description:
    """What the Paddle of this process says of a device type that it offers.

    Raises:
        adapter_sdk._kernel_factory.FactoryError: this Paddle's registry cannot be read.
    """
    from adapter_conform.bare.places import memory_of
    from adapter_sdk._kernel_factory import KernelFactory

    cards = int(paddle.base.core.get_custom_device_count(device_type))
    version = str(paddle.version.full_version)
    kernels = _kernels(KernelFactory(), device_type, version)
    memory = tuple(memory_of(paddle, device_type, card) for card in range(cards))
    return Description(device_type, version, memory, tuple(kernels))


def _kernels(factory: KernelFactory, device_type: str, paddle: str) -> list[BareKernel]:
    from adapter_sdk._kernel_factory import pointer
    from adapter_sdk.dtypes import DTYPE_CODES

    found: dict[tuple[str, str], BareKernel] = {}
    for operator, rows in factory.registrations().items():
        own = [row for row in rows if row.key[0] == device_type]
        if not own:
            continue
        wanted = {str(factory.signature(operator, row)) for row in rows if row.key[0] in _OF_PADDLE}
        wanted = wanted or _tabled(paddle, operator)
        for row in own:
            dtype = row.key[2]
            if dtype not in DTYPE_CODES or (operator, dtype) in found:
                continue  # kernels for any dtype (feed, print...), and those of a second memory layout
            signature = str(factory.signature(operator, row))
            misfit = bool(wanted) and signature not in wanted
            found[operator, dtype] = BareKernel(
                operator,
                dtype,
                signature,
                tuple(sorted(wanted)),
                _releases(operator, signature) if misfit else (),
                bool(pointer(factory.find(operator, row.key) + factory.VARIADIC)),
            )
    return [found[key] for key in sorted(found)]


def _tabled(paddle: str, operator: str) -> set[str]:
    """From the SDK's tables, for kernels that this Paddle calls but does not carry itself (flash_attn...)."""
    from adapter_sdk._signatures import find_signature, known_releases

    release = next((known for known in known_releases() if ".".join(map(str, known)) == paddle), None)
    signature = None if release is None else find_signature(release, operator)
    return set() if signature is None else {_as_printed(signature)}


def _releases(operator: str, signature: str) -> tuple[str, ...]:
    from adapter_sdk._signatures import find_signature, known_releases

    return tuple(
        ".".join(map(str, release))
        for release in known_releases()
        if _as_printed(find_signature(release, operator) or "") == signature
    )


def _as_printed(signature: str) -> str:
    return signature.replace("DType", "DataType")


def _all_types(library: Path) -> dict[str, Any]:
    """What a Paddle says that has loaded ``library`` alone."""
    from adapter_conform.bare.showing import shown_alone

    try:
        with shown_alone(library):
            import paddle
    except ValueError as error:  # Paddle's own word for a library that the loader refuses
        return {"reason": " ".join(str(error).split()), "types": {}}
    offered = list(paddle.device.get_all_custom_device_type())
    reason = "" if offered else _why_nothing(library)
    return {"reason": reason, "types": {kind: asdict(describe(paddle, kind)) for kind in offered}}


def _why_nothing(library: Path) -> str:
    """Why Paddle, by now in this process, took nothing from the library."""
    try:
        handle = ctypes.CDLL(str(library), mode=os.RTLD_NOW)
    except OSError as error:
        return f"the loader refuses it: {error}"
    if not hasattr(handle, "InitPlugin"):
        return "it exports no InitPlugin, so that Paddle skips it"
    return "its InitPlugin offered no device"


def main() -> NoReturn:
    answer = _all_types(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
