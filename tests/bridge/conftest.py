"""pychip as an installed distribution in a folder of its own, and Paddle programs that use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conform_harness import REPOSITORY, Finished, conform_environment, run_conform

from adapter_sdk.bridge import bridge_file

_PRELUDE = """
import os, sys
import numpy as np
import adapter_sdk
plugin = adapter_sdk.mount("pychip", exclusive=True)
import paddle
plugin.confirm_mounted()
paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
paddle.set_device("pychip")
"""


class Pychip:
    """Runs programs with the plugin of the checkout installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pychip").symlink_to(REPOSITORY / "plugins" / "pychip" / "pychip")
        info = folder / "adapter_pychip-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adapter-pychip\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text("[adapter_sdk]\npychip = pychip\n")

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.folder), conform_environment()["PYTHONPATH"]])}

    def run(self, program: str) -> str:
        """What the program printed; it has ``plugin``, ``paddle`` and ``np``, and pychip is the device."""
        return self._run(_PRELUDE + textwrap.dedent(program) + "\nsys.stdout.flush()\nos._exit(0)\n")

    def run_installed(self, program: str) -> str:
        """The same for a program that knows nothing of the SDK, with the plugin's library where Paddle looks."""
        root = self.folder / "paddle_custom_device"
        root.mkdir()
        shutil.copy(bridge_file(), root / "libpychip.so")
        return self._run(textwrap.dedent(program), CUSTOM_DEVICE_ROOT=str(root))

    def _run(self, program: str, **environment: str) -> str:
        script = self.folder / "program.py"
        script.write_text(program)
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**conform_environment(), **self.environment, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def conform(self, *arguments: str) -> Finished:
        return run_conform(self.folder / "out", "--plugin", "pychip", *arguments, **self.environment)


@pytest.fixture
def pychip(tmp_path: Path) -> Pychip:
    return Pychip(tmp_path)
