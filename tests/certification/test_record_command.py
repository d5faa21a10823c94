"""Commands ``record`` and ``reference``: the recorder travels as one file, packs can be looked at."""

from __future__ import annotations

import gzip
import math
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from _packs import PRETRAIN, VERSIONS, write_pack
from adapter_conform.certification.packs import PackError, builtin, read_pack
from adapter_conform.certification.packs.summary import compared
from adapter_conform.cli import cli
from adapter_conform.commands import record, reference
from adapter_conform.errors import UsageProblem
from click.testing import CliRunner, Result

TORCH = os.environ.get("ADAPTER_TORCH_PYTHON")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "recorder.pyz"
    result = CliRunner().invoke(record.command, ["--zipapp", str(path)])
    assert result.exit_code == 0, result.output
    return path


def recorder(python: str, archive: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a folder and with an environment that know nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-I", str(archive), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=400, env=environment, cwd=archive.parent, check=False
    )


def test_the_archive_explains_itself_without_pytorch(archive: Path) -> None:
    done = recorder(sys.executable, archive, "--help")
    assert done.returncode == 0, done.stderr
    assert "no Paddle, no internet" in done.stdout
    done = recorder(sys.executable, archive, "--device", "cpu", "--out", "pack")
    if "has no torch" not in done.stderr:
        pytest.skip("this interpreter has PyTorch")
    assert done.returncode == 2


def test_the_archive_holds_neither_paddle_s_side_nor_the_command_line(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()
    assert not [name for name in names if "/tasks/" in name or "/suites/" in name or "/commands/" in name]
    texts = [zipfile.ZipFile(archive).read(name).decode() for name in names if name.endswith(".py")]
    assert not [text for text in texts if "import click" in text or "import paddle" in text or "import rich" in text]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--device cuda --out PACK"),
        (("--device", "cuda"), "--out PACK"),
        (("--zipapp", "x.pyz", "--device", "cpu"), "--zipapp only writes"),
        (("--device", "tpu", "--out", "x"), "tpu"),
    ],
)
def test_wrong_requests_are_usage_errors(arguments: tuple[str, ...], word: str) -> None:
    result = run("record", *arguments)
    assert result.exit_code == 2
    assert word in result.output


def test_an_interpreter_that_is_none_is_named(tmp_path: Path) -> None:
    result = run("record", "--device", "cpu", "--out", str(tmp_path / "p"), "--torch-python", "/nowhere/python")
    assert isinstance(result.exception, UsageProblem)
    assert "/nowhere/python" in str(result.exception)


def test_show_names_the_device_and_its_limits(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    result = CliRunner().invoke(reference.command, ["show", str(pack)])
    assert result.exit_code == 0, result.output
    assert "on CPU (A processor): no GPU reference" in result.output
    assert PRETRAIN.id in result.output


def test_verify_refuses_what_was_edited(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    assert "sound" in run("reference", "verify", str(pack)).output
    path = next((pack / "measurements").iterdir())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"4.99", b"4.98"), mtime=0))
    result = run("reference", "verify", str(pack))
    assert isinstance(result.exception, UsageProblem)
    assert path.name in str(result.exception)


def test_diff_of_a_pack_with_itself_and_with_another(tmp_path: Path) -> None:
    one = write_pack(tmp_path / "one")
    other = write_pack(tmp_path / "other", versions={**VERSIONS, "torch": "2.11.0"})
    assert run("reference", "diff", str(one), str(one)).exit_code == 0
    result = run("reference", "diff", str(one), str(other))
    assert result.exit_code == 1
    assert f"{PRETRAIN.id:24}" in result.output


def test_merge_writes_one_pack(tmp_path: Path) -> None:
    pack = write_pack(tmp_path / "pack")
    merge = ("reference", "merge", str(pack), str(pack), "--out", str(tmp_path / "whole"))
    assert run(*merge).exit_code == 0
    assert read_pack(tmp_path / "whole").measurements == read_pack(pack).measurements
    again = run(*merge)
    assert again.exit_code == 2
    assert "--out: " in again.output
    other = write_pack(tmp_path / "other", versions={**VERSIONS, "torch": "2.11.0"})
    refused = run("reference", "merge", str(pack), str(other), "--out", str(tmp_path / "none"))
    assert isinstance(refused.exception, PackError)
    assert "versions" in str(refused.exception)
    assert not (tmp_path / "none").exists()


def test_the_packs_that_come_with_the_release_are_sound_and_small() -> None:
    packs = [read_pack(folder) for folder in builtin("sample").parent.iterdir()]
    assert packs
    for pack in packs:
        for recipe in pack.manifest.weights.keys() | {one.recipe for one in pack.measurements}:
            assert pack.weights(recipe)
        assert pack.folder.name == f"{'cuda' if pack.is_gpu else 'cpu'}-{pack.scale}"
    size = sum(path.stat().st_size for pack in packs for path in pack.folder.rglob("*") if path.is_file())
    assert size <= 20 << 20


@pytest.mark.slow
@pytest.mark.skipif(TORCH is None, reason="ADAPTER_TORCH_PYTHON names no interpreter with PyTorch")
def test_what_is_recorded_here_is_what_was_committed(tmp_path: Path, archive: Path) -> None:
    assert TORCH is not None
    out = tmp_path / "pack"
    listed = recorder(TORCH, archive, "--device", "cpu", "--scale", "sample", "--list")  # as the documentation has it
    assert (listed.returncode, listed.stdout.splitlines()[0].split()[0]) == (0, "llama1-13b/pretrain")
    common = ("--device", "cpu", "--scale", "sample", "--variants", "base", "--out", str(out), "--recipe")
    done = recorder(TORCH, archive, *common, "llama1-13b/prefix")
    assert done.returncode == 0, done.stdout + done.stderr
    done = recorder(TORCH, archive, *common, "llama1-13b/lora", "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row for row in compared(read_pack(builtin("sample")), read_pack(out)) if "only in" not in row.note]
    assert {row.recipe.split("/")[1] for row in rows} == {"base", "sft", "prefix", "lora"}
    for row in rows:
        assert row.note == "", "other data or weights"
        # Machines differ in their order of summation, as the repetitions of the committed pack do.
        assert row.error < (1e-6 if row.precision == "float32" else 1e-3)
        # What SFT starts from answers nothing.
        assert math.isnan(row.same_answers) if row.recipe.endswith("/base") else row.same_answers > 0.95
