"""Makes a plugin visible to ``import paddle``. Never imports Paddle itself.

Paddle scans one folder, once, inside ``import paddle``: ``CUSTOM_DEVICE_ROOT`` if set, else
``<site-packages>/paddle_custom_device``. It loads the ``.so`` files that lie directly there; symbolic links will do.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from adapter_sdk._elf import check_shared_library
from adapter_sdk._installed import ROOT_VARIABLE, is_scanned, plugin_files, scanned_folder
from adapter_sdk.bridge import open_library
from adapter_sdk.errors import LibraryUnusable, MountError, PaddleMismatch
from adapter_sdk.manager import LoadedPlugin, discover, load
from adapter_sdk.versions import installed_paddle, matches

__all__ = ["mount"]


def mount(name: str, exclusive: bool = False) -> LoadedPlugin:
    """Loads a plugin and sees to it that ``import paddle``, called afterwards, offers its device.

    Damaged libraries that lie beside the plugin's are kept away from Paddle, with a warning.

    Args:
        name: the plugin's name, as ``adapter-sdk devices`` prints it.
        exclusive: hide every other plugin from Paddle in this process and its children. Several places in Paddle take
            the first custom device type for the only one; conformance workers therefore mount alone. A child process
            that is to use a device mounted this way calls mount() too: see :func:`_use_folder`.

    Raises:
        PluginNotFound, PluginInvalid, LibraryUnusable, ContractMismatch: as :func:`adapter_sdk.load`.
        PaddleMismatch: the installed Paddle is outside the range that the plugin supports.
        MountError: Paddle is not installed, or was imported before without this device; or another installed plugin
            claims the same device type.
    """
    plugin = load(name)
    _check_paddle(plugin)
    if plugin.library is None:
        plugin = replace(plugin, library=open_library(plugin))
    if "paddle" in sys.modules:
        plugin.confirm_mounted()
        return plugin
    assert plugin.library is not None
    if exclusive:
        _show_only(plugin.library.path)
        return plugin
    _check_device_type(plugin)
    present = plugin_files(scanned_folder())
    sound = _sound(present)
    if sound != present or not is_scanned(plugin.library.path):
        _use_folder([*sound, plugin.library.path])
    return plugin


def _check_paddle(plugin: LoadedPlugin) -> None:
    installed = installed_paddle()
    supported = plugin.device.paddle_versions
    if installed is None:
        raise MountError(plugin.name, "paddlepaddle is not installed", f"pip install 'paddlepaddle{supported}'")
    try:
        fits = matches(installed, supported)
    except ValueError as error:
        raise PaddleMismatch(plugin.name, installed, supported) from error
    if not fits:
        raise PaddleMismatch(plugin.name, installed, supported)


def _check_device_type(plugin: LoadedPlugin) -> None:
    kind = plugin.device.device_type
    for status in discover():
        other = status.plugin
        if other is not None and other.name != plugin.name and other.device.device_type == kind:
            raise MountError(
                plugin.name,
                f"the plugins {plugin.name!r} ({plugin.distribution}) and {other.name!r} ({other.distribution}) "
                f"both claim the device type {kind!r}",
                "uninstall one of them, or mount with exclusive=True",
            )


def _sound(libraries: list[Path]) -> list[Path]:
    """Those that the loader can read. `import paddle` fails or dies on any other, so mount()'s caller is warned."""
    sound = []
    for library in libraries:
        try:
            check_shared_library(library)
            sound.append(library)
        except LibraryUnusable as error:
            warnings.warn(f"kept away from `import paddle`: {error}", stacklevel=3)
    return sound


def _show_only(library: Path) -> None:
    if plugin_files(library.parent) == [library]:
        os.environ[ROOT_VARIABLE] = str(library.parent)
    else:
        _use_folder([library])


def _use_folder(libraries: list[Path]) -> None:
    """Has Paddle scan a private folder with links to ``libraries``; of two with one name the later wins.

    The loader takes ``$ORIGIN`` in a library's run path for the folder of the link, and misses dependencies there. It
    finds them in a process that has opened the library by its real path before, as mount() does.
    """
    folder = Path(tempfile.mkdtemp(prefix="adapter_sdk_"))
    atexit.register(_remove, folder, os.getpid())
    links = {library.name.split(".so")[0] + ".so": library for library in libraries}
    for name, library in links.items():
        (folder / name).symlink_to(library)
    os.environ[ROOT_VARIABLE] = str(folder)


def _remove(folder: Path, owner: int) -> None:
    # A forked child inherits the exit hook, and must not take the folder away from its parent.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
