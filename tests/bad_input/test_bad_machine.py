"""refchip itself, in surroundings that it cannot serve: told by `adapter-conform`, and `import paddle` still works."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conform_harness import Finished, conform_command, conform_environment, run_conform
from unknown_paddle import relabelled_paddle

import adapter_sdk

pytestmark = [pytest.mark.device, pytest.mark.slow]

ONE_CASE = ("--plugin", "refchip", "--suite", "ops", "--profile", "smoke", "-k", "ops/relu/float32/eager-0")
DEVICES = "paddle.device.get_all_custom_device_type()"
USE_PADDLE = f"import paddle; print('devices:', {DEVICES}, float(paddle.ones([2]).sum()))"


@pytest.fixture(scope="module")
def refchip() -> Path:
    """refchip's library."""
    library = adapter_sdk.load("refchip").library
    assert library is not None
    return library.path


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**conform_environment(), **environment},
        check=False,
    )


def _import_paddle(refchip: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A plain program that knows nothing of us, with refchip where Paddle looks."""
    return _python(USE_PADDLE, CUSTOM_DEVICE_ROOT=str(refchip.parent), **environment)


def _assert_absent_but_working(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 0, done.stderr
    assert "devices: [] 2.0" in done.stdout
    refusals = [line for line in done.stderr.splitlines() if line.startswith("adapter-sdk: plugin refchip")]
    assert len(refusals) == 1, done.stderr
    for word in words:
        assert word in refusals[0]


MACHINES = {
    "zero cards": ("REFCHIP_CARDS", "0", "reports 0 cards", "reports no card; see that its driver is loaded"),
    "junk cards": ("REFCHIP_CARDS", "two", 'REFCHIP_CARDS is "two", but must be', 'REFCHIP_CARDS is "two"'),
    "junk memory": ("REFCHIP_MEMORY", "lots", 'REFCHIP_MEMORY is "lots", but must be', "correct it or unset it"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_bad_machine(machine: str, refchip: Path, tmp_path: Path) -> None:
    variable, value, told, refused = MACHINES[machine]
    run = run_conform(tmp_path / "out", *ONE_CASE, **{variable: value})
    assert run.code == 3
    assert told in run.stdout
    assert "adapter_device" in run.stdout
    assert "remedy:" in run.stdout
    assert run.summary["executed"] == 0
    _assert_absent_but_working(_import_paddle(refchip, **{variable: value}), refused)


def test_unknown_interface_size(refchip: Path) -> None:
    script = Path(__file__).with_name("refuse_unknown_size.py")
    command = [sys.executable, str(script), str(refchip)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "device_type: None\nslots written: 0\n", done.stderr
    assert "C_DeviceInterface has 999 bytes; known are 920 (3.0), 976 (3.1), 1032 (3.2), 1128 (3.3)" in done.stderr
    assert "built with contract 1.1" in done.stderr
    assert "install a paddlepaddle that the plugin supports (>=3.0,<3.4)" in done.stderr


def test_unknown_paddle_version(refchip: Path, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("paddle")
    assert spec is not None
    assert spec.origin is not None
    tree = relabelled_paddle(Path(spec.origin).parent, tmp_path / "tree", "9.9.9")
    path = {"PYTHONPATH": os.pathsep.join([str(tree), conform_environment()["PYTHONPATH"]])}
    done = _import_paddle(refchip, **path)
    _assert_absent_but_working(done, "this is PaddlePaddle 9.9.9", "3.3.0, 3.3.1", "install a paddlepaddle")
    run = run_conform(tmp_path / "out", *ONE_CASE, **path)
    assert run.code == 3
    assert "plugin 'refchip' supports paddlepaddle >=3.0,<3.4, installed is 9.9.9" in run.stdout
    assert "pip install 'paddlepaddle>=3.0,<3.4'" in run.stdout
    assert [record["state"] for record in run.records] == ["not_run"]


@pytest.mark.parametrize("keep", [None, 100_000], ids=["junk", "truncated"])
def test_damaged_library_of_somebody_else(keep: int | None, refchip: Path, tmp_path: Path) -> None:
    """Paddle's own loader raises on the one and dies of SIGBUS on the other."""
    folder = tmp_path / "scanned"
    folder.mkdir()
    (folder / refchip.name).symlink_to(refchip)
    (folder / "libacme.so").write_bytes(b"junk\n" * 999 if keep is None else refchip.read_bytes()[:keep])
    environment = {"CUSTOM_DEVICE_ROOT": str(folder)}
    mounted = _python(f"import adapter_sdk; adapter_sdk.mount('refchip'); {USE_PADDLE}", **environment)
    assert mounted.returncode == 0, mounted.stderr
    assert "devices: ['refchip'] 2.0" in mounted.stdout
    assert "libacme.so is not usable" in mounted.stderr
    run = run_conform(tmp_path / "out", *ONE_CASE, **environment)
    assert run.code == 0, run.stdout


def test_malformed_lines_of_a_replay_file_cost_themselves_only(tmp_path: Path) -> None:
    file = tmp_path / "calls.txt"
    file.write_text(
        'paddle.add(Tensor([2, 3],"float32"), Tensor([2, 3],"float32"), )\n'
        'paddle.add(Tensor([2, 3,"float32"), 1.0, )\n'
        'paddle.add(Tensor([2, 3],"float77"), 1.0, )\n'
    )
    run = run_conform(tmp_path / "out", "--plugin", "refchip", "--replay", str(file))
    assert run.code == 3, run.stdout
    states = {record["id"]: record["state"] for record in run.records}
    assert states == {
        "replay/paddle.add/1": "passed",
        "replay/malformed/2": "not_run",
        "replay/malformed/3": "not_run",
    }
    messages = " ".join(record["message"] for record in run.records)
    assert "calls.txt:2:34: expected ',' or ']'" in messages
    assert "calls.txt:3:26: unknown dtype 'float77'; known are" in messages


def test_replay_file_without_a_call_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "calls.txt"
    file.write_bytes(b"hello world\n\x00\xff")
    run = run_conform(tmp_path / "out", "--plugin", "refchip", "--replay", str(file))
    assert run.code == 2
    assert "holds no well-formed call (2 malformed lines). Expected lines such as" in run.stderr
    assert str(file) in run.stderr
    assert "calls.txt:1:1: expected the full name of a Paddle API" in run.stderr
    assert not run.out.exists()


def test_output_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    run = run_conform(tmp_path / "taken" / "out", *ONE_CASE)
    assert run.code == 2
    assert "--out" in run.stderr
    assert "taken" in run.stderr
    assert (tmp_path / "taken").read_text() == "mine"


def test_interrupt_in_mid_run_keeps_what_was_judged(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--plugin", "refchip", "--suite", "ops", "--profile", "standard", "--out", str(out)]
    process = subprocess.Popen(
        conform_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=conform_environment(),
    )
    _wait_for_records(out / "results.jsonl", 20, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    run = Finished(process.returncode, stdout, stderr, out)
    counts = run.summary["counts"]
    assert "SIGINT (Ctrl-C or kill)" in run.summary["stopped"]
    assert run.summary["planned"] == len(run.records)
    assert 20 <= run.summary["executed"] < run.summary["planned"]
    assert counts["passed"] > 0
    assert counts["not_run"] > 0
    assert run.code == (1 if counts["failed"] else 3)
    assert "SIGINT" in run.stdout
    assert (out / "report.html").is_file()


def _wait_for_records(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_text().count("\n") >= count):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no results"
        time.sleep(0.05)
