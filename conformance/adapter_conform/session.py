"""What a worker holds while it runs cases: the mounted plugin, Paddle, and the proof that a kernel ran."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from adapter_conform.bare.target import Target
from adapter_conform.reference import OperatorPack, named_pack

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin
    from adapter_sdk.native import CopyKind, Interface, KernelRow

__all__ = ["DeviceLibrary", "KernelCalls", "Session", "open_session"]


class DeviceLibrary(Protocol):
    """What a session asks of a device's library: a plugin's :class:`adapter_sdk.PluginLibrary`, or what stands in its
    place for a bare device, :class:`adapter_conform.bare.library.BareLibrary`."""

    device_type: str
    features: frozenset[str]

    def kernels(self) -> list[KernelRow]: ...
    def call_counters(self) -> Any: ...
    def calls(self) -> dict[str, tuple[int, int]]: ...
    def collective_calls(self) -> dict[str, int]: ...
    def interface(self) -> Interface: ...
    def card_count(self) -> int: ...
    def memory_bytes(self, card: int) -> int: ...
    def allocated_bytes(self, card: int) -> int: ...
    def set_checks(self, poison: bool, canary: bool) -> None: ...
    def set_interposer(self, function: int | None, user: int | None = None) -> None: ...
    def copy(self, card: int, kind: CopyKind, destination: int, source: int, size: int) -> None: ...

    @property
    def table_address(self) -> int: ...


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
    library: DeviceLibrary
    paddle: ModuleType
    device: str
    """``"refchip:0"``"""
    seed: int
    references: OperatorPack | None = None
    """Errors of a reference device, where a pack is present."""
    target: str = ""
    """What :func:`open_session` was given, for processes that are to open the same."""
    unusable: frozenset[tuple[str, str]] = frozenset()
    """(operator, dtype) of kernels that Paddle holds, but cannot call: those of a bare device that do not fit."""
    _built_graphs: bool = field(default=False, repr=False)

    @contextmanager
    def watch(self) -> Iterator[KernelCalls]:
        """Counts the plugin's kernel calls inside the block; the device is synchronised at its end."""
        calls = KernelCalls()
        counters = self.library.call_counters()
        before = counters.read()
        try:
            yield calls
        except BaseException:
            self._built_graphs = True  # it may have been at it
            raise
        finally:
            self.paddle.device.synchronize(self.device)
            risen = counters.read() - before
            for place in risen.any(axis=1).nonzero()[0]:
                eager, static = (int(count) for count in risen[place])
                if eager > 0:
                    calls.eager[counters.keys[place]] = eager
                if static > 0:
                    self._built_graphs = True
                    calls.static[counters.keys[place]] = static

    def tidy_up(self) -> None:
        """Called between cases. Frees the static graphs of the last one.

        Paddle's graphs are cyclic garbage once a case is over, tied to C++ objects that other graphs of the process may
        meet. Left to Python, they were collected in the midst of building a later graph, or never; both were followed,
        now and then, by a crash inside Paddle's own pir::Value (seen with 3.3.1).
        """
        if self._built_graphs:
            self._built_graphs = False
            gc.collect()

    def check_health(self) -> None:
        """Returns when the device takes memory, copies to and fro, and has no error pending. Runs no kernel.

        Raises:
            RuntimeError: what came back is not what was sent.
            Exception: whatever Paddle or the plugin raises.
        """
        sent = np.arange(1024, dtype=np.int32) ^ 0x5A5A5A5A
        tensor = self.paddle.to_tensor(sent, place=self.device)
        self.paddle.device.synchronize(self.device)
        found = tensor.numpy()
        wrong = int(np.count_nonzero(found != sent)) if found.shape == sent.shape else sent.size
        if wrong:
            raise RuntimeError(f"{wrong} of {sent.size} numbers came back from {self.device} changed")

    def is_registered(self, operator: str, dtype: str) -> bool:
        """Whether Paddle's own kernel registry holds ``operator`` for ``dtype`` on the plugin's device type."""
        return (operator, dtype) in self._registry and (operator, dtype) not in self.unusable

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

    ``plugin_name`` may also be the text of a :class:`Target` that is a bare device.

    Raises:
        adapter_sdk.errors.AdapterError: the plugin is not usable here; the message says why and what to do.
        ConformError: the same of a bare device.
    """
    target = Target.of(plugin_name)
    if target.library is not None:
        from adapter_conform.bare.session import open_bare_session

        return open_bare_session(target, seed, card)
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
    return Session(plugin, library, paddle, device, seed, references=named_pack(), target=plugin_name)
