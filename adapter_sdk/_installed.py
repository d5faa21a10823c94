"""Where plugin libraries lie: the folder that Paddle scans, and the library that a distribution put there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import site
from collections.abc import Iterator
from pathlib import Path

from adapter_sdk.errors import LibraryUnusable
from adapter_sdk.hookspecs import PROJECT

__all__ = ["FOLDER", "ROOT_VARIABLE", "default_folder", "find_library", "is_scanned", "plugin_files", "scanned_folder"]

FOLDER = "paddle_custom_device"
ROOT_VARIABLE = "CUSTOM_DEVICE_ROOT"


def default_folder() -> Path | None:
    """``<site-packages>/paddle_custom_device`` beside the installed Paddle, as Paddle itself works it out.

    None when Paddle does not lie in a site-packages folder: then it scans nothing by default.
    """
    for candidate in _site_folders():
        if (candidate / "paddle" / "libs").exists():
            return candidate / FOLDER
    return None


def scanned_folder() -> Path | None:
    """The one folder whose libraries ``import paddle`` will load; None when it will load none."""
    root = os.environ.get(ROOT_VARIABLE)
    if root is not None:
        return Path(root) if root else None
    return default_folder()


def plugin_files(folder: Path | None) -> list[Path]:
    """Libraries that Paddle finds in ``folder``: files directly there whose names end in ``.so``."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.suffix == ".so" and entry.is_file())


def is_scanned(library: Path) -> bool:
    """Whether ``import paddle`` will load ``library`` by itself."""
    return any(file.resolve() == library.resolve() for file in plugin_files(scanned_folder()))


def find_library(package: str) -> Path:
    """The library that the distribution of ``package`` installed into ``paddle_custom_device/``.

    Looks into the distribution's list of files; for an installation without such a list (editable, source tree) into
    the ``paddle_custom_device`` folders of site-packages and beside the package, by name.

    Raises:
        LibraryUnusable: nothing, or more than one library was found.
    """
    found = _recorded(package) or _lying_about(package)
    if len(found) == 1:
        return found[0]
    where = Path(FOLDER) / f"lib{package}.so"
    if not found:
        raise LibraryUnusable(
            where,
            f"the distribution of package {package!r} has installed no library in {FOLDER}/",
            "install the plugin's wheel; its build must install the .so, and nothing else, into that folder",
        )
    names = ", ".join(str(path) for path in found)
    raise LibraryUnusable(
        where, f"package {package!r} comes with more than one library: {names}", "remove the stale ones"
    )


def _recorded(package: str) -> list[Path]:
    found: dict[Path, None] = {}
    for distribution in _distributions(package):
        for file in distribution.files or ():
            if file.parent.name == FOLDER and file.suffix == ".so":
                path = Path(str(distribution.locate_file(file)))
                if path.is_file():
                    found[path.resolve()] = None
    return list(found)


def _distributions(package: str) -> Iterator[importlib.metadata.Distribution]:
    points = importlib.metadata.entry_points(group=PROJECT)
    named = [point.dist for point in points if point.value.replace(":", ".").split(".")[0] == package]
    owners = [distribution for distribution in named if distribution is not None]
    if owners:
        yield from owners
        return
    # Reads the file list of every distribution, which is slow; entry points answer in all usual cases.
    for name in importlib.metadata.packages_distributions().get(package, ()):
        yield importlib.metadata.distribution(name)


def _lying_about(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    folders = [candidate / FOLDER for candidate in _site_folders()]
    for location in (spec.submodule_search_locations if spec else None) or ():
        folders += [Path(location).parent / FOLDER, Path(location) / FOLDER]
    names = (f"lib{package}.so", f"{package}.so")
    paths = {(folder / name).resolve(): None for folder in folders for name in names if (folder / name).is_file()}
    return list(paths)


def _site_folders() -> list[Path]:
    folders = [Path(folder) for folder in site.getsitepackages()]
    return folders + ([Path(site.USER_SITE)] if site.USER_SITE else [])
