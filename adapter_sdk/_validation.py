"""Calls the hooks of one plugin and holds every answer against ``hookspecs.py``."""

from __future__ import annotations

import inspect
import traceback
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import pluggy

from adapter_sdk import hookspecs
from adapter_sdk.errors import ContractMismatch, LibraryUnusable, PluginInvalid, did_you_mean
from adapter_sdk.hookspecs import HOOK_PREFIX, PROJECT, REQUIRED_HOOKS

__all__ = ["CheckedHooks", "signature_of"]

_SPECS: dict[str, Callable[..., object]] = {
    name: function
    for name, function in vars(hookspecs).items()
    if name.startswith(HOOK_PREFIX) and inspect.isfunction(function)
}


def signature_of(hook: str) -> str:
    """The specified signature, e.g. ``"adapter_device() -> DeviceDescription"``."""
    return hook + str(inspect.signature(_SPECS[hook])).replace("'", "")


class CheckedHooks:
    """The hooks that ``implementation`` (a module or an object) gives the plugin ``plugin``.

    Raises:
        PluginInvalid: an unknown or unmarked hook, wrong arguments, or a required hook that is missing.
    """

    def __init__(self, plugin: str, implementation: object) -> None:
        self.plugin = plugin
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        if inspect.isclass(implementation):
            raise self._invalid(
                f"the entry point names the class {implementation.__qualname__}", "name an instance of it"
            )
        self._check_names(implementation)
        try:
            self._manager.register(implementation, name=plugin)
        except pluggy.PluginValidationError as error:
            raise self._invalid(
                str(error), "use the arguments of the specification in adapter_sdk/hookspecs.py"
            ) from error
        for hook in REQUIRED_HOOKS:
            if not self.implements(hook):
                raise self.invalid(hook, "this required hook is not implemented", _see(hook))

    def implements(self, hook: str) -> bool:
        """Whether the plugin implements ``hook``."""
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return bool(caller.get_hookimpls())

    def call(self, hook: str, **arguments: object) -> Any:
        """What the hook answers, of the type that the specification promises.

        Raises:
            PluginInvalid: the hook raised, or returned another type.
            LibraryUnusable, ContractMismatch: as raised by the hook; they say more than the hook's name would.
        """
        try:
            answer: object = getattr(self._manager.hook, hook)(**arguments)
        except (LibraryUnusable, ContractMismatch):
            raise
        except (Exception, SystemExit) as error:  # sys.exit(0) would pass for success
            raise self.invalid(hook, f"raised {_described(error)}", "see the traceback of the cause") from error
        expected = _promised(hook)
        fault = _misfit(answer, expected)
        if fault:
            raise self.invalid(hook, fault, _see(hook))
        return answer

    def invalid(self, hook: str, fault: str, remedy: str) -> PluginInvalid:
        """The error that blames ``hook``."""
        return PluginInvalid(self.plugin, hook, signature_of(hook), fault, remedy)

    def _invalid(self, fault: str, remedy: str) -> PluginInvalid:
        return PluginInvalid(self.plugin, "", "", fault, remedy)

    def _check_names(self, implementation: object) -> None:
        for name in dir(implementation):
            if not name.startswith(HOOK_PREFIX):
                continue
            member = inspect.getattr_static(implementation, name)
            function = getattr(member, "__func__", member)
            if not inspect.isroutine(function):
                continue
            if name not in _SPECS:
                known = f"{did_you_mean(name, _SPECS)} (known: {', '.join(_SPECS)})"
                raise PluginInvalid(
                    self.plugin, name, "", f"there is no hook of this name{known}", "rename the function"
                )
            if not hasattr(function, f"{PROJECT}_impl"):
                raise self.invalid(
                    name, "the function is not marked as a hook", "decorate it with @adapter_sdk.hookimpl"
                )


@cache
def _promised(hook: str) -> Any:
    return get_type_hints(_SPECS[hook])["return"]


def _see(hook: str) -> str:
    return f"see the docstring of {hook} in adapter_sdk/hookspecs.py"


def _described(error: BaseException) -> str:
    """``"RuntimeError: no driver (chip.py:12)"``, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _misfit(answer: object, expected: Any) -> str:
    """Why ``answer`` is not of the type ``expected``; empty when it is."""
    if get_origin(expected) in (Union, types.UnionType):
        faults = [_misfit(answer, option) for option in get_args(expected)]
        return "" if "" in faults else f"returned {_shown(answer)}; expected {_named(expected)}"
    if get_origin(expected) is Sequence:
        return _sequence_misfit(answer, get_args(expected)[0])
    return "" if isinstance(answer, expected) else f"returned {_shown(answer)}; expected {_named(expected)}"


def _sequence_misfit(answer: object, element: type) -> str:
    if not isinstance(answer, (list, tuple)):
        return f"returned {_shown(answer)}; expected a list or tuple of {element.__name__}"
    for index, item in enumerate(answer):
        if not isinstance(item, element):
            return (
                f"returned a {type(answer).__name__} whose item {index} is {_shown(item)}; expected {element.__name__}"
            )
    return ""


def _shown(value: object) -> str:
    if value is None:
        return "None"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _named(expected: Any) -> str:
    if get_origin(expected) in (Union, types.UnionType):
        return " or ".join(_named(option) for option in get_args(expected))
    return "None" if expected is type(None) else str(expected.__name__)
