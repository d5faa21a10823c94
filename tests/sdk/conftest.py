"""Plugins made at test time: real dist-info folders on ``sys.path``, and small C libraries that export the table."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import adapter_sdk

PLUGIN_C = Path(__file__).with_name("tiny_plugin.c")

GOOD_HOOKS = """
from adapter_sdk import DeviceDescription, KernelDescription, MemoryDescription, StreamDescription, hookimpl

@hookimpl
def adapter_device():
    return DeviceDescription(name=__name__, vendor="Acme", device_type=__name__, version="1.2", cards=2,
                             memory_bytes=(1024, 2048), paddle_versions=">=3.0,<3.4", contract=(1, 0))

@hookimpl
def adapter_memory():
    return MemoryDescription(host_readable=False)

@hookimpl
def adapter_streams():
    return StreamDescription(asynchronous=True)

@hookimpl
def adapter_kernels():
    return [KernelDescription("relu", "float32", "Tensor||Tensor")]
"""


class Site:
    """A folder like site-packages, in front of ``sys.path``; the real ones are hidden from importlib.metadata."""

    GOOD = GOOD_HOOKS
    """Source of a module that implements the required hooks; the module's name is name and device type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, source: str, *, value: str | None = None, distribution: str | None = None) -> None:
        """Installs module ``name`` with the entry point ``name = value`` (default: the module itself)."""
        self.write(f"{name}.py", source)
        self.register(distribution or f"acme-{name}", f"{name} = {value or name}", [f"{name}.py"])

    def write(self, path: str, text: str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text), encoding="utf-8")
        return target

    def register(self, distribution: str, entry_point: str, files: list[str]) -> None:
        info = f"{distribution.replace('-', '_')}-0.1.dist-info"
        self.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1\n")
        self.write(f"{info}/entry_points.txt", f"[adapter_sdk]\n{entry_point}\n")
        self.write(f"{info}/RECORD", "".join(f"{file},,\n" for file in files))

    def add_native(self, name: str, library: Path) -> Path:
        """Installs a native plugin whose distribution put ``library`` into ``paddle_custom_device/``."""
        installed = self.folder / "paddle_custom_device" / f"lib{name}.so"
        installed.parent.mkdir(exist_ok=True)
        installed.write_bytes(library.read_bytes())
        source = f"import adapter_sdk\nplugin = adapter_sdk.NativePlugin.from_package({name!r})\n"
        self.write(f"{name}/__init__.py", source)
        files = [f"{name}/__init__.py", f"paddle_custom_device/lib{name}.so"]
        self.register(f"acme-{name}", f"{name} = {name}:plugin", files)
        return installed

    def add_paddle(self, version: str) -> None:
        """A stand-in for Paddle that finds libraries as Paddle does: each gives a device type of its file's name."""
        self.write("paddle/version/__init__.py", f"full_version = '{version}'\n")
        self.write("paddle/libs/keep", "")
        self.write(
            "paddle/__init__.py",
            """
            import os
            from pathlib import Path
            from paddle import device
            root = os.environ.get("CUSTOM_DEVICE_ROOT") or Path(__file__).parents[1] / "paddle_custom_device"
            device.types = sorted(file.stem.removeprefix("lib") for file in Path(root).glob("*.so"))
            """,
        )
        self.write("paddle/device.py", "types = []\n\ndef get_all_custom_device_type():\n    return types\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    packages = ("site-packages", "dist-packages")
    others = [path for path in sys.path if Path(path).name not in packages]
    # Not syspath_prepend: undone together with this, it would leave the shortened path behind.
    monkeypatch.setattr(sys, "path", [str(folder), *others])
    importlib.invalidate_caches()
    monkeypatch.setattr("site.getsitepackages", lambda: [str(folder)])
    monkeypatch.setattr("site.USER_SITE", None)
    # Set first: what was not there and is deleted, monkeypatch would leave as mount() makes it.
    monkeypatch.setenv("CUSTOM_DEVICE_ROOT", "")
    monkeypatch.delenv("CUSTOM_DEVICE_ROOT")
    before = dict(sys.modules)
    for name in [name for name in sys.modules if name.split(".")[0] == "paddle"]:
        monkeypatch.delitem(sys.modules, name)
    yield Site(folder)
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


@pytest.fixture
def compile_plugin(tmp_path: Path) -> Callable[..., Path]:
    """Compiles ``tiny_plugin.c`` with macros, e.g. ``compile_plugin("chip", MAJOR=9)``, and returns the library."""

    def compile_(name: str = "tinychip", flags: Sequence[str] = (), **macros: object) -> Path:
        library = tmp_path / "build" / f"lib{name}.so"
        library.parent.mkdir(exist_ok=True)
        defined = [f"-D{key}={value}" for key, value in {"NAME": f'"{name}"', **macros}.items()]
        build = ["gcc", "-shared", "-fPIC", f"-I{adapter_sdk.include_dir()}", *defined]
        command = [*build, str(PLUGIN_C), *flags, "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return library

    return compile_
