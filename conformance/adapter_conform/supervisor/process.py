"""One worker process as the supervisor sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapter_conform.plan import PlannedCase
from adapter_conform.supervisor.health import Footprint
from adapter_conform.supervisor.protocol import LineReader, Message, case_to_json, write_message

__all__ = ["Assignment", "WorkerProcess", "worker_environment"]

_TAIL_BYTES = 6000
_STACK_DUMP_SECONDS = 0.3


@dataclass(frozen=True)
class Assignment:
    """A case that a worker holds. ``started`` and ``deadline`` are of ``time.monotonic()``, in seconds."""

    planned: PlannedCase
    started: float
    deadline: float


class WorkerProcess:
    """Starts a worker and sends it the hello. Its output goes to ``log_path``."""

    def __init__(
        self, number: int, hello: Message, log_path: Path, env: Mapping[str, str], startup_limit: float
    ) -> None:
        self.number = number
        self.log_path = log_path
        self.ready = False
        self.failure: str | None = None
        """Why the plugin could not be opened, when the worker said so."""
        self.assignment: Assignment | None = None
        self.last_case: str | None = None
        """The id of the case that it finished last."""
        self.cases_done = 0
        self.footprint: Footprint | None = None
        """When it was ready."""
        self.startup_deadline = time.monotonic() + startup_limit
        self.probe_deadline: float | None = None
        """While it looks whether the device is healthy."""
        self._log_start = 0
        self._spawn(env)
        self.send(hello)

    def _spawn(self, env: Mapping[str, str]) -> None:
        commands_read, self._commands = os.pipe()
        results_read, results_write = os.pipe()
        self.reader = LineReader(results_read)
        command = [sys.executable, "-m", "adapter_conform.supervisor.worker", str(commands_read), str(results_write)]
        try:
            with self.log_path.open("wb") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(commands_read, results_write),
                    env=dict(env),
                    start_new_session=True,  # Ctrl-C on the terminal is the supervisor's affair alone
                )
        finally:
            os.close(commands_read)
            os.close(results_write)

    def fileno(self) -> int:
        return self.reader.descriptor

    def send(self, message: Message) -> None:
        """Sends a message; that the worker is dead shows when its end of the result pipe is read."""
        try:
            write_message(self._commands, message)
        except BrokenPipeError:
            return

    def assign(self, planned: PlannedCase, timeout: float) -> None:
        self._log_start = self._log_size()
        now = time.monotonic()
        self.assignment = Assignment(planned, started=now, deadline=now + timeout)
        self.send({"type": "run", "suite": planned.spec, "case": case_to_json(planned.case)})

    def release(self) -> Assignment:
        """Takes the finished case off the worker."""
        assignment = self.assignment
        assert assignment is not None
        self.assignment = None
        self.last_case = assignment.planned.case.id
        self.cases_done += 1
        return assignment

    def probe(self, limit: float) -> None:
        """Asks whether the device is healthy; ``limit`` is in seconds."""
        self._log_start = self._log_size()
        self.probe_deadline = time.monotonic() + limit
        self.send({"type": "probe"})

    def dump_stacks(self) -> None:
        """Asks a hanging worker for its Python stacks. faulthandler answers even when the interpreter is stuck."""
        if not self.has_died():
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(_STACK_DUMP_SECONDS)

    def has_died(self) -> bool:
        """Whether the process has ended. It is not reaped yet, so its number stays its own until :meth:`kill`."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> int:
        """Kills the worker and what it started; returns the exit status as ``subprocess`` gives it."""
        with contextlib.suppress(ProcessLookupError):  # its group may have left by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def close(self) -> None:
        os.close(self._commands)
        os.close(self.reader.descriptor)

    def log_tail(self) -> str:
        """The end of what was logged since the current case, or the start, began."""
        with self.log_path.open("rb") as log:
            log.seek(max(self._log_start, self._log_size() - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()

    def _log_size(self) -> int:
        return self.log_path.stat().st_size


def worker_environment(jobs: int) -> dict[str, str]:
    """The environment of a worker. The user's settings stand, except for CPU fallback, which would void the proof."""
    env = dict(os.environ)
    env.setdefault("GLOG_minloglevel", "2")
    env.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    env["FLAGS_enable_api_kernel_fallback"] = "0"
    env["PYTHONFAULTHANDLER"] = "1"
    env["PYTHONUNBUFFERED"] = "1"
    env.pop("PYTHONWARNINGS", None)  # made into errors, warnings of Paddle's own imports would end every worker
    return env
