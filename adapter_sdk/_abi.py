"""``adapter-sdk abi check``: what a plugin library is, and which of its kernels fit which Paddle; without Paddle."""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from adapter_sdk import _table
from adapter_sdk._elf import check_shared_library
from adapter_sdk._signatures import find_signature, known_releases
from adapter_sdk.errors import LibraryUnusable
from adapter_sdk.native import PluginLibrary
from adapter_sdk.versions import matches

__all__ = ["AbiReport", "check_library"]

_MOST_NAMED = 10


@dataclass(frozen=True)
class AbiReport:
    """What was found, a line each, and whether Paddle can use the library."""

    lines: tuple[str, ...]
    usable: bool


def check_library(path: Path) -> AbiReport:
    """Loads the library and reads its table.

    Raises:
        LibraryUnusable: the file is no library for this machine, the loader refuses it, or its table cannot be used.
        ContractMismatch: the table follows another major version of the contract.
    """
    check_shared_library(path)
    exports = _exports(path)
    if "InitPlugin" not in exports:
        raise LibraryUnusable(
            path, "exports no symbol InitPlugin: Paddle skips it", "build it with adapter_sdk_add_plugin, or export it"
        )
    if _table.SYMBOL not in exports:
        raise LibraryUnusable(
            path,
            f"exports InitPlugin but no {_table.SYMBOL}: a Paddle device that was not built on this SDK",
            "nothing has to change for Paddle; the SDK cannot say more of it before Paddle has loaded it",
        )
    library = PluginLibrary(path)
    lines = [f"ok     file       {path}: whole, for this machine, and it loads without Paddle"]
    if "adapter_bridge_load" in exports:
        lines.append(
            "ok     bridge     stands for a plugin written in Python; its kernels are known once it is mounted"
        )
        return AbiReport(tuple(lines), usable=True)
    major, minor = library.contract
    lines.append(
        f"ok     contract   {major}.{minor}; {library.name} {library.version} of {library.vendor}, device type "
        f"{library.device_type}, Paddle {library.paddle_versions}, built with adapter-sdk {library.sdk_version}"
    )
    kernels = library.kernels()
    counts = Counter(kernel.provenance for kernel in kernels)
    lines.append(f"ok     kernels    {counts['own']} own, {counts['reference']} reference")
    fitting: set[tuple[str, str]] = set()
    for release in known_releases():
        name = ".".join(map(str, release))
        if not matches(name, library.paddle_versions):
            lines.append(f"-      {name:<10} not among the supported releases {library.paddle_versions}")
            continue
        fits = [kernel for kernel in kernels if find_signature(release, kernel.operator) == kernel.signature]
        fitting.update((kernel.operator, kernel.signature) for kernel in fits)
        lines.append(f"ok     {name:<10} {len(fits)} of {len(kernels)} kernels fit")
    misfits = sorted({(k.operator, k.signature) for k in kernels} - fitting)
    lines += [_misfit(operator, signature) for operator, signature in misfits[:_MOST_NAMED]]
    if len(misfits) > _MOST_NAMED:
        lines.append(f"error  signature  {len(misfits) - _MOST_NAMED} more")
    return AbiReport(tuple(lines), usable=bool(kernels) and not misfits)


def _misfit(operator: str, signature: str) -> str:
    wanted = {find_signature(release, operator) for release in known_releases()} - {None}
    if not wanted:
        return f"error  signature  {operator}: no known release has a kernel of this name"
    known = " or ".join(sorted(map(str, wanted)))
    return f"error  signature  {operator}: fits no known release; it has {signature}, wanted {known}"


def _exports(path: Path) -> set[str]:
    try:
        handle = ctypes.CDLL(str(path.resolve()))
    except OSError as error:
        raise LibraryUnusable(
            path,
            f"the loader refuses it: {error}",
            "install what the loader misses; a symbol beginning with PD_ has to be resolved at run time, by dlsym",
        ) from error
    found = set()
    for name in ("InitPlugin", _table.SYMBOL, "adapter_bridge_load"):
        try:
            ctypes.c_char.in_dll(handle, name)
            found.add(name)
        except ValueError:
            continue
    return found
