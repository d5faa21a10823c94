"""The tool that plants faults, compiled once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import adapter_sdk

FAULTS = Path(__file__).resolve().parents[1] / "faults" / "faults.cc"


@pytest.fixture(scope="session")
def fault_tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cxx = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if cxx is None:
        pytest.fail("these tests compile a library: install g++, or name a C++17 compiler in CXX")
    library = tmp_path_factory.mktemp("faults") / "libfaults.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", f"-I{adapter_sdk.include_dir()}"]
    subprocess.run([cxx, *flags, str(FAULTS), "-o", str(library)], check=True)
    return library
