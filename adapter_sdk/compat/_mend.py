"""One place in Paddle that goes by a device's name, and what is put there instead."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adapter_sdk.versions import SUPPORTED_PADDLE

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["Applied", "Mend", "TableMend"]

_MARK = "_adapter_sdk_device_types"


@dataclass(frozen=True)
class Applied:
    """A mend that took place."""

    name: str
    reason: str
    undo: Callable[[], None]


def _missing(place: str, reason: str, what: str) -> RuntimeError:
    advice = "import paddle first" if "paddle" not in sys.modules else f"this release of Paddle has no such {what}"
    return RuntimeError(f"cannot mend {place} ({reason}): {advice}")


@dataclass(frozen=True)
class Mend:
    """Replaces the function ``attribute`` of the Paddle module ``module`` for a plugin's device type.

    ``replacement`` takes the plugin and Paddle's own function, and returns the new one.
    """

    name: str
    reason: str
    module: str
    attribute: str
    wanted: Callable[[LoadedPlugin], bool]
    replacement: Callable[[LoadedPlugin, Callable[..., Any]], Callable[..., Any]]
    releases: str = SUPPORTED_PADDLE
    """Of Paddle, which have such a place; elsewhere nothing is done."""

    def target(self) -> ModuleType:
        """The Paddle module that holds the function.

        Raises:
            RuntimeError: it is not imported, or has no such function.
        """
        module = sys.modules.get(self.module)
        if module is None or not callable(getattr(module, self.attribute, None)):
            raise _missing(f"{self.module}.{self.attribute}", self.reason, "function")
        return module

    def apply(self, plugin: LoadedPlugin) -> Applied | None:
        """Puts the replacement in place; ``None`` where it already is, for this device type."""
        device_type = plugin.device.device_type
        module = self.target()
        original = getattr(module, self.attribute)
        known: frozenset[str] = getattr(original, _MARK, frozenset())
        if device_type in known:
            return None
        function = self.replacement(plugin, original)
        setattr(function, _MARK, known | {device_type})
        setattr(module, self.attribute, function)
        return Applied(self.name, self.reason, lambda: setattr(module, self.attribute, original))


@dataclass(frozen=True)
class TableMend:
    """Sets one entry of the table ``attribute`` (a dict) in the Paddle module ``module``.

    ``entry`` takes the module and returns the key and the value that a device wants there.
    """

    name: str
    reason: str
    module: str
    attribute: str
    wanted: Callable[[LoadedPlugin], bool]
    entry: Callable[[ModuleType], tuple[Any, Any]]
    releases: str = SUPPORTED_PADDLE
    """Of Paddle, which have such a place; elsewhere nothing is done."""

    def apply(self, plugin: LoadedPlugin) -> Applied | None:
        """Sets the entry; ``None`` where it is set already.

        Raises:
            RuntimeError: Paddle is not imported, or has no such table or entry.
        """
        module = sys.modules.get(self.module)
        table = getattr(module, self.attribute, None)
        if module is None or not isinstance(table, dict):
            raise _missing(f"{self.module}.{self.attribute}", self.reason, "table")
        key, value = self.entry(module)
        if key not in table:
            raise _missing(f"{self.module}.{self.attribute}[{key}]", self.reason, "entry")
        before = table[key]
        if before == value:
            return None
        table[key] = value
        return Applied(self.name, self.reason, lambda: table.__setitem__(key, before))
