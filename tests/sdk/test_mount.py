"""mount() makes exactly the right libraries visible to a Paddle that scans one folder while it is imported."""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapter_sdk import MountError, PaddleMismatch, mount
from adapter_sdk.mounting import _remove

if TYPE_CHECKING:
    from conftest import Site

Compile = Callable[..., Path]


@pytest.fixture
def chip(site: Site, compile_plugin: Compile) -> Path:
    """A native plugin, mounted well as far as its library says, beside Paddle 3.3.1 and a foreign library."""
    site.add_paddle("3.3.1")
    installed = site.add_native("chip", compile_plugin("chip", STATE="ADAPTER_REGISTERED"))
    installed.with_name("libother.so").write_bytes(compile_plugin("other").read_bytes())
    return installed


def visible() -> list[str]:
    """Device types that the stand-in for Paddle finds."""
    return list(importlib.import_module("paddle").device.get_all_custom_device_type())


def test_installed_plugin_needs_nothing(chip: Path) -> None:
    plugin = mount("chip")
    assert "CUSTOM_DEVICE_ROOT" not in os.environ
    assert visible() == ["chip", "other"]
    plugin.confirm_mounted()


def test_mount_does_not_import_paddle(chip: Path) -> None:
    mount("chip", exclusive=True)
    assert "paddle" not in sys.modules


def test_exclusive_shows_this_plugin_alone(chip: Path) -> None:
    plugin = mount("chip", exclusive=True)
    assert visible() == ["chip"]
    plugin.confirm_mounted()


def test_exclusive_needs_no_link_where_the_library_lies_alone(site: Site, chip: Path) -> None:
    (site.folder / "paddle_custom_device" / "libother.so").unlink()
    mount("chip", exclusive=True)
    assert Path(os.environ["CUSTOM_DEVICE_ROOT"]) == chip.parent
    assert visible() == ["chip"]


def test_library_seen_through_the_link_finds_its_dependencies(
    chip: Path, tmp_path: Path, compile_plugin: Compile
) -> None:
    dependency = chip.with_name("depends") / "libdepends.so"
    dependency.parent.mkdir()
    compile_plugin("depends").replace(dependency)
    run_path = ["-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN/depends", f"-L{dependency.parent}", "-ldepends"]
    compile_plugin("chip", flags=run_path, STATE="ADAPTER_REGISTERED").replace(chip)
    mount("chip", exclusive=True)
    link = Path(os.environ["CUSTOM_DEVICE_ROOT"]) / "libchip.so"
    assert link.is_symlink()
    ctypes.CDLL(str(link))


def test_plugin_hidden_by_the_variable_is_added_to_what_it_shows(
    chip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "libthird.so").write_bytes(chip.read_bytes())
    (elsewhere / "notes.txt").write_text("")
    monkeypatch.setenv("CUSTOM_DEVICE_ROOT", str(elsewhere))
    mount("chip")
    assert sorted(os.listdir(os.environ["CUSTOM_DEVICE_ROOT"])) == ["libchip.so", "libthird.so"]
    assert visible() == ["chip", "third"]


@pytest.mark.parametrize("keep", [0, 3, 5000])
def test_damaged_neighbour_is_kept_away_from_paddle(chip: Path, keep: int) -> None:
    damaged = chip.with_name("libother.so")
    damaged.write_bytes(damaged.read_bytes()[:keep])
    with pytest.warns(UserWarning, match="libother.so is not usable") as warned:
        mount("chip")
    assert warned[0].filename == __file__
    assert visible() == ["chip"]


def test_empty_variable_hides_the_plugin_too(chip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOM_DEVICE_ROOT", "")
    mount("chip")
    assert visible() == ["chip"]


def test_paddle_imported_with_the_device_is_fine(chip: Path) -> None:
    visible()
    assert mount("chip").name == "chip"


def test_paddle_imported_without_the_device_is_an_error(chip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTOM_DEVICE_ROOT", "")
    importlib.import_module("paddle").device.types[:] = []
    with pytest.raises(MountError, match="before `import paddle`"):
        mount("chip")


def test_library_that_refused_paddle_is_quoted(site: Site, compile_plugin: Compile) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip", STATE="ADAPTER_REFUSED"))
    plugin = mount("chip")
    visible()
    with pytest.raises(MountError, match=r"its library refused this Paddle: Paddle 9\.9 is unknown"):
        plugin.confirm_mounted()


def test_device_of_another_library_is_not_taken_for_ours(site: Site, compile_plugin: Compile) -> None:
    site.add_paddle("3.3.1")
    site.add_native("chip", compile_plugin("chip"))
    plugin = mount("chip")
    visible()
    with pytest.raises(MountError, match="from another library"):
        plugin.confirm_mounted()


def test_confirming_before_paddle_is_imported_is_an_error(chip: Path) -> None:
    with pytest.raises(MountError, match="paddle is not imported yet"):
        mount("chip").confirm_mounted()


@pytest.mark.parametrize("version", ["2.6.2", "3.4.0", "0.0.0", "unknown"])
def test_other_paddle_is_refused_with_both_numbers(site: Site, chip: Path, version: str) -> None:
    site.add_paddle(version)
    with pytest.raises(PaddleMismatch) as caught:
        mount("chip")
    assert f"supports paddlepaddle >=3.0,<3.4, installed is {version}" in str(caught.value)


def test_without_paddle_the_remedy_is_told(site: Site, compile_plugin: Compile) -> None:
    site.add_native("chip", compile_plugin("chip"))
    with pytest.raises(MountError, match="paddlepaddle is not installed"):
        mount("chip")


def test_two_plugins_with_one_device_type_are_refused(site: Site, chip: Path) -> None:
    site.add("chop", site.GOOD.replace("device_type=__name__", "device_type='chip'"))
    with pytest.raises(MountError, match=r"'chip' \(acme-chip\) and 'chop' \(acme-chop\) both claim"):
        mount("chip")
    assert mount("chip", exclusive=True).name == "chip"


def test_plugin_without_a_library_cannot_be_mounted(site: Site) -> None:
    site.add_paddle("3.3.1")
    site.add("soft", site.GOOD)
    with pytest.raises(MountError, match="it has no native library"):
        mount("soft")


def test_private_folder_belongs_to_the_process_that_made_it(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    _remove(folder, os.getpid() + 1)
    assert folder.exists()
    _remove(folder, os.getpid())
    assert not folder.exists()


@pytest.mark.device
def test_real_paddle_offers_the_mounted_device() -> None:
    program = (
        "import adapter_sdk\n"
        "plugin = adapter_sdk.mount('refchip', exclusive=True)\n"
        "import paddle\n"
        "plugin.confirm_mounted()\n"
        "paddle.set_device('refchip:0')\n"
        "print(paddle.device.get_all_custom_device_type(), plugin.library.mount_state())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['refchip'] registered"
