"""What a worker holds while it runs cases: the mounted plugin, Paddle, and the proof that a kernel ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING

from adapter_conform.reference import OperatorPack, named_pack

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin
    from adapter_sdk.native import PluginLibrary

__all__ = ["KernelCalls", "Session", "open_session"]


@dataclass
class KernelCalls:
    """Calls of the plugin's own kernels within a ``with session.watch()`` block, keyed ``"operator/dtype"``."""

    eager: dict[str, int] = field(default_factory=dict)
    static: dict[str, int] = field(default_factory=dict)

    def total(self) -> dict[str, int]:
        keys = self.eager.keys() | self.static.keys()
        return {key: self.eager.get(key, 0) + self.static.get(key, 0) for key in sorted(keys)}


@dataclass
class Session:
    plugin: LoadedPlugin
    library: PluginLibrary
    paddle: ModuleType
    device: str
    """``"refchip:0"``"""
    seed: int
    references: OperatorPack | None = None
    """Errors of a reference device, where a pack is present."""

    @contextmanager
    def watch(self) -> Iterator[KernelCalls]:
        """Counts the plugin's kernel calls inside the block; the device is synchronised at its end."""
        calls = KernelCalls()
        before = self.library.calls()
        try:
            yield calls
        finally:
            self.paddle.device.synchronize(self.device)
            after = self.library.calls()
            for key, (eager, static) in after.items():
                eager_before, static_before = before.get(key, (0, 0))
                if eager > eager_before:
                    calls.eager[key] = eager - eager_before
                if static > static_before:
                    calls.static[key] = static - static_before

    def is_registered(self, operator: str, dtype: str) -> bool:
        """Whether Paddle's own kernel registry holds ``operator`` for ``dtype`` on the plugin's device type."""
        return (operator, dtype) in self._registry

    @cached_property
    def _registry(self) -> set[tuple[str, str]]:
        return read_registry(self.paddle, self.device.split(":")[0])


def read_registry(paddle: ModuleType, device_type: str) -> set[tuple[str, str]]:
    """(operator, dtype) of every kernel that Paddle's registry holds for ``device_type``."""
    found = set()
    for operator, keys in paddle.base.core._get_registered_phi_kernels("all").items():
        for key in keys:  # e.g. "(refchip, Undefined(AnyLayout), float32)"
            backend, _layout, dtype = key.strip("()").split(", ")
            if backend == device_type:
                found.add((operator, dtype))
    return found


def open_session(plugin_name: str, seed: int, card: int = 0) -> Session:
    """Mounts the plugin alone, imports Paddle, turns CPU fallback off and selects the device.

    Raises:
        adapter_sdk.errors.AdapterError: the plugin is not usable here; the message says why and what to do.
    """
    import adapter_sdk
    from adapter_sdk import compat
    from adapter_sdk.errors import MountError

    plugin = adapter_sdk.mount(plugin_name, exclusive=True)
    library = plugin.library
    if library is None:
        raise MountError(
            plugin_name,
            "it has no native library, so that its kernel calls cannot be counted",
            "build the plugin on the SDK's native layer: a verdict needs proof of execution",
        )
    import paddle

    plugin.confirm_mounted()
    compat.apply(plugin)
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    device = f"{plugin.device.device_type}:{card}"
    paddle.set_device(device)
    return Session(plugin, library, paddle, device, seed, references=named_pack())
