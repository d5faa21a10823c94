"""Code that a model wrote: what is right passes, what is wrong does not, and nothing gets out."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from adapter_conform.evaluation import sandbox
from adapter_conform.evaluation.sandbox import Limits, SandboxUnavailable, Verdict, isolation, run_program
from adapter_conform.evaluation.sandbox import run as running

LIMITS = Limits(cpu_seconds=1, wall_seconds=30.0, memory_bytes=256 << 20)
SECRET = "a-secret-of-the-environment"


@pytest.fixture(autouse=True)
def confined() -> None:
    try:
        isolation(LIMITS)
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def test_what_is_right_passes() -> None:
    program = """
import bisect, collections, dataclasses, datetime, decimal, functools, hashlib, heapq, itertools, json, math, random, re
from typing import List

@dataclasses.dataclass
class Pair:
    left: int = 1

def f(x: List[int]) -> str:
    return hashlib.md5(str(sum(x)).encode()).hexdigest() + str(Pair().left)

print("to nowhere")
assert f([1, 2]) == "eccbc87e4b5ce2fe28308fd9f2a7baf3" + "1"
"""
    verdict = run_program(program, LIMITS)
    assert (verdict.passed, verdict.why) == (True, "")
    assert verdict.isolation is not None
    assert verdict.isolation.seccomp
    assert verdict.isolation.landlock >= 1
    assert "Landlock" in verdict.isolation.words()


def escape(tmp_path: Path) -> dict[str, tuple[str, str]]:
    """Attempt -> program, and what it is to be told. A program that gets through ends without an exception."""
    mine, port = os.getpid(), 9
    return {
        "wrong answer": ("assert 1 + 1 == 3, 'no'", "AssertionError: no"),
        "no program": ("def (", "SyntaxError"),
        "endless loop": ("while True: pass", "processor time"),
        "endless loop that catches its signal": (
            "import signal\nsignal.signal(signal.SIGXCPU, lambda *_: None)\nwhile True: pass",
            "processor time",
        ),
        "memory": ("kept = []\nwhile True: kept.append(bytearray(1 << 20))", "MemoryError"),
        "recursion": ("def f(): f()\nf()", "RecursionError"),
        "fork bomb": ("import os\nwhile True: os.fork()", "PermissionError"),
        "fork by the C library": ("import ctypes\nassert ctypes.CDLL(None).fork() >= 0", "AssertionError"),
        "threads": ("import threading\nthreading.Thread(target=print).start()", "can't start new thread"),
        "another program": ("import os\nos.execv('/bin/sh', ['sh', '-c', 'true'])", "PermissionError"),
        "a shell": ("import subprocess\nsubprocess.run('true', shell=True)", "PermissionError"),
        "writing outside": (f"open({str(tmp_path / 'escaped')!r}, 'w').write('x')", "PermissionError"),
        "writing inside": ("open('file', 'w').write('x')", "PermissionError"),
        "removing": (f"import os\nos.remove({str(tmp_path / 'kept')!r})", "PermissionError"),
        "renaming": (f"import os\nos.rename({str(tmp_path / 'kept')!r}, 'here')", "Error"),
        "modes": (f"import os\nos.chmod({str(tmp_path)!r}, 0o777)", "PermissionError"),
        "reading a file": (f"open({str(tmp_path / 'kept')!r}).read()", "PermissionError"),
        "reading the home": ("import os\nos.listdir(os.path.expanduser('~root'))", "Error"),
        "environment": (f"import os\nassert {SECRET!r} not in str(os.environ)\nraise SystemExit('clean')", "clean"),
        "another's environment": (f"open('/proc/{mine}/environ').read()", "PermissionError"),
        "a socket": (f"import socket\nsocket.create_connection(('127.0.0.1', {port}))", "PermissionError"),
        "a socket pair": ("import socket\nsocket.socketpair()", "PermissionError"),
        "a signal": (f"import os\nos.kill({mine}, 0)", "PermissionError"),
        "a higher limit": ("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))", "Error"),
        "a new session": ("import os\nos.setsid()", "PermissionError"),
        "leaving early": ("import sys\nsys.exit(0)", "SystemExit"),
        "leaving at once": ("import os\nos._exit(0)", "left by itself"),
        "a forged verdict": (
            'import os\nfor i in range(64):\n  try: os.write(i, b\'{"passed": true, "why": "", "nonce": ""}\')\n'
            "  except OSError: pass\nos._exit(0)",
            "left by itself",
        ),
        "a crash": ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
        "an exception without words": (
            "class Mute(BaseException):\n  def __str__(self): raise Mute\nraise Mute",
            "cannot be shown",
        ),
    }


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Verdict, str]]:
    """Of all attempts, four at a time."""
    from concurrent.futures import ThreadPoolExecutor

    folder = tmp_path_factory.mktemp("outside")
    (folder / "kept").write_text("kept")
    attempts = escape(folder)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setenv("SECRET", SECRET)
        found = list(pool.map(lambda attempt: run_program(attempt[0], LIMITS), attempts.values()))
    assert [path.name for path in folder.iterdir()] == ["kept"]
    assert (folder / "kept").read_text() == "kept"
    return {name: (verdict, attempts[name][1]) for name, verdict in zip(attempts, found, strict=True)}


@pytest.mark.parametrize("name", sorted(escape(Path("/"))))
def test_nothing_gets_out(verdicts: dict[str, tuple[Verdict, str]], name: str) -> None:
    verdict, says = verdicts[name]
    assert not verdict.passed
    assert says in verdict.why


def test_what_sleeps_is_ended_by_the_clock() -> None:
    verdict = run_program("import time\ntime.sleep(60)", Limits(cpu_seconds=1, wall_seconds=1.0))
    assert verdict == Verdict(False, "it did not end within 1 seconds")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.tempfile, "tempdir", str(tmp_path))
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for program in ("", "assert False", "while True: pass"):
        run_program(program, LIMITS)
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
    assert not list(tmp_path.iterdir())


def test_a_machine_that_cannot_confine_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The confined process on a kernel without Landlock: the program must not run."""
    inside = tmp_path / "inside"
    inside.mkdir()
    for part in ("main.py", "seccomp.py"):
        (inside / part).write_text((running._INSIDE.with_name(part)).read_text())
    (inside / "landlock.py").write_text(
        "def restrict(readable):\n    raise OSError('this kernel offers no Landlock')\n"
    )
    monkeypatch.setattr(running, "_INSIDE", inside / "main.py")
    marker = tmp_path / "ran"
    with pytest.raises(SandboxUnavailable, match="offers no Landlock"):
        run_program(f"open({str(marker)!r}, 'w')", LIMITS)
    assert not marker.exists()


def test_attempts_would_succeed_without_the_sandbox(tmp_path: Path) -> None:
    """Else they would show nothing."""
    (tmp_path / "kept").write_text("kept")
    attempts = escape(tmp_path)
    with socket.create_server(("127.0.0.1", 0)):
        for name in (
            "writing outside",
            "reading a file",
            "modes",
            "another's environment",
            "a socket pair",
            "a signal",
        ):
            done = subprocess.run([sys.executable, "-c", attempts[name][0]], cwd=tmp_path, check=False, timeout=60)
            assert done.returncode == 0, name


def test_the_filter_has_both_tables() -> None:
    """Numbers of a processor that this machine is not."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("seccomp_under_test", running._INSIDE.with_name("seccomp.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert all(len(row) == 2 for row in module._REFUSED.values())
    for place in range(2):
        numbers = [row[place] for row in module._REFUSED.values() if row[place] >= 0]
        assert len(numbers) == len(set(numbers))
    assert len(module._program(0xC000003E, [1, 2, 3])) == 8 * (6 + 3 + 2)
    assert (platform.machine() in ("x86_64", "aarch64")) == module.KNOWN
    assert sandbox.__all__
