"""A compiled driver through which the tests ask csrc/abi, and the Paddle trees to measure it against."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABI = ROOT / "csrc" / "abi"

# Folders that each hold an unpacked `paddle`, separated as in PATH; more releases to measure against.
TREES_VARIABLE = "ADAPTER_PADDLE_TREES"

Driver = Callable[..., str]

_UNITS = ("layouts", "paddle_version", "signatures")


def _installed_paddle() -> Path | None:
    """Folder of the installed package `paddle`, found without importing it."""
    spec = importlib.util.find_spec("paddle")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`paddle_tree`: folders `paddle` to measure, the installed one and those that ADAPTER_PADDLE_TREES names."""
    if "paddle_tree" in metafunc.fixturenames:
        named = [Path(tree) / "paddle" for tree in os.environ.get(TREES_VARIABLE, "").split(os.pathsep) if tree]
        installed = _installed_paddle()
        trees = ([installed] if installed is not None else []) + named
        metafunc.parametrize("paddle_tree", trees, ids=lambda tree: tree.parent.name)


@pytest.fixture(scope="session")
def installed_paddle() -> Path:
    """Folder of the installed package `paddle`."""
    found = _installed_paddle()
    if found is None:
        pytest.fail("this test is marked `paddle`: install paddlepaddle, or deselect it with -m 'not paddle'")
    return found


@pytest.fixture(scope="session")
def cxx() -> str:
    """The C++ compiler."""
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if found is None:
        pytest.fail("these tests compile a driver: install g++, or name a C++17 compiler in CXX")
    return found


@pytest.fixture(scope="session")
def driver(cxx: str, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """Runs tests/abi/driver.cc with the given arguments; returns what it printed, raises RuntimeError if it failed."""
    binary = tmp_path_factory.mktemp("abi") / "driver"
    sources = [Path(__file__).with_name("driver.cc"), *sorted(ABI / f"{name}.cc" for name in _UNITS)]
    command = [cxx, "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{ABI.parent}", *map(str, sources)]
    subprocess.run([*command, "-o", str(binary), "-ldl"], check=True)

    def ask(*arguments: str) -> str:
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stdout.strip() + done.stderr)
        return done.stdout.rstrip("\n")

    return ask
