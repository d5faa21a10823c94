"""The side that starts the confined process, waits, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapter_conform.errors import ConformError

__all__ = ["Isolation", "Limits", "SandboxUnavailable", "Verdict", "isolation", "run_program"]

_INSIDE = Path(__file__).with_name("inside") / "main.py"
_MOST_ANSWER = 1 << 16
"""Bytes that the process may say."""


class SandboxUnavailable(ConformError):
    """This machine cannot confine a process as it must be. Nothing was run."""


@dataclass(frozen=True)
class Limits:
    """Of one program. The published harness gives 3 seconds by the clock; a loaded machine needs more of these."""

    cpu_seconds: int = 10
    wall_seconds: float = 60.0
    memory_bytes: int = 1 << 30
    """Of address space."""
    file_bytes: int = 1 << 20
    files: int = 64


@dataclass(frozen=True)
class Isolation:
    """What is in force around a program."""

    landlock: int
    """ABI; from 4 on it takes TCP away, too."""
    seccomp: bool
    namespaces: bool
    """Whether it has a network, a user and an IPC namespace of its own, which has no network at all."""

    def words(self) -> str:
        network = "no network (own namespace, no sockets)" if self.namespaces else "no sockets; no network namespace"
        return f"files by Landlock (ABI {self.landlock}), calls by seccomp, {network}"


@dataclass(frozen=True)
class Verdict:
    passed: bool
    why: str
    """Why it did not pass."""
    isolation: Isolation | None = None
    """None where it ended before it could tell."""


def isolation(limits: Limits | None = None) -> Isolation:
    """What this machine offers, by running a harmless program.

    Raises:
        SandboxUnavailable: too little.
    """
    verdict = run_program("", limits or Limits())
    if verdict.isolation is None:
        raise SandboxUnavailable(f"the process that confines programs does not work here: {verdict.why}")
    return verdict.isolation


def run_program(program: str, limits: Limits) -> Verdict:
    """Passed when ``program`` came to its end without an exception.

    Raises:
        SandboxUnavailable: the process could not be confined; the program was not run.
    """
    nonce = secrets.token_hex(16)
    job = json.dumps({"program": program, "limits": asdict(limits), "nonce": nonce}).encode()
    with tempfile.TemporaryDirectory(prefix="adapter-conform-code-") as folder:
        reading, writing = os.pipe()
        try:
            process = _start(folder, writing)
        finally:
            os.close(writing)
        try:
            said, in_time = _talk(process, job, reading, limits.wall_seconds)
        finally:
            status = _end(process)
            os.close(reading)
    return _verdict(said, nonce, in_time, status, limits)


def _start(folder: str, writing: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(_INSIDE), str(writing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(writing,),
        cwd=folder,
        env={"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        start_new_session=True,
    )


def _talk(process: subprocess.Popen[bytes], job: bytes, reading: int, seconds: float) -> tuple[bytes, bool]:
    """What the process said until its end, and whether that came in time."""
    assert process.stdin is not None
    deadline = time.monotonic() + seconds
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(job)
    said = b""
    while len(said) <= _MOST_ANSWER:
        ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return said, False
        chunk = os.read(reading, 1 << 12)
        if not chunk:
            break
        said += chunk
    return said, True


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ends the process and whatever belongs to its group; its exit status."""
    if process.poll() is None:
        time.sleep(0.01)  # it may be about to leave by itself, with a status that says more
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _verdict(said: bytes, nonce: str, in_time: bool, status: int, limits: Limits) -> Verdict:
    if not in_time:
        return Verdict(False, f"it did not end within {limits.wall_seconds:g} seconds")
    message = _parsed(said)
    if message.get("nonce") != nonce:
        return Verdict(False, _ended_with(status, limits))
    if "unconfined" in message:
        raise SandboxUnavailable(
            f"this machine cannot confine a program that a model wrote: {message['unconfined']}\n"
            "It takes Linux 5.13 or newer with Landlock and seccomp, on x86_64 or aarch64."
        )
    return Verdict(message.get("passed") is True, str(message.get("why")), Isolation(**message["layers"]))


def _parsed(said: bytes) -> dict[str, Any]:
    try:
        message = json.loads(said)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _ended_with(status: int, limits: Limits) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it took more than {limits.cpu_seconds} seconds of processor time, or was killed"
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it left by itself with status {status} before its test was over"
