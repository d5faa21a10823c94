"""The `conform` fixture: the tool in a process of its own, on the fake suite of this folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conform_harness import FAKE, Conform, Finished, conform_command, conform_environment


@pytest.fixture
def conform(tmp_path: Path) -> Conform:
    """Runs the tool on the fake suite, whose behaviour is the plugin's name, and waits for it.

    An empty name gives no plugin: ``arguments`` say it all, and the run's files are in ``out``.
    """

    def run(plugin: str, *arguments: str, suite: str | None = FAKE, out: Path | None = None) -> Finished:
        folder = out or tmp_path / "out"
        command = conform_command("--plugin", plugin, "--out", str(folder), *arguments)
        if not plugin:
            command, suite = conform_command(*arguments), None
        if suite is not None:
            command += ["--suite", suite]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=conform_environment(), cwd=tmp_path, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr, folder)

    return run
