"""The command: what it prints, and what it exits with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import adapter_sdk
from adapter_sdk.cli import main

if TYPE_CHECKING:
    from conftest import Site

Compile = Callable[..., Path]


def lines_of(output: str, subject: str) -> list[str]:
    """Levels of the doctor's lines on ``subject``."""
    return re.findall(rf"^(ok|warn|error) +{re.escape(subject)}(?= )", output, re.MULTILINE)


def test_devices_prints_a_table(site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str]) -> None:
    site.add_native("chip", compile_plugin("chip", MEMORY="(4LL << 30)"))
    assert main(["devices"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert re.split(r"  +", row) == ["chip", "chip", "Acme", "2", "2 x 4.0 GiB", "3", ">=3.0,<3.4", "usable"]
    assert head.index("PADDLE") == row.index(">=3.0")


def test_devices_says_why_one_is_unusable(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("good", site.GOOD)
    site.add("bad", site.GOOD.replace("cards=2", "cards=0").replace("(1024, 2048)", "()"))
    assert main(["devices"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^bad .* unusable$", out, re.MULTILINE)
    assert re.search(r"^good .* usable$", out, re.MULTILINE)
    assert "reports 0 cards" in out


def test_devices_as_json(site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str]) -> None:
    library = site.add_native("chip", compile_plugin("chip"))
    site.add("bad", "raise OSError('no driver')")
    assert main(["devices", "--json"]) == 1
    bad, chip = json.loads(capsys.readouterr().out)
    assert (bad["name"], bad["usable"], bad["error_kind"]) == ("bad", False, "PluginInvalid")
    assert "no driver" in bad["error"]
    assert (chip["usable"], chip["error"], chip["device"]["memory_bytes"]) == (True, None, [4096, 4096])
    assert chip["device"]["library"] == str(library.resolve())


def test_devices_without_any_gives_a_hint(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert "install a plugin's wheel" in capsys.readouterr().out


def test_doctor_is_content_with_a_good_environment(
    site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip"))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for subject in ("python", "paddlepaddle", "compiler", "plugin chip", "library"):
        assert lines_of(out, subject) == ["ok"]


@pytest.mark.parametrize(
    ("spoil", "subject", "level", "words"),
    [
        (lambda site, library: site.add_paddle("3.9.0"), "paddlepaddle", "error", "3.9.0 is outside"),
        (lambda site, library: site.add_paddle("3.9.0"), "plugin chip", "error", "3.9.0 is outside"),
        (lambda site, library: library.write_bytes(library.read_bytes()[:5000]), "library", "error", "is truncated"),
        (lambda site, library: library.write_bytes(library.read_bytes()[:5000]), "plugin chip", "error", "reinstall"),
        (lambda site, library: library.with_name("__init__.py").touch(), "library", "warn", "overwrite each other"),
        (lambda site, library: site.add("bad", "1/0"), "plugin bad", "error", "ZeroDivisionError"),
    ],
)
def test_doctor_finds_what_is_wrong(
    site: Site,
    compile_plugin: Compile,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Site, Path], None],
    subject: str,
    level: str,
    words: str,
) -> None:
    site.add_paddle("3.3.1")
    spoil(site, site.add_native("chip", compile_plugin("chip")))
    assert main(["doctor"]) == (1 if level == "error" else 0)
    out = capsys.readouterr().out
    assert level in lines_of(out, subject)
    assert words in out


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CUSTOM_DEVICE_ROOT", "", "Paddle finds no plugin"),
        ("CUSTOM_DEVICE_ROOT", "/", "hides libchip.so"),
        ("FLAGS_enable_api_kernel_fallback", "1", "silently computes"),
        ("FLAGS_use_stride_kernel", "false", "views become copies"),
        ("GLOG_vmodule", "kernel_factory=6", "abort at exit"),
    ],
)
def test_doctor_warns_of_the_environment(
    site: Site,
    compile_plugin: Compile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    words: str,
) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip"))
    monkeypatch.setenv(variable, value)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "warn" in lines_of(out, variable)
    assert words in out


def test_doctor_tells_of_a_library_that_paddle_does_not_find(
    site: Site, compile_plugin: Compile, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip"))
    monkeypatch.setenv("CUSTOM_DEVICE_ROOT", str(site.folder))
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert lines_of(out, "plugin chip") == ["warn"]
    assert "call adapter_sdk.mount('chip') before" in out


def test_doctor_is_silent_on_harmless_flags(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAGS_enable_api_kernel_fallback", "False")
    main(["doctor"])
    assert "FLAGS_enable_api_kernel_fallback" not in capsys.readouterr().out


def test_misuse_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["devises"])
    assert caught.value.code == 2
    assert "devises" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["devices", "--help"], ["doctor", "--help"]])
def test_help_shows_examples(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "adapter_sdk", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "examples:\n  adapter-sdk " in done.stdout


def test_exported_names_exist() -> None:
    assert all(hasattr(adapter_sdk, name) for name in adapter_sdk.__all__)
    assert len(set(adapter_sdk.__all__)) == len(adapter_sdk.__all__)
    assert adapter_sdk.include_dir().joinpath("adapter_sdk", "plugin_table.h").is_file()
