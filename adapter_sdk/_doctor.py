"""The checks of ``adapter-sdk doctor``: each looks at one thing and says what to do about it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapter_sdk import _table
from adapter_sdk._elf import check_shared_library
from adapter_sdk._installed import ROOT_VARIABLE, default_folder, is_scanned, plugin_files, scanned_folder
from adapter_sdk._probe import describe_exit
from adapter_sdk.bridge import bridge_file
from adapter_sdk.errors import AdapterError, LibraryUnusable
from adapter_sdk.manager import LoadedPlugin, discover
from adapter_sdk.native import PluginLibrary
from adapter_sdk.versions import SUPPORTED_PADDLE, installed_paddle, matches

__all__ = ["Check", "examine"]

_PYTHON = ((3, 10), (3, 12))
_SHARED_MEMORY = Path("/dev/shm")
_SHARED_MEMORY_BYTES = 1 << 30
_LOAD_SECONDS = 60
_VERBOSE = "GLOG_vmodule"
_PRELOAD = "ADAPTER_CONFORM_PRELOAD"
_COMPILE_SECONDS = 60
_FALSE = ("0", "false", "off", "no")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    level: Literal["ok", "warn", "error"]
    subject: str
    detail: str
    remedy: str = ""


def examine() -> list[Check]:
    """Runs every check. Loads plugins; never imports Paddle."""
    paddle = installed_paddle()
    checks = [_python(), _paddle(paddle), _compiler()]
    checks += _plugins(paddle)
    checks += _libraries()
    checks += _root()
    checks += _flags()
    checks += _temporary()
    return [*checks, _shared_memory()]


def _python() -> Check:
    here = ".".join(map(str, sys.version_info[:3]))
    low, high = (".".join(map(str, version)) for version in _PYTHON)
    if _PYTHON[0] <= sys.version_info[:2] <= _PYTHON[1]:
        return Check("ok", "python", here)
    level: Literal["warn", "error"] = "error" if sys.version_info[:2] < _PYTHON[0] else "warn"
    return Check(level, "python", f"{here} is outside {low} to {high}", f"use Python {low} to {high}")


def _paddle(installed: str | None) -> Check:
    if installed is None:
        remedy = f"pip install 'paddlepaddle{SUPPORTED_PADDLE}'; building a plugin needs no Paddle, running one does"
        return Check("warn", "paddlepaddle", "not installed", remedy)
    fault = _outside(installed, SUPPORTED_PADDLE)
    if fault:
        return Check("error", "paddlepaddle", fault, f"pip install 'paddlepaddle{SUPPORTED_PADDLE}'")
    return Check("ok", "paddlepaddle", f"{installed} (supported: {SUPPORTED_PADDLE})")


def _outside(installed: str, supported: str) -> str:
    try:
        return "" if matches(installed, supported) else f"{installed} is outside the supported {supported}"
    except ValueError as error:
        return f"{error} (supported: {supported})"


def _compiler() -> Check:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    for name in names:
        found = shutil.which(name.split()[0])
        if found:
            fault = _compiling_fault(name.split())
            if fault:
                return Check("warn", "compiler", f"{found}: {fault}", "install g++ 9 or clang++ 10, or newer; set CXX")
            return Check("ok", "compiler", f"{found} (C++17)")
    looked = ", ".join(names)
    return Check(
        "warn", "compiler", f"none found (looked for {looked})", "install g++ or clang++ to build native plugins"
    )


def _compiling_fault(command: list[str]) -> str:
    """Why a line of C++17 with its library does not compile; empty when it does."""
    words = [*command, "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
    try:
        done = subprocess.run(
            words,
            input="#include <optional>\nint main() { return std::optional<int>{0}.value(); }\n",
            capture_output=True,
            text=True,
            timeout=_COMPILE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be run: {error}"
    if done.returncode == 0:
        return ""
    said = next((line for line in done.stderr.splitlines() if "error" in line), f"exit status {done.returncode}")
    return f"does not compile C++17: {said}"


def _plugins(paddle: str | None) -> Iterator[Check]:
    statuses = discover(probe=True)
    if not statuses:
        yield Check("warn", "plugins", "none installed", "install a plugin's wheel into this Python environment")
    owners: dict[str, str] = {}
    for status in statuses:
        subject = f"plugin {status.name}"
        if status.plugin is None:
            yield Check("error", subject, str(status.error))
            continue
        yield _plugin(subject, status.plugin, paddle)
        kind = status.plugin.device.device_type
        if kind in owners:
            detail = f"claims the device type {kind!r}, as does plugin {owners[kind]}"
            yield Check("error", subject, detail, "uninstall one of them")
        owners.setdefault(kind, status.name)


def _plugin(subject: str, plugin: LoadedPlugin, paddle: str | None) -> Check:
    device = plugin.device
    fault = _outside(paddle, device.paddle_versions) if paddle else ""
    if fault:
        return Check("error", subject, f"paddlepaddle {fault}", f"pip install 'paddlepaddle{device.paddle_versions}'")
    if paddle and plugin.library and not is_scanned(plugin.library.path):
        detail = f"Paddle does not look where its library lies: {plugin.library.path}"
        return Check("warn", subject, detail, f"call adapter_sdk.mount({plugin.name!r}) before `import paddle`")
    detail = f"{plugin.distribution} {plugin.distribution_version}: {device.cards} cards, {len(plugin.kernels)} kernels"
    return Check("ok", subject, detail)


def _libraries() -> Iterator[Check]:
    folder = scanned_folder()
    if folder is None:
        return
    try:
        files = plugin_files(folder)
    except PermissionError:
        yield Check("error", "library", f"{folder}: you may not look into it, and Paddle finds no plugin", _READABLE)
        return
    owners: dict[str, Path] = {}
    for file in files:
        try:
            check_shared_library(file.resolve())
        except LibraryUnusable as error:
            detail = f"{file}: {error.fault}\n`import paddle` loads this file, and may fail on it"
            yield Check("error", "library", detail, f"delete it, or {error.remedy}")
        else:
            check, kind = _loading(file)
            yield check
            if kind in owners:
                detail = (
                    f"{file}: offers the device type {kind!r}, as does {owners[kind].name}: Paddle takes one of them"
                )
                yield Check("error", "library", detail, "uninstall, or delete, all but one")
            if kind:
                owners.setdefault(kind, file)
            yield from _bridge_copy(file)
    if (folder / "__init__.py").exists():
        detail = f"{folder / '__init__.py'} exists: wheels that ship this file overwrite each other"
        yield Check("warn", "library", detail, "ask its vendor to install the .so alone")


_READABLE = "make folder and files readable: chmod -R a+rX"


def _loading(file: Path) -> tuple[Check, str]:
    """What loading says, in a process of its own, and the device type that the library's table names, if it has one.

    Every symbol is bound at once: a missing one kills the program that first needs it."""
    command = [sys.executable, "-m", __name__, str(file.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOAD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Check("error", "library", f"{file}: loading it takes over {_LOAD_SECONDS} s", "ask its vendor"), ""
    if done.returncode == 0:
        found = json.loads(done.stdout.splitlines()[-1])
        if found["fault"]:
            return Check("error", "library", f"{file}: {found['fault']}", found["remedy"]), found["type"]
        return Check("ok", "library", f"{file}{found['note']}"), found["type"]
    return _load_fault(file, done), ""


def _load_fault(file: Path, done: subprocess.CompletedProcess[str]) -> Check:
    if done.returncode < 0:
        detail = (
            f"{file}: loading it ends the process: {describe_exit(done.returncode)}; so it does with `import paddle`"
        )
        return Check("error", "library", detail, "delete it, and ask its vendor")
    last = (done.stderr.strip().splitlines() or [f"loading it ends the process with {done.returncode}"])[-1]
    symbol = last.rpartition("undefined symbol: ")[2] if "undefined symbol: " in last else ""
    if symbol.startswith("PD_"):
        detail = (
            f"{file}: needs Paddle's {symbol} when it is loaded, which works only where it is linked to libphi_core.so"
        )
        return Check("warn", "library", detail, "its vendor should look such symbols up with dlsym")
    remedy = f"install the library that has {symbol}" if symbol else "install what the loader misses"
    return Check("error", "library", f"{file}: {last}", remedy)


def _load_and_tell(path: Path) -> None:
    """The process of its own."""
    handle = ctypes.CDLL(str(path), os.RTLD_NOW)
    found = {"type": "", "fault": "", "remedy": "", "note": ""}
    if hasattr(handle, _table.SYMBOL):
        try:
            found["type"] = PluginLibrary(path).device_type
        except LibraryUnusable as error:
            found.update(fault=error.fault, remedy=error.remedy)
        except AdapterError as error:
            found["fault"], _, found["remedy"] = str(error).partition("\n  remedy: ")
    else:
        found["note"] = ": no plugin of adapter-sdk; `adapter-conform --device TYPE` judges it"
    print(json.dumps(found))


def _bridge_copy(file: Path) -> Iterator[Check]:
    """A plugin written in Python brings a copy of the SDK's bridge, from the SDK that its wheel was built with."""
    try:
        own = bridge_file().read_bytes()
    except LibraryUnusable:
        return
    data = file.read_bytes()
    if b"adapter_bridge_load" in data and data != own:
        detail = f"{file}: its copy of the bridge for Python plugins is another adapter-sdk's"
        yield Check("warn", "library", detail, "reinstall the plugin: pip install --force-reinstall --no-deps PLUGIN")


