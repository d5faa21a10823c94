"""A native tool, compiled once, and one selftest of the real `adapter-conform` on the real refchip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from _selftest import Proof, run_selftest

import adapter_sdk

TOOL = Path(__file__).with_name("native_tool.cc")


@pytest.fixture(scope="session")
def native_tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """native_tool.cc as a shared library."""
    cxx = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if cxx is None:
        pytest.fail("these tests compile a library: install g++, or name a C++17 compiler in CXX")
    library = tmp_path_factory.mktemp("tool") / "libtool.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([cxx, *flags, f"-I{adapter_sdk.include_dir()}", str(TOOL), "-o", str(library)], check=True)
    return library


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return run_selftest(tmp_path_factory.mktemp("selftest"))
