"""The compiled tool, runs of the real `adapter-conform` on the real refchip with it, and one selftest."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _selftest import Proof, run_selftest
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE
from conform_harness import Finished, run_conform

import adapter_sdk

TOOL = Path(__file__).with_name("faults.cc")

RunWithFaults = Callable[..., Finished]


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faults.cc as a shared library."""
    cxx = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if cxx is None:
        pytest.fail("these tests compile a library: install g++, or name a C++17 compiler in CXX")
    library = tmp_path_factory.mktemp("faults") / "libfaults.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([cxx, *flags, f"-I{adapter_sdk.include_dir()}", str(TOOL), "-o", str(library)], check=True)
    return library


@pytest.fixture(scope="session")
def run_with_faults(fault_library: Path, tmp_path_factory: pytest.TempPathFactory) -> RunWithFaults:
    """Judges refchip with ``plan`` planted in its kernels by the compiled tool, e.g. ``"sign:exp/float32"``."""

    def run(plan: str, *arguments: str) -> Finished:
        out = tmp_path_factory.mktemp("run") / "out"
        environment = {PRELOAD_VARIABLE: str(fault_library), "ADAPTER_FAULT": plan}
        return run_conform(out, "--plugin", "refchip", "--suite", "ops", *arguments, **environment)

    return run


@pytest.fixture(scope="session")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    return run_selftest(tmp_path_factory.mktemp("selftest"))
