"""What a session asks of a device's library, answered for one that has no table of the SDK's."""

from __future__ import annotations

from pathlib import Path

from adapter_conform.bare.counting import KernelCounters
from adapter_conform.bare.description import Description
from adapter_conform.bare.places import copy_bytes
from adapter_conform.errors import ConformError
from adapter_conform.runtime.errors import NotApplicable
from adapter_sdk._kernel_factory import KernelFactory
from adapter_sdk.native import CopyKind, Interface, KernelRow

__all__ = ["BareLibrary"]


class BareLibrary:
    """Stands where a plugin has its :class:`adapter_sdk.PluginLibrary`, once Paddle has loaded the bare one."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.description = description
        self.device_type = description.device_type
        self.features: frozenset[str] = frozenset()
        """None is claimed, since there is nobody to claim it."""
        callable_kernels = [(kernel.operator, kernel.dtype) for kernel in description.kernels]
        self._counters = KernelCounters(KernelFactory(), self.device_type, callable_kernels)

    def kernels(self) -> list[KernelRow]:
        """What Paddle's registry holds; a kernel that does not fit this Paddle counts as refused."""
        misfits = self.description.misfits
        return [
            KernelRow(
                kernel.operator,
                kernel.dtype,
                kernel.signature,
                registration="refused" if (kernel.operator, kernel.dtype) in misfits else "registered",
                refusal=misfits.get((kernel.operator, kernel.dtype), ""),
            )
            for kernel in self.description.kernels
        ]

    def call_counters(self) -> KernelCounters:
        return self._counters

    def calls(self) -> dict[str, tuple[int, int]]:
        """``"operator/dtype"`` -> (eager, static) calls since the session was opened."""
        pairs = zip(self._counters.keys, self._counters.read().tolist(), strict=True)
        return {key: (eager, static) for key, (eager, static) in pairs}

    def card_count(self) -> int:
        return len(self.description.memory_bytes)

    def memory_bytes(self, card: int) -> int:
        """As the device's own ``device_memory_stats`` says."""
        return self.description.memory_bytes[card]

    def allocated_bytes(self, card: int) -> int:
        raise NotApplicable(
            f"only a plugin's table says what the device itself has handed out on card {card}; this library has none"
        )

    def set_checks(self, poison: bool, canary: bool) -> None:
        """Nothing: outputs are poisoned and fenced by the SDK's part of a kernel, which these do not have."""

    def set_interposer(self, function: int | None, user: int | None = None) -> None:
        raise NotApplicable("an interposer goes into the SDK's part of a kernel, which this library's do not have")

    def interface(self) -> Interface:
        raise NotApplicable("only a library built on the SDK tells which callbacks it gave to Paddle")

    def collective_calls(self) -> dict[str, int]:
        return {}

    @property
    def table_address(self) -> int:
        raise ConformError("a tool around kernels needs a plugin's exported table, which a bare library does not have")

    def copy(self, card: int, kind: CopyKind, destination: int, source: int, size: int) -> None:
        """Copies between raw addresses through the device's own callbacks, complete on return."""
        place, host = (self.device_type, card), ("cpu", 0)
        origin = host if kind is CopyKind.HOST_TO_DEVICE else place
        target = host if kind is CopyKind.DEVICE_TO_HOST else place
        copy_bytes(target, destination, origin, source, size)
