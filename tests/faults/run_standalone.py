"""Runs a standalone file with the tool that plants faults in place, as the file's reader would run it without.

python run_standalone.py FILE
"""

from __future__ import annotations

import runpy
import sys
from types import SimpleNamespace

import paddle  # noqa: F401  loads the plugin's library
from adapter_conform.supervisor.preload import preload

import adapter_sdk

if __name__ == "__main__":
    preload(SimpleNamespace(library=adapter_sdk.load("refchip").library))
    runpy.run_path(sys.argv[1], run_name="__main__")
