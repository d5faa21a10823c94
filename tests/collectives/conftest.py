"""C++ programs of these tests, compiled once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import adapter_sdk

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[1] / "csrc"


def _compiler() -> str:
    cxx = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if cxx is None:
        pytest.fail("these tests compile C++: install g++, or name a C++17 compiler in CXX")
    return cxx


@pytest.fixture(scope="session")
def ranks_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ranks.cc with the communicator, as a program."""
    program = tmp_path_factory.mktemp("ranks") / "ranks"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{adapter_sdk.include_dir()}", f"-I{SOURCES}"]
    sources = [str(HERE / "ranks.cc"), *map(str, sorted((SOURCES / "collectives").glob("*.cc")))]
    subprocess.run([_compiler(), *flags, *sources, "-o", str(program), "-pthread"], check=True)
    return program


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """collective_faults.cc as a shared library."""
    library = tmp_path_factory.mktemp("faults") / "libfaults.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    source = str(HERE / "collective_faults.cc")
    subprocess.run(
        [_compiler(), *flags, f"-I{adapter_sdk.include_dir()}", source, "-o", str(library), "-ldl"], check=True
    )
    return library
