"""A Paddle of a version that nobody knows: the installed one through links, with another number written into it."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["relabelled_paddle"]


def relabelled_paddle(installed: Path, folder: Path, version: str) -> Path:
    """Makes ``folder/paddle``; ``folder`` then belongs in front of ``PYTHONPATH``.

    ``base`` and ``libs`` have to be folders of their own: libraries find each other by ``$ORIGIN/../libs``, and plugins
    read the version beside them, so that a linked folder would lead back to the installed Paddle.
    """
    package = folder / "paddle"
    for part in (".", "base", "libs"):
        _link_entries(installed / part, package / part, leave_out={"base", "libs", "version", "__pycache__"})
    text = (installed / "version" / "__init__.py").read_text(encoding="utf-8")
    text, changed = re.subn(r"^(full_version\s*=\s*)'[^']+'", rf"\g<1>'{version}'", text, flags=re.MULTILINE)
    assert changed == 1, "the version module of this Paddle looks different"
    (package / "version").mkdir()
    (package / "version" / "__init__.py").write_text(text, encoding="utf-8")
    return folder


def _link_entries(source: Path, target: Path, leave_out: set[str]) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name not in leave_out:
            (target / entry.name).symlink_to(entry)
