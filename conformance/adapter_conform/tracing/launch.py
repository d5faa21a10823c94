"""Runs a program with Paddle's logs on, reads them while they come, and lets everything else of it pass."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import IO

from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.tracing.log import LogReader
from adapter_conform.tracing.programs import ProgramReader
from adapter_conform.tracing.record import Trace

__all__ = ["record"]

_MIN_LEVEL = "GLOG_minloglevel"


def record(command: Sequence[str], notify: Callable[[str], None] = lambda _: None) -> tuple[Trace, int]:
    """Runs ``command`` and gives what it asked of Paddle, with its exit status (128 + n where signal n ended it).

    Standard input is the caller's; standard output and error come through, without Paddle's log of kernels.

    Args:
        notify: told in words when something about the recording is amiss.

    Raises:
        UsageProblem: there is no such program, or it cannot be executed.
    """
    if shutil.which(command[0]) is None:
        raise UsageProblem(f"no program {command[0]!r} to trace: give it after `--`, as in `-- python train.py`")
    trace = Trace(header={"command": list(command), "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    with tempfile.TemporaryDirectory(prefix="adapter-trace-") as folder:
        began = time.monotonic()
        status, reader = _run(command, folder, trace)
        trace.header |= {
            "elapsed_s": round(time.monotonic() - began, 3),
            "paddle": reader.paddle,
            "exit_status": status,
        }
        trace.calls = _calls_of(Path(folder), notify)
    trace.header["devices"] = sorted(reader.devices)
    return trace, status


def _run(command: Sequence[str], folder: str, trace: Trace) -> tuple[int, LogReader]:
    out, err = _Outlet(sys.stdout), _Outlet(sys.stderr)
    wanted_level = os.environ.get(_MIN_LEVEL, "0")
    programs = ProgramReader(out.line)
    reader = LogReader(trace, err.line, int(wanted_level) if wanted_level.isdigit() else 0)
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(os.environ, folder)
        )
    except OSError as error:
        raise UsageProblem(f"cannot run {command[0]}: {error.strerror or error}") from error
    assert process.stdout is not None
    assert process.stderr is not None
    faults: list[Exception] = []
    readers = [
        threading.Thread(target=_read, args=(stream, take, faults), daemon=True)
        for stream, take in ((process.stdout, programs.line), (process.stderr, reader.line))
    ]
    for thread in readers:
        thread.start()
    status = _wait(process)
    for thread in readers:
        thread.join(timeout=30)  # a grandchild may hold the pipes open for ever
    if faults:
        raise ConformError(f"the log of the traced program could not be read: {faults[0]!r}") from faults[0]
    programs.close()
    reader.close(programs.find)
    return status, reader


def _environment(own: Mapping[str, str], folder: str) -> dict[str, str]:
    inject = str(resources.files(__package__) / "inject")
    paths = [inject, *([own["PYTHONPATH"]] if own.get("PYTHONPATH") else [])]
    return {
        **own,
        "PYTHONPATH": os.pathsep.join(paths),
        "ADAPTER_TRACE_DIR": folder,
        "GLOG_logtostderr": "1",
        _MIN_LEVEL: "0",
        "PYTHONUNBUFFERED": "1",  # a pipe would keep the program's words back
    }


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches the program too, which may take its time to end."""
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
    return status if status >= 0 else 128 - status


def _read(stream: IO[bytes], take: Callable[[str], None], faults: list[Exception]) -> None:
    """Reads to the end whatever happens: a full pipe would stop the program."""
    for raw in stream:
        if faults:
            continue
        try:
            take(raw.decode("utf-8", errors="replace").rstrip("\n"))
        except Exception as error:
            faults.append(error)


class _Outlet:
    """A stream of ours that the program's lines go on to, as long as somebody reads them."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._read = True

    def line(self, text: str) -> None:
        if not self._read:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except BrokenPipeError:  # e.g. `| head`
            self._read = False


def _calls_of(folder: Path, notify: Callable[[str], None]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for path in sorted(folder.glob("calls-*.json")):
        try:
            total.update(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            notify(f"{path.name} is cut off: the API calls of that process are not in the trace")
    return dict(total)
