"""Builds the documentation site once for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_NEEDED = ("sphinx", "myst_parser", "furo", "sphinx_click", "sphinx_copybutton", "tree_sitter", "tree_sitter_cpp")


def build(folder: Path) -> Path:
    """The site in ``folder``, warnings being errors. Skips where the extra `docs` is not installed, except in CI."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed (extra `docs`): {', '.join(missing)}")
    site = folder / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "trees")]
    command += [str(ROOT / "docs"), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=folder)
    assert done.returncode == 0, done.stderr
    return site
