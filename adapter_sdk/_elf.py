"""Checks a shared library's file before it is loaded: the loader answers a truncated file with SIGBUS, not an error."""

from __future__ import annotations

import platform
import struct
from pathlib import Path

from adapter_sdk.errors import LibraryUnusable

__all__ = ["check_shared_library"]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_ELF_MAGIC = b"\x7fELF"
_CLASS_64, _LITTLE_ENDIAN, _SHARED_OBJECT = 2, 1, 3
_MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243, "loongarch64": 258}
_REINSTALL = "reinstall the plugin's wheel, or rebuild the library"


def check_shared_library(path: Path) -> None:
    """Raises LibraryUnusable unless ``path`` is a whole ELF shared object for this machine.

    Reads headers only. Whole means that section header table and program segments lie within the file.
    """
    if not path.is_file():
        raise LibraryUnusable(path, "no such file", _REINSTALL)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            fields = _check_header(path, header, size)
            file.seek(fields["program_offset"])
            programs = file.read(_PROGRAM_HEADER.size * fields["program_count"])
    except OSError as error:
        raise LibraryUnusable(path, f"cannot be read: {error.strerror}", "make the file readable") from error
    _check_segments(path, programs, size)


def _check_header(path: Path, header: bytes, size: int) -> dict[str, int]:
    if header[:4] != _ELF_MAGIC[: len(header)] or not header:
        fault = "is empty" if not header else f"is not an ELF file: it starts with {header[:8]!r}"
        raise LibraryUnusable(path, fault, _REINSTALL)
    if len(header) < _HEADER.size:
        raise _truncated(path, _HEADER.size, size)
    (ident, kind, machine, _, _, program_offset, section_offset, *rest) = _HEADER.unpack(header)
    _, _, program_size, program_count, section_size, section_count, _ = rest
    if ident[4] != _CLASS_64 or ident[5] != _LITTLE_ENDIAN:
        raise LibraryUnusable(path, "is not a 64-bit little-endian library", "use the plugin's wheel for this machine")
    _check_machine(path, machine)
    if kind != _SHARED_OBJECT:
        raise LibraryUnusable(path, f"is not a shared object (ELF type {kind})", "link the library with -shared")
    if program_count and program_size != _PROGRAM_HEADER.size:
        raise LibraryUnusable(path, f"has program headers of {program_size} bytes, expected 56", _REINSTALL)
    needed = max(section_offset + section_size * section_count, program_offset + program_size * program_count)
    if needed > size:
        raise _truncated(path, needed, size)
    return {"program_offset": program_offset, "program_count": program_count}


def _check_machine(path: Path, machine: int) -> None:
    here = platform.machine()
    expected = _MACHINES.get(here)
    if expected is None or machine == expected:
        return
    built_for = next((name for name, code in _MACHINES.items() if code == machine), f"ELF machine {machine}")
    raise LibraryUnusable(path, f"was built for {built_for}, this machine is {here}", f"use the wheel for {here}")


def _check_segments(path: Path, programs: bytes, size: int) -> None:
    for _, _, offset, _, _, file_size, _, _ in _PROGRAM_HEADER.iter_unpack(programs):
        if offset + file_size > size:
            raise _truncated(path, offset + file_size, size)


def _truncated(path: Path, needed: int, size: int) -> LibraryUnusable:
    return LibraryUnusable(path, f"is truncated: {size} bytes of at least {needed}", _REINSTALL)
