"""Which files a bundle consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["SIGNATURE", "STATEMENT", "bundle_files", "sha256"]

STATEMENT = "statement.json"
SIGNATURE = "signature.json"


def bundle_files(root: Path) -> Iterator[str]:
    """Every file below ``root`` but the seal itself, with "/" between parts, in order; links count as files."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name not in (STATEMENT, SIGNATURE):
            yield name


def sha256(path: Path) -> str:
    """Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
