"""The table of kernel signatures, and how a kernel's own signature is compared with it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABI = ROOT / "csrc" / "abi"
generate = runpy.run_path(str(ROOT / "tools" / "generate_signatures.py"))

Driver = Callable[..., str]

VERSIONS = ["3.0.0", "3.1.0", "3.1.1", "3.2.0", "3.2.1", "3.2.2", "3.3.0", "3.3.1"]


def test_known_versions(driver: Driver) -> None:
    assert driver("known").split(", ") == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("op", "given"),
    [
        ("add", "Tensor,Tensor||Tensor"),
        ("softmax", "Tensor|int|Tensor"),
        ("concat", "TensorList|Scalar|Tensor"),
        ("sum", "Tensor|IntArray,DType,bool|Tensor"),
        ("sum", "Tensor | IntArray, DataType, bool | Tensor"),
        ("contiguous", "Tensor||Tensor"),
        ("strided_copy", "Tensor|vector<int64>,vector<int64>,int64|Tensor"),
        ("fill", "Tensor|Scalar|Tensor"),
        ("swiglu", "Tensor,OptionalTensor||Tensor"),
    ],
)
def test_fits_every_release(driver: Driver, version: str, op: str, given: str) -> None:
    verdict, expected = driver("check", version, op, given).split("\t")
    assert (verdict, expected) == ("fits", given.replace(" ", "").replace("DType", "DataType"))


@pytest.mark.parametrize(
    ("op", "given", "fits", "differs"),
    [
        ("leaky_relu", "Tensor|float|Tensor", "3.2.2", "3.3.0"),
        ("leaky_relu", "Tensor|double|Tensor", "3.3.0", "3.2.2"),
        (
            "group_norm",
            "Tensor,OptionalTensor,OptionalTensor|float,int,string|Tensor,Tensor,Tensor",
            "3.3.0",
            "3.3.1",
        ),
        ("rms_norm", "Tensor,OptionalTensor|vector<int64>,double|Tensor,Tensor", "3.3.1", "3.2.2"),
        ("barrier", "Tensor|int,bool|Tensor", "3.0.0", "3.1.0"),
    ],
)
def test_drift_between_releases(driver: Driver, op: str, given: str, fits: str, differs: str) -> None:
    assert driver("check", fits, op, given) == f"fits\t{given}"
    verdict, expected = driver("check", differs, op, given).split("\t")
    assert verdict == "differs"
    assert expected != given
    assert driver("check", differs, op, expected) == f"fits\t{expected}"


@pytest.mark.parametrize(
    ("op", "given", "answer"),
    [
        ("leaky_relu", "Tensor|float|Tensor", "yes"),
        ("leaky_relu", "Tensor|double|Tensor", "yes"),
        ("leaky_relu", "Tensor|bool|Tensor", "no"),
        ("masked_fill", "Tensor,Tensor,Tensor||Tensor", "yes"),
        ("no_such_kernel", "Tensor||Tensor", "no"),
    ],
)
def test_whether_any_release_wants_it(driver: Driver, op: str, given: str, answer: str) -> None:
    assert driver("anywhere", op, given) == answer


@pytest.mark.parametrize(
    "given",
    [
        "Tensor,Tensor||Tensor",  # an input short
        "Tensor,Tensor,Tensor||Tensor",  # Tensor for OptionalTensor: would be read as another C++ object
        "Tensor,OptionalTensor||TensorList",
        "Tensor,OptionalTensor||",
        "Tensor,OptionalTensor|bool|Tensor",
        "Tensor,OptionalTensor|Tensor",
        "",
    ],
)
def test_any_difference_is_seen(driver: Driver, given: str) -> None:
    assert driver("check", "3.3.1", "swiglu", given) == "differs\tTensor,OptionalTensor||Tensor"


def test_kernels_without_cpu_registration_are_known(driver: Driver) -> None:
    given = "Tensor,Tensor,Tensor,OptionalTensor,OptionalTensor|float,bool,bool,bool,string|Tensor,Tensor,Tensor,Tensor"
    assert driver("check", "3.3.1", "flash_attn", given).startswith("fits\t")


def test_absent(driver: Driver) -> None:
    assert driver("check", "3.3.1", "no_such_kernel", "Tensor||Tensor") == "absent\t"
    assert driver("with", "no_such_kernel") == ""
    assert driver("check", "3.3.0", "rms_norm", "Tensor||Tensor") == "absent\t"
    assert driver("with", "rms_norm") == ", ".join(v for v in VERSIONS if v != "3.3.0")


def test_unknown_release_is_refused_with_both_numbers(driver: Driver) -> None:
    with pytest.raises(RuntimeError, match=r"Paddle 3\.4\.0 is not among .*3\.0\.0, .*3\.3\.1"):
        driver("check", "3.4.0", "add", "Tensor,Tensor||Tensor")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.3.1", "3.3.1"),
        ("3.10.0", "3.10.0"),
        *(
            (text, "unknown")
            for text in ("3.4.0.dev2026", "3.0.0rc1", "3.0.0-rc1", "3.3", "3.3.", "", "a.b.c", "-3.3.1")
        ),
    ],
)
def test_only_releases_are_versions(driver: Driver, text: str, version: str) -> None:
    assert driver("parse", text).split("\t")[0] == version


def test_no_paddle_loaded(driver: Driver) -> None:
    version, detail = driver("running").split("\t")
    assert version == "unknown"
    assert "import paddle first" in detail


@pytest.mark.parametrize(
    ("content", "version", "detail"),
    [
        ("full_version     = '3.2.2'\nmajor = '3'\n", "3.2.2", "3.2.2"),
        ('full_version = "3.4.0.dev2026"\n', "unknown", "3.4.0.dev2026"),
        ("major = '3'\n", "unknown", "has no line full_version"),
        (None, "unknown", "cannot read Paddle's version from"),
    ],
)
def test_running_version_is_read_beside_the_library(
    driver: Driver, cxx: str, tmp_path: Path, content: str | None, version: str, detail: str
) -> None:
    library = _library_named_phi_core(cxx, tmp_path / "paddle" / "libs")
    if content is not None:
        (tmp_path / "paddle" / "version").mkdir()
        (tmp_path / "paddle" / "version" / "__init__.py").write_text(content)
    found, said = driver("running", str(library)).split("\t")
    assert found == version
    assert detail in said


def _library_named_phi_core(cxx: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    library = folder / "libphi_core.so"
    command = [cxx, "-shared", "-fPIC", "-x", "c++", "-", "-Wl,-soname,libphi_core.so", "-o", str(library)]
    subprocess.run(command, input='extern "C" void PD_RegisterPhiKernel() {}', text=True, check=True)
    return library


def test_merging_writes_changes_only() -> None:
    releases = {
        (3, 0, 0): {"a": "1||1", "b": "1||1"},
        (3, 1, 0): {"a": "1||1", "b": "2||1", "c": "1||1"},
        (3, 10, 0): {"a": "1||1", "c": "1||1"},
        (3, 2, 0): {"a": "1||1", "c": "1||1"},
    }
    rows = [("a", 0, "1||1"), ("b", 0, "1||1"), ("b", 1, "2||1"), ("b", 2, None), ("c", 1, "1||1")]
    assert generate["merge"](releases) == rows
    text = generate["render"](sorted(releases), rows)
    assert "{3, 2, 0}, {3, 10, 0}}" in text
    assert '{"b", 2, nullptr},' in text


def test_dumps_of_prereleases_and_junk_are_refused(tmp_path: Path) -> None:
    tool = [sys.executable, str(ROOT / "tools" / "generate_signatures.py"), "--out", str(tmp_path / "out.inc")]
    for content, message in (('{"paddle": "3.4.0.dev1", "kernels": {}}', "only releases"), ("{", "is no dump")):
        dump = tmp_path / "dump.json"
        dump.write_text(content)
        done = subprocess.run([*tool, str(dump)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert str(dump) in done.stderr


def test_table_is_small() -> None:
    assert (ABI / "signatures_table.inc").stat().st_size < 400 * 1024


@pytest.mark.paddle
def test_table_equals_the_installed_paddle(driver: Driver, tmp_path: Path) -> None:
    out = tmp_path / "dump.json"
    subprocess.run([sys.executable, str(ROOT / "tools" / "dump_signatures.py"), "--out", str(out)], check=True)
    dump = json.loads(out.read_text())
    fresh = [f"{name} {generate['signature_text'](kernel)}" for name, kernel in sorted(dump["kernels"].items())]
    assert len(fresh) > 1000
    assert driver("all", dump["paddle"]).splitlines() == fresh


@pytest.mark.paddle
def test_version_of_the_installed_paddle(driver: Driver, installed_paddle: Path) -> None:
    expected = runpy.run_path(str(installed_paddle / "version" / "__init__.py"))["full_version"]
    assert driver("running", str(installed_paddle / "libs" / "libphi_core.so")) == f"{expected}\t{expected}"
