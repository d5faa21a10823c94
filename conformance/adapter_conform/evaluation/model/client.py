"""The worker as the runner sees it: started, asked, timed, and started anew where it dies."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapter_conform.errors import ConformError
from adapter_conform.evaluation.model.language import Answer
from adapter_conform.evaluation.model.request import ModelRequest
from adapter_conform.supervisor.process import worker_environment
from adapter_conform.supervisor.protocol import LineReader, Message, write_message

__all__ = ["DeviceFailed", "ModelClient", "ModelUnavailable"]

_STARTUP_SECONDS = 1800.0
"""A large model takes long to read."""
_END_SECONDS = 5.0


class ModelUnavailable(ConformError):
    """The model cannot be brought to the device."""


class DeviceFailed(Exception):
    """The device, or the process that holds it, is gone, or does not answer."""


class ModelClient:
    """Use it in a ``with`` statement. ``kernels`` are the device's own calls, of all that was answered."""

    def __init__(self, request: ModelRequest, log: Path, seconds: float) -> None:
        self._request, self._log, self._seconds = request, log, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: LineReader | None = None
        self.facts: Mapping[str, Any] = {}
        """What the worker said about itself when it was ready."""
        self.kernels: Counter[str] = Counter()

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def ask(self, questions: Sequence[Message]) -> list[Answer]:
        """Raises DeviceFailed; the next call starts a new worker. Raises ModelUnavailable where that cannot be."""
        if self._process is None:
            self._start()
        try:
            self._send({"type": "ask", "questions": list(questions)})
            message = self._receive(self._seconds)
        except DeviceFailed:
            self.close()
            raise
        self.kernels.update(message["kernels"])
        return [Answer(**{**one, "likelihoods": tuple(map(float, one["likelihoods"]))}) for one in message["answers"]]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adapter_conform.evaluation.model.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=worker_environment(1),
                start_new_session=True,  # Ctrl-C on the terminal is the runner's affair alone
            )
        assert self._process.stdout is not None
        self._reader = LineReader(self._process.stdout.fileno())
        try:
            self._send(self._request.to_json())
            self.facts = self._receive(_STARTUP_SECONDS)
        except DeviceFailed as error:
            self.close()
            raise ModelUnavailable(
                f"the model cannot be brought to {self._request.plugin}: {error}\nSee {self._log}."
            ) from error

    def _send(self, message: Message) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            write_message(self._process.stdin.fileno(), message)
        except BrokenPipeError as error:
            raise DeviceFailed(self._status()) from error

    def _receive(self, seconds: float) -> Message:
        """The next message; the runner asks for one at a time."""
        assert self._reader is not None
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._reader.descriptor], [], [], left)[0]:
                raise DeviceFailed(f"no answer within {seconds:g} seconds")
            messages = self._reader.read_some()
            if self._reader.at_end:
                raise DeviceFailed(self._status())
            for message in messages:
                if message["type"] == "broken":
                    raise DeviceFailed(str(message["message"]))
                return message

    def _status(self) -> str:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_END_SECONDS)
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            return f"the process that holds the device ended with {how}"
        return "the process that holds the device says nothing any more"