def _temporary() -> Iterator[Check]:
    folder = tempfile.gettempdir()
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Check("error", folder, "cannot be written to, and mount() has to", "set TMPDIR to a folder of your own")


def _root() -> Iterator[Check]:
    root = os.environ.get(ROOT_VARIABLE)
    if root is None:
        return
    default = default_folder()
    here = Path(root)
    if not root or not here.is_dir():
        yield Check("warn", ROOT_VARIABLE, f"{root!r} is no folder: Paddle finds no plugin", f"unset {ROOT_VARIABLE}")
    shown = {file.resolve() for file in plugin_files(here if root else None)}
    hidden = [file for file in plugin_files(default) if file.resolve() not in shown]
    if hidden:
        names = ", ".join(file.name for file in hidden)
        yield Check("warn", ROOT_VARIABLE, f"{root} hides {names} of {default}", f"unset {ROOT_VARIABLE}")
    elif root and here.is_dir():
        yield Check("ok", ROOT_VARIABLE, root)


def _flags() -> Iterator[Check]:
    wrong = {
        "FLAGS_enable_api_kernel_fallback": (True, "Paddle's CPU silently computes what the device lacks"),
        "FLAGS_check_nan_inf": (True, "every kernel is followed by a check; timings mean nothing"),
        "FLAGS_use_stride_kernel": (False, "views become copies, and need kernels that a plugin may not have"),
        "FLAGS_enable_pir_api": (False, "static graphs run on Paddle's old executor, which no plugin is tested with"),
    }
    for flag, (bad, effect) in wrong.items():
        value = os.environ.get(flag)
        if value and (value.lower() not in _FALSE) == bad:
            yield Check("warn", flag, f"is {value}: {effect}", f"unset {flag}")
    if os.environ.get(_PRELOAD):
        yield Check(
            "warn", _PRELOAD, "is set: with a tool around the kernels no run is conformant", f"unset {_PRELOAD}"
        )
    if os.environ.get(_VERBOSE):
        yield Check("warn", _VERBOSE, "is set: Paddle may abort at exit", f"unset {_VERBOSE}")


def _shared_memory() -> Check:
    if not _SHARED_MEMORY.is_dir():
        return Check("error", str(_SHARED_MEMORY), "missing", "mount a tmpfs there")
    if not os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        detail = "you may not write to it, as data loaders and collectives do"
        return Check("error", str(_SHARED_MEMORY), detail, f"chmod 1777 {_SHARED_MEMORY}")
    total = shutil.disk_usage(_SHARED_MEMORY).total
    detail = f"{total / 2**20:.0f} MiB"
    if total < _SHARED_MEMORY_BYTES:
        remedy = "enlarge it, e.g. `docker run --shm-size=2g`"
        return Check("warn", str(_SHARED_MEMORY), f"{detail}: too small for data loaders and collectives", remedy)
    return Check("ok", str(_SHARED_MEMORY), detail)


if __name__ == "__main__":
    _load_and_tell(Path(sys.argv[1]))
