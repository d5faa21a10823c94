"""Plugins installed as real distributions in a folder of their own, and the real command line on them."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

from conform_harness import REPOSITORY, Finished, conform_environment, run_conform

import adapter_sdk

__all__ = ["PluginSite"]

TINY_PLUGIN = REPOSITORY / "tests" / "sdk" / "tiny_plugin.c"


class PluginSite:
    """A folder in front of ``PYTHONPATH`` with distributions as pip installs them."""

    def __init__(self, folder: Path, build: Path) -> None:
        self.folder = folder
        self.build = build

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.folder), conform_environment()["PYTHONPATH"]])}

    def conform(self, *arguments: str, **environment: str) -> Finished:
        """`adapter-conform` with this folder's plugins installed."""
        return run_conform(self.build / "out", *arguments, **{**self.environment, **environment})

    def add(self, name: str, source: str) -> None:
        """A plugin that is a module of hooks."""
        self._write(f"{name}.py", source)
        self._register(name, name, [f"{name}.py"])

    def add_native(self, name: str, library: bytes) -> Path:
        """A plugin whose wheel put ``library`` into ``paddle_custom_device/``; returns where."""
        source = f"import adapter_sdk\nplugin = adapter_sdk.NativePlugin.from_package({name!r})\n"
        self._write(f"{name}/__init__.py", source)
        installed = self.folder / "paddle_custom_device" / f"lib{name}.so"
        installed.parent.mkdir(exist_ok=True)
        installed.write_bytes(library)
        self._register(name, f"{name}:plugin", [f"{name}/__init__.py", f"paddle_custom_device/lib{name}.so"])
        return installed

    def compile_tiny(self, name: str, **macros: object) -> bytes:
        """A whole library of the smallest kind, with macros that make it wrong; see tests/sdk/tiny_plugin.c."""
        library = self.build / f"{name}.so"
        defined = [f"-D{key}={value}" for key, value in {"NAME": f'"{name}"', **macros}.items()]
        include = f"-I{adapter_sdk.include_dir()}"
        subprocess.run(["gcc", "-shared", "-fPIC", include, *defined, str(TINY_PLUGIN), "-o", str(library)], check=True)
        return library.read_bytes()

    def _register(self, name: str, value: str, files: list[str]) -> None:
        info = f"acme_{name}-0.1.dist-info"
        self._write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 0.1\n")
        self._write(f"{info}/entry_points.txt", f"[adapter_sdk]\n{name} = {value}\n")
        self._write(f"{info}/RECORD", "".join(f"{file},,\n" for file in files))

    def _write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text), encoding="utf-8")
