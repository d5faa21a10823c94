"""Everything that goes wrong in the SDK is an :class:`AdapterError`.

::

    AdapterError
    |-- RecordInvalid       a description holds a value that it must not hold (also a ValueError)
    |-- PluginNotFound      no plugin of that name is installed (also a LookupError)
    |-- PluginInvalid       a plugin breaks the contract of a hook
    |-- PluginCrashes       loading a plugin ends the process that loads it
    |-- LibraryUnusable     a plugin's shared library cannot be loaded or carries no usable table
    |-- ContractMismatch    library or plugin was written for another contract than this SDK's
    |-- PaddleMismatch      the installed Paddle is outside the range that the plugin supports
    |-- MountError          the plugin could not be made visible to ``import paddle``
    `-- DeviceError         a call into the plugin's library failed

Each message says what failed, where, why and what to do. The arguments of an exception are kept as attributes, and
exceptions survive pickling, since workers send them to their supervisor.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AdapterError",
    "ContractMismatch",
    "DeviceError",
    "LibraryUnusable",
    "MountError",
    "PaddleMismatch",
    "PluginCrashes",
    "PluginInvalid",
    "PluginNotFound",
    "RecordInvalid",
    "did_you_mean",
]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'refchip'?"``, or an empty string when nothing in ``known`` resembles ``name``."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


class AdapterError(Exception):
    """Base of all errors of the SDK."""


class RecordInvalid(AdapterError, ValueError):
    """A description was built with a value that it must not hold."""

    def __init__(self, record: str, field: str, fault: str) -> None:
        super().__init__(record, field, fault)
        self.record = record
        self.field = field
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.record}.{self.field} {self.fault}"


class PluginCrashes(AdapterError):
    """Loading the plugin ends the process that loads it, or never comes back."""

    def __init__(self, plugin: str, fault: str) -> None:
        super().__init__(plugin, fault)
        self.plugin = plugin
        self.fault = fault

    def __str__(self) -> str:
        return f"loading plugin {self.plugin!r} {self.fault}\n  remedy: mend its import, hooks or library table"


class PluginNotFound(AdapterError, LookupError):
    """No installed distribution offers a plugin of that name."""

    def __init__(self, name: str, installed: tuple[str, ...]) -> None:
        super().__init__(name, installed)
        self.name = name
        self.installed = installed

    def __str__(self) -> str:
        if not self.installed:
            return (
                f"no plugin named {self.name!r}: no adapter_sdk plugin is installed in this Python environment\n"
                "  remedy: install the plugin's wheel here, then run `adapter-sdk devices`"
            )
        return (
            f"no plugin named {self.name!r}{did_you_mean(self.name, self.installed)}\n"
            f"  installed: {', '.join(self.installed)}"
        )


class PluginInvalid(AdapterError):
    """A plugin does not keep the contract. ``hook`` and ``signature`` are empty where no single hook is at fault."""

    def __init__(self, plugin: str, hook: str, signature: str, fault: str, remedy: str = "") -> None:
        super().__init__(plugin, hook, signature, fault, remedy)
        self.plugin = plugin
        self.hook = hook
        self.signature = signature
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        facts = {"hook": self.hook, "signature": self.signature, "fault": self.fault, "remedy": self.remedy}
        lines = [f"plugin {self.plugin!r} does not keep the contract"]
        lines += [f"  {label + ':':<10} {_indented(text)}" for label, text in facts.items() if text]
        return "\n".join(lines)


class LibraryUnusable(AdapterError):
    """A plugin's shared library is missing, damaged, for another machine, or exports no usable table."""

    def __init__(self, path: Path, fault: str, remedy: str) -> None:
        super().__init__(path, fault, remedy)
        self.path = path
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"plugin library {self.path} is not usable\n  fault:  {self.fault}\n  remedy: {self.remedy}"


class ContractMismatch(AdapterError):
    """Plugin and SDK speak different major versions of the contract."""

    def __init__(self, plugin: str, plugin_contract: tuple[int, int], sdk_contract: tuple[int, int]) -> None:
        super().__init__(plugin, plugin_contract, sdk_contract)
        self.plugin = plugin
        self.plugin_contract = plugin_contract
        self.sdk_contract = sdk_contract

    def __str__(self) -> str:
        older = "the plugin" if self.plugin_contract < self.sdk_contract else "adapter-sdk"
        return (
            f"{self.plugin} was built for contract {_dotted(self.plugin_contract)}, "
            f"this adapter-sdk reads contract {_dotted(self.sdk_contract)}\n"
            f"  remedy: upgrade {older}; the major numbers must be equal"
        )


class PaddleMismatch(AdapterError):
    """The installed Paddle is outside the range that a plugin declares."""

    def __init__(self, plugin: str, installed: str, supported: str) -> None:
        super().__init__(plugin, installed, supported)
        self.plugin = plugin
        self.installed = installed
        self.supported = supported

    def __str__(self) -> str:
        return (
            f"plugin {self.plugin!r} supports paddlepaddle {self.supported}, installed is {self.installed}\n"
            f"  remedy: pip install 'paddlepaddle{self.supported}', or a release of the plugin for {self.installed}"
        )


class MountError(AdapterError):
    """The plugin could not be made visible to ``import paddle``, or Paddle refused it."""

    def __init__(self, plugin: str, fault: str, remedy: str) -> None:
        super().__init__(plugin, fault, remedy)
        self.plugin = plugin
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} is not mounted: {self.fault}\n  remedy: {self.remedy}"


class DeviceError(AdapterError):
    """A function of the plugin's table reported an error; ``reason`` is what the library's last_error() said."""

    def __init__(self, plugin: str, call: str, reason: str) -> None:
        super().__init__(plugin, call, reason)
        self.plugin = plugin
        self.call = call
        self.reason = reason

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: {self.call} failed: {self.reason}"


def _indented(text: str) -> str:
    """Continuation lines stand under the first one."""
    return text.replace("\n", "\n" + " " * 13)
