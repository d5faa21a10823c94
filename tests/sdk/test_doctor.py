"""`adapter-sdk doctor` on machines and installations that are really broken: each fault has its line, with a remedy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapter_sdk.cli import main

if TYPE_CHECKING:
    from conftest import Site

Compile = Callable[..., Path]

ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="takes root: it changes the user, or what is mounted")


def finding(output: str, words: str) -> str:
    """The block of lines whose first words contain ``words``, whitespace made single."""
    blocks = re.split(r"\n(?=ok |warn |error |\n)", "\n" + output)
    found = [" ".join(block.split()) for block in blocks if words in " ".join(block.split())]
    assert found, output
    return found[0]


def library(folder: Path, source: str, *flags: str) -> Path:
    """C source as a shared library in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "libother.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", *flags, "-x", "c", "-", "-o", str(file)], input=source, text=True, check=True
    )
    return file


@pytest.mark.parametrize(
    ("source", "level", "words", "remedy"),
    [
        ("int lost(void); int f(void) { return lost(); }", "error", "undefined symbol: lost", "that has lost"),
        ("int PD_Gone(void); int f(void) { return PD_Gone(); }", "warn", "needs Paddle's PD_Gone", "dlsym"),
        ("void abort(void); __attribute__((constructor)) void f(void) { abort(); }", "error", "SIGABRT", "delete it"),
        ("int f(void) { return 1; }", "ok", "`adapter-conform --device TYPE` judges it", ""),
    ],
)
def test_libraries_that_do_not_load(
    site: Site, capsys: pytest.CaptureFixture[str], source: str, level: str, words: str, remedy: str
) -> None:
    site.add_paddle("3.3.1")
    library(site.folder / "paddle_custom_device", source)
    assert main(["doctor"]) == (1 if level == "error" else 0)
    line = finding(capsys.readouterr().out, words)
    assert line.startswith(f"{level} library")
    assert "libother.so" in line
    assert remedy in line


def test_a_library_for_another_machine(site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str]) -> None:
    site.add_paddle("3.3.1")
    file = site.add_native("chip", compile_plugin("chip"))
    data = bytearray(file.read_bytes())
    data[18:20] = b"\xb7\x00"  # e_machine: aarch64
    file.write_bytes(data)
    assert main(["doctor"]) == 1
    line = finding(capsys.readouterr().out, "error library")
    assert "was built for aarch64" in line
    assert "remedy: delete it, or use the wheel for x86_64" in line


def test_a_library_of_another_contract(site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str]) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip", MAJOR=9))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    for subject in ("error plugin chip", "error library"):
        line = finding(out, subject)
        assert "was built for contract 9.1" in line
        assert "remedy: upgrade adapter-sdk" in line


def test_two_that_offer_one_device_type(
    site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip"))
    site.add_native("twin", compile_plugin("twin", KIND='"chip"'))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "uninstall one of them" in finding(
        out, "error plugin twin claims the device type 'chip', as does plugin chip"
    )
    assert "as does libchip.so" in finding(out, "libtwin.so: offers the device type 'chip'")


@ROOT_ONLY
def test_folders_and_files_that_may_not_be_read(site: Site, compile_plugin: Compile, tmp_path: Path) -> None:
    """As a user who may not look into the folder, then not into the file."""
    site.add_paddle("3.3.1")
    file = site.add_native("chip", compile_plugin("chip"))
    for parent in [site.folder, *site.folder.parents]:
        if Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(0o755)
    script = tmp_path / "doctor.py"
    script.write_text(
        "import os, sys\n"
        f"sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "import adapter_sdk.cli, adapter_sdk._doctor, adapter_sdk._probe, site, paddle\n"
        f"site.getsitepackages = lambda: [{str(site.folder)!r}]\n"
        f"os.chmod(sys.argv[1], int(sys.argv[2], 8)); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "checks = [*adapter_sdk._doctor._libraries(), *adapter_sdk._doctor._temporary()]\n"
        "for check in checks: print(check.level, check.subject, check.detail, 'remedy:', check.remedy)\n"
    )
    for path, mode, words in (
        (file.parent, "0700", "you may not look into it"),
        (file, "0600", "cannot be read: Permission denied"),
    ):
        done = subprocess.run(
            [sys.executable, str(script), str(path), mode], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        path.chmod(0o755)
        assert words in done.stdout, done.stdout + done.stderr
        assert "readable" in done.stdout.partition("remedy:")[2]


@ROOT_ONLY
def test_shared_memory_that_is_too_small(tmp_path: Path) -> None:
    unshare = ["unshare", "--mount", "sh", "-c"]
    command = f"mount -t tmpfs -o size=16m tmpfs /dev/shm && exec {sys.executable} {tmp_path / 'look.py'}"
    (tmp_path / "look.py").write_text(
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from adapter_sdk._doctor import _shared_memory\n"
        "check = _shared_memory(); print(check.level, check.detail, check.remedy)\n"
    )
    done = subprocess.run([*unshare, command], capture_output=True, text=True, cwd=tmp_path, check=False)
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    assert done.stdout.strip() == (
        "warn 16 MiB: too small for data loaders and collectives enlarge it, e.g. `docker run --shm-size=2g`"
    )


def test_a_compiler_that_does_not_compile(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'cc1plus: error: unrecognized option -std=c++17' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    main(["doctor"])
    line = finding(capsys.readouterr().out, "does not compile C++17")
    assert "unrecognized option" in line
    assert "remedy: install g++" in line


def test_a_forgotten_tool_around_the_kernels(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTER_CONFORM_PRELOAD", "adapter_faults:plant")
    main(["doctor"])
    line = finding(capsys.readouterr().out, "ADAPTER_CONFORM_PRELOAD")
    assert line.startswith("warn")
    assert "remedy: unset ADAPTER_CONFORM_PRELOAD" in line
