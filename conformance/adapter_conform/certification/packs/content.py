"""The files of a pack against its manifest: none more, none less, every byte as recorded, and no link among them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.packs.manifest import FILE, Entry, PackManifest

__all__ = ["content", "content_faults", "digest_of_file"]

_BLOCK = 1 << 20
_ADVICE = "Copy the pack again from where it was recorded."


def content_faults(folder: Path, manifest: PackManifest) -> Iterator[str]:
    """What differs, a line each. Sizes are compared before anything is read."""
    found = set()
    for where, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(where, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink():
                yield f"{relative} is a link: a pack holds plain files only"
            elif name in names:
                found.add(relative)
    for relative in sorted(found - manifest.files.keys() - {FILE}):
        yield f"{relative} is in the folder, not in {FILE}"
    for relative, entry in sorted(manifest.files.items()):
        fault = _fault(folder / relative, entry) if relative in found else "is missing"
        if fault and not (folder / relative).is_symlink():
            yield f"{relative} {fault}"


def _fault(path: Path, entry: Entry) -> str:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return "is no plain file"
    if status.st_size != entry.bytes:
        return f"has {status.st_size} bytes, recorded were {entry.bytes}"
    if digest_of_file(path) != entry.sha256:
        return "differs from what was recorded (sha256)"
    return ""


def digest_of_file(path: Path) -> str:
    """sha256, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def content(folder: Path, manifest: PackManifest, relative: str) -> bytes:
    """One file, checked as it is read. Raises PackError."""
    entry = manifest.files[relative]
    path = folder / relative
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            data = file.read(entry.bytes + 1)
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error.strerror or error}\n{_ADVICE}") from error
    if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise PackError(f"{path} differs from what was recorded\n{_ADVICE}")
    return data
