"""tools/add_paddle.py: a new release's tables in one command, and what it means for a plugin."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "add_paddle.py"
add_paddle = runpy.run_path(str(TOOL))


def dump_of(kernels: dict[str, str], version: str) -> dict[str, Any]:
    parts = ("inputs", "attributes", "outputs")
    rows = {
        name: {part: words.split(",") if words else [] for part, words in zip(parts, text.split("|"), strict=True)}
        for name, text in kernels.items()
    }
    return {"paddle": version, "kernels": rows}


@pytest.fixture(scope="module")
def newest() -> dict[str, str]:
    releases = add_paddle["tabled"]()
    return releases[max(releases)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)


def test_the_table_survives_being_read_and_written(newest: dict[str, str], tmp_path: Path) -> None:
    version = ".".join(map(str, max(add_paddle["tabled"]())))
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps(dump_of(newest, version)))
    done = run("--dump", str(dump), "--out", str(tmp_path / "table.inc"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "table.inc").read_text() == (ROOT / "csrc" / "abi" / "signatures_table.inc").read_text()


def test_what_a_new_release_changes_for_a_plugin(newest: dict[str, str], tmp_path: Path) -> None:
    after = {**newest, "matmul": "Tensor,Tensor|bool,bool,int|Tensor", "brand_new": "Tensor||Tensor"}
    del after["swiglu"]
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps(dump_of(after, "3.9.0")))
    library = tmp_path / "libtiny.so"
    source = ROOT / "tests" / "sdk" / "tiny_plugin.c"
    include = f"-I{ROOT / 'adapter_sdk' / 'include'}"
    subprocess.run(["gcc", "-shared", "-fPIC", include, str(source), "-o", str(library)], check=True)
    table = tmp_path / "table.inc"
    done = run("--dump", str(dump), "--library", str(library), "--out", str(table))
    assert done.returncode == 1, done.stderr
    assert "gone     swiglu" in done.stdout
    assert "new      brand_new: Tensor||Tensor" in done.stdout
    assert "changed  matmul: Tensor,Tensor|bool,bool|Tensor -> Tensor,Tensor|bool,bool,int|Tensor" in done.stdout
    assert "tinychip: 0 operators fit Paddle 3.9.0, 2 do not" in done.stdout
    assert "wanted is Tensor,Tensor|bool,bool,int|Tensor" in done.stdout
    assert "swiglu: it has Tensor,Tensor||Tensor; no such kernel now" in done.stdout
    assert '{"brand_new", ' in table.read_text()
    assert "3.9.0" in table.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{}", "'paddle'"), ('{"paddle": "0.0.0-dev", "kernels": {}}', "is no release"), ("[", "Expecting value")],
)
def test_dumps_that_cannot_be_used(text: str, words: str, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(text)
    done = run("--dump", str(dump), "--check")
    assert done.returncode == 2
    assert words in done.stderr
