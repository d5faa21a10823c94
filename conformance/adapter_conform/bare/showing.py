"""Shows Paddle one library and no other while it is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapter_sdk._installed import ROOT_VARIABLE, plugin_files

__all__ = ["shown_alone"]


@contextmanager
def shown_alone(library: Path) -> Iterator[None]:
    """Inside the block `import paddle` loads ``library`` and no other plugin.

    Where other plugins lie beside it, Paddle is shown a folder of links. The loader looks for a library's dependencies
    relative to where it was opened (``$ORIGIN``), and a bare library cannot be opened ahead of Paddle, whose functions
    it may call at once. So the links repeat the surroundings of the library: everything beside it but other plugins,
    and everything beside its folder. They are gone after the block, when all has been loaded.
    """
    before = os.environ.get(ROOT_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="adapter_bare_") as scratch:
        folder = library.parent
        if plugin_files(folder) != [library]:
            folder = _mirrored(library, Path(scratch))
        os.environ[ROOT_VARIABLE] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[ROOT_VARIABLE]
            else:
                os.environ[ROOT_VARIABLE] = before


def _mirrored(library: Path, scratch: Path) -> Path:
    folder = scratch / library.parent.name
    folder.mkdir()
    for entry in library.parent.parent.iterdir():
        if entry.name != folder.name:
            (scratch / entry.name).symlink_to(entry)
    others = [file for file in plugin_files(library.parent) if file != library]
    for entry in library.parent.iterdir():
        if entry not in others:
            # Paddle takes names that end in .so, whatever the library is called.
            name = f"{entry.name.split('.so')[0]}.so" if entry == library else entry.name
            (folder / name).symlink_to(entry)
    return folder
