"""Finds a bare device's library and learns, in a process of its own, what the device is and has."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapter_conform.bare.description import Description
from adapter_conform.bare.target import Target
from adapter_conform.errors import ConformError, UsageProblem
from adapter_sdk import (
    CONTRACT_VERSION,
    DeviceDescription,
    KernelDescription,
    LoadedPlugin,
    MemoryDescription,
    StreamDescription,
    hookimpl,
)
from adapter_sdk._elf import check_shared_library
from adapter_sdk._installed import plugin_files, scanned_folder
from adapter_sdk._probe import describe_exit
from adapter_sdk.errors import AdapterError, LibraryUnusable, did_you_mean
from adapter_sdk.manager import assemble
from adapter_sdk.versions import SUPPORTED_PADDLE

__all__ = ["BarePlugin", "find_device", "load_bare", "of_description"]

_LIMIT_SECONDS = 120.0
"""An import of Paddle and of a vendor's runtime, on a busy machine."""
_TAIL_CHARACTERS = 2000


@dataclass(frozen=True)
class BarePlugin(LoadedPlugin):
    """A bare device in the form of a plugin: what stands in for its hooks says what Paddle says."""

    description: Description


class _Hooks:
    def __init__(self, description: Description) -> None:
        self._description = description

    @hookimpl
    def adapter_device(self) -> DeviceDescription:
        found = self._description
        return DeviceDescription(
            name=found.device_type,
            vendor="unknown",
            device_type=found.device_type,
            version="unknown",
            cards=len(found.memory_bytes),
            memory_bytes=found.memory_bytes,
            paddle_versions=SUPPORTED_PADDLE,
            contract=CONTRACT_VERSION,
        )

    @hookimpl
    def adapter_memory(self) -> MemoryDescription:
        return MemoryDescription(host_readable=True)

    @hookimpl
    def adapter_streams(self) -> StreamDescription:
        return StreamDescription(asynchronous=False)

    @hookimpl
    def adapter_kernels(self) -> Sequence[KernelDescription]:
        return [KernelDescription(item.operator, item.dtype, item.signature) for item in self._description.kernels]


def find_device(device_type: str, library: Path | None) -> Target:
    """The device type, with the library that offers it: ``library``, or one of those that Paddle scans.

    Raises:
        UsageProblem: there is no such library or none for this machine, or none offers the type; says what there is.
        ConformError: a library ends, or hangs, the process that loads it.
    """
    if library is not None:
        _check_file(library)
        offered = _types(library)
        if device_type not in offered["types"]:
            raise UsageProblem(f"--library {library} offers no device type {device_type!r}: {_offer(offered)}")
        return Target(device_type, library.resolve())
    folder = scanned_folder()
    seen: dict[str, str] = {}
    for file in plugin_files(folder):
        try:
            check_shared_library(file)
            offered = _types(file)
        except (LibraryUnusable, ConformError) as error:
            seen[file.name] = str(getattr(error, "fault", error)).splitlines()[0]
            continue
        if device_type in offered["types"]:
            return Target(device_type, file.resolve())
        seen[file.name] = _offer(offered)
    listing = "".join(f"\n  {name}: {what}" for name, what in seen.items()) or "\n  no library at all"
    known = [words.split("'")[1] for words in seen.values() if words.startswith("it offers '")]
    raise UsageProblem(
        f"no library in {folder or 'the folder that Paddle scans'} offers the device type {device_type!r}"
        f"{did_you_mean(device_type, known)}; there are:{listing}\n"
        "Name the type as in paddle.set_device(TYPE), or give the library with --library PATH."
    )


def load_bare(target: Target) -> BarePlugin:
    """What is known of the device without Paddle in this process.

    Raises:
        ConformError: its library cannot be loaded, or Paddle's registry cannot be read.
    """
    assert target.library is not None
    try:
        check_shared_library(target.library)
    except LibraryUnusable as error:
        raise ConformError(str(error)) from error
    offered = _types(target.library)
    if target.name not in offered["types"]:
        raise ConformError(f"{target.library} offers no device type {target.name!r}: {_offer(offered)}")
    return of_description(target, Description.of_json(offered["types"][target.name]))


def of_description(target: Target, description: Description) -> BarePlugin:
    """Raises ConformError where Paddle's answers make no device: no card, no memory, no kernel."""
    if not description.kernels:
        raise ConformError(
            f"device {target.name!r}: {target.library} has registered no kernel with Paddle {description.paddle}\n"
            "There is nothing to judge. See that its kernels are linked in and registered for this device type."
        )
    try:
        plugin = assemble(target.name, _Hooks(description))
    except AdapterError as error:
        raise ConformError(f"device {target.name!r} of {target.library} cannot be judged: {error}") from error
    fields = {name: getattr(plugin, name) for name in plugin.__dataclass_fields__}
    fields["device"] = replace(plugin.device, library=target.library)
    return BarePlugin(**fields, description=description)


def _check_file(library: Path) -> None:
    try:
        check_shared_library(library)
    except LibraryUnusable as error:
        raise UsageProblem(
            f"--library {library}: {error.fault}\nGive the device's .so, built for this machine."
        ) from error


def _offer(offered: dict[str, Any]) -> str:
    names = ", ".join(repr(name) for name in offered["types"])
    return f"it offers {names}" if names else str(offered["reason"])


def _types(library: Path) -> dict[str, Any]:
    """What a Paddle in a process of its own says of ``library``: the types that it offers, and their kernels."""
    with tempfile.TemporaryDirectory(prefix="adapter-bare-") as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "adapter_conform.bare.description", str(library.resolve()), str(answer)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ConformError(
                f"a Paddle that loads {library} did not end within {_LIMIT_SECONDS:g} s\n{_tail(error.stderr)}"
            ) from error
        if done.returncode or not answer.is_file():
            raise ConformError(
                f"a Paddle that loads {library} ended: {describe_exit(done.returncode)}\n{_tail(done.stderr)}"
            )
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def _tail(stderr: bytes | None) -> str:
    return (stderr or b"").decode(errors="replace")[-_TAIL_CHARACTERS:].strip() or "nothing was printed"
