"""`adapter-sdk new` and `update`: names, folders, an installable plugin with a verdict, merges."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from conform_harness import REPOSITORY

from adapter_sdk import _scaffold
from adapter_sdk.cli import main

copier = pytest.importorskip("copier")


def _from_a_wheel() -> bool:
    try:
        return any(str(file) == "adapter_sdk/src/abi/mount.cc" for file in distribution("adapter-sdk").files or ())
    except PackageNotFoundError:
        return False


needs_wheel = pytest.mark.skipif(not _from_a_wheel(), reason="adapter-sdk is not installed from a wheel")


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is 28 MiB and beside the point of most tests."""
    monkeypatch.setattr(_scaffold, "write_own_wheel", lambda folder: folder.mkdir(exist_ok=True))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("9x", "cannot be the name"),
        ("MyChip", "cannot be the name"),
        ("my-chip", "cannot be the name"),
        ("class", "cannot be the name"),
        ("cpu", "is a place of Paddle's own"),
        ("json", "module 'json' exists already"),
        ("numpy", "module 'numpy' exists already"),
    ],
)
def test_names_that_cannot_be(name: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", name, "--python", "--into", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert fault in told
    assert "remedy:" in told
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chipnew").mkdir()
    assert main(["new", "chipnew", "--into", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not list((tmp_path / "chipnew").iterdir())


@pytest.mark.usefixtures("without_wheel")
@pytest.mark.parametrize("kind", ["--native", "--python"])
def test_everything_is_rendered(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "chipnew", kind, "--vendor", "Acme", "--into", str(tmp_path)]) == 0
    assert "pip install -e ." in capsys.readouterr().out
    for path in (tmp_path / "chipnew").rglob("*"):
        assert "{{" not in path.name
        assert path.suffix != ".jinja"
        if path.is_file() and ".github" not in path.parts:
            assert "{{" not in path.read_text(encoding="utf-8"), path
            assert str(tmp_path) not in path.read_text(encoding="utf-8"), path


@pytest.mark.usefixtures("without_wheel")
def test_an_update_keeps_what_the_vendor_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "chipnew", "--python", "--into", str(tmp_path)]) == 0
    plugin = tmp_path / "chipnew"
    assert main(["update", str(plugin)]) == 0
    assert "up to date" in capsys.readouterr().out

    templates = tmp_path / "templates"
    subprocess.run(["cp", "-r", str(REPOSITORY / "adapter_sdk" / "templates"), str(templates)], check=True)
    ignore = templates / "common" / ".gitignore"
    ignore.write_text(ignore.read_text() + "*.trace\n")
    kernels = templates / "python" / "{{ name }}" / "kernels.py.jinja"
    kernels.write_text(kernels.read_text().replace("np.add(x, y, out=out)", "np.add(x, y, out)"))
    (templates / "common" / "NEW.md").write_text("new\n")
    monkeypatch.setattr(_scaffold, "_TEMPLATES", templates)

    own = plugin / ".gitignore"
    own.write_text("mine/\n" + own.read_text())
    mine = plugin / "chipnew" / "kernels.py"
    mine.write_text(mine.read_text().replace("np.add(x, y, out=out)", "driver.add(x, y, out)"))
    (plugin / "CMakeLists.txt").unlink()
    assert main(["update", str(plugin)]) == 1
    told = capsys.readouterr().out
    assert "CONFLICT  chipnew/kernels.py" in told
    assert "updated   .gitignore" in told
    merged = own.read_text()
    assert merged.startswith("mine/\n")
    assert merged.endswith("*.trace\n")
    assert "driver.add(x, y, out)" in mine.read_text()
    assert "<<<<<<< yours" in mine.read_text()
    assert (plugin / "NEW.md").read_text() == "new\n"
    assert not (plugin / "CMakeLists.txt").exists()


def test_update_outside_of_a_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["update", str(tmp_path)]) == 2
    assert "was not written by `adapter-sdk new`" in capsys.readouterr().err


def _tutorial_code(word: str) -> str:
    text = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    return next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in block)


@needs_wheel
@pytest.mark.device
@pytest.mark.slow
def test_a_new_plugin_installs_and_gets_a_verdict(tmp_path: Path) -> None:
    """The README's way: an isolated build that finds adapter-sdk in wheels/, the tutorial's kernel, adapter-conform."""
    assert main(["new", "chipnew", "--python", "--into", str(tmp_path)]) == 0
    kernels_file = tmp_path / "chipnew" / "chipnew" / "kernels.py"
    kernels_file.write_text(kernels_file.read_text() + "\n\n" + _tutorial_code("def sigmoid("))
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    done = subprocess.run(
        [*install, str(tmp_path / "chipnew")], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert (site / "paddle_custom_device" / "libchipnew.so").is_file()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "adapter_conform", "--plugin", "chipnew", "--profile", "smoke", "--out", str(out)]
    paths = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    judged = subprocess.run(
        [*command, "--suite", "ops", "-k", "(ops/relu/ or ops/swiglu/ or ops/sigmoid/) and float32"],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
    kernels = json.loads((out / "results.json").read_text())["kernels"]
    assert kernels["registered"] == kernels["declared"] > 10
