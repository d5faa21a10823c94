"""Tools of your own inside the workers: tracing, timing, planted faults.

``ADAPTER_CONFORM_PRELOAD=/path/to/tool.so`` has every worker load that library once the plugin is mounted, and call

    int32_t adapter_conform_preload(const AdapterPluginTable* table);   /* see adapter_sdk/plugin_table.h */

which installs whatever it wants through the table, e.g. ``table->set_interposer(...)``, and returns 0. Anything else
ends the run; why, the library prints to stderr.

A tool in Python is named ``package.module:function``; it is called with the worker's session
(:class:`adapter_conform.session.Session`), and an exception from it ends the run.

A run with a tool around the kernels is never called conformant.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Mapping
from typing import Any

from adapter_conform.errors import ConformError

__all__ = ["ENTRY", "PRELOAD_VARIABLE", "named_preload", "preload"]

PRELOAD_VARIABLE = "ADAPTER_CONFORM_PRELOAD"
ENTRY = "adapter_conform_preload"
_PYTHON = re.compile(r"[\w.]+:\w+")
"""``package.module:function``; a path to a library has a slash or no colon."""


def named_preload(environment: Mapping[str, str]) -> str | None:
    """The library that ``environment`` asks to be loaded, if any."""
    return environment.get(PRELOAD_VARIABLE) or None


def preload(session: Any) -> None:
    """Loads the tool that the environment names, if it names one, and shows it the plugin's table.

    Raises:
        ConformError: the tool cannot be loaded, has no entry, or refused; or the plugin has no native library.
    """
    path = named_preload(os.environ)
    if path is None:
        return
    library = getattr(session, "library", None)
    if library is None:
        raise _fault(path, "the plugin under test has no native library to work on")
    if _PYTHON.fullmatch(path):
        _call_python(path, session)
    else:
        _call_native(path, library)


def _call_python(path: str, session: Any) -> None:
    module, _, function = path.partition(":")
    try:
        tool = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise _fault(path, f"it cannot be imported: {error}") from error
    try:
        tool(session)
    except Exception as error:
        raise _fault(path, f"{type(error).__name__}: {error}") from error


def _call_native(path: str, library: Any) -> None:
    try:
        entry = getattr(ctypes.CDLL(path), ENTRY)
    except OSError as error:
        raise _fault(path, f"the loader refuses it: {error}") from error
    except AttributeError as error:
        raise _fault(path, f"it exports no function {ENTRY}") from error
    entry.argtypes, entry.restype = (ctypes.c_void_p,), ctypes.c_int32
    status = entry(library.table_address)
    if status != 0:
        raise _fault(path, f"{ENTRY}() returned {status}; what it printed stands in the worker's log")


def _fault(path: str, why: str) -> ConformError:
    return ConformError(f"{PRELOAD_VARIABLE}={path}: {why}\nMend the tool, or unset {PRELOAD_VARIABLE}.")
