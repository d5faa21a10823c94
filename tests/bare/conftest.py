"""Libraries of devices that know nothing of adapter-sdk, compiled for the tests, and the tool on them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conform_harness import conform_command, conform_environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Judged:
    code: int
    output: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return found

    def record(self, case: str) -> dict[str, Any]:
        lines = (self.folder / "results.jsonl").read_text().splitlines()
        return next(record for line in lines if (record := json.loads(line))["id"] == case)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles C source text, or a file of this folder, into a library in a folder of its own."""

    def build(source: str, *flags: str) -> Path:
        folder = tmp_path_factory.mktemp("bare")
        file = HERE / source
        if not source.endswith(".c"):
            file = folder / "source.c"
            file.write_text(source)
        library = folder / "library" / "libbare.so"
        library.parent.mkdir()
        includes = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'benchmarks' / 'plain_c'}"]
        command = [os.environ.get("CC", "gcc"), "-O1", "-shared", "-fPIC", *includes, str(file), *flags]
        subprocess.run([*command, "-o", str(library), "-ldl"], check=True)
        return library

    return build


@pytest.fixture(scope="session")
def bare_library(compiled: Callable[..., Path]) -> Path:
    return compiled("bare.c")


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Judged]:
    """Runs adapter-conform with these arguments, outside of the checkout."""

    def run(*arguments: str, **variables: str) -> Judged:
        folder = tmp_path / "out"
        command = conform_command(*arguments, "--jobs", "1", "--out", str(folder))
        environment = {**conform_environment(), **variables}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path, check=False
        )
        return Judged(done.returncode, done.stdout + done.stderr, folder)

    return run
