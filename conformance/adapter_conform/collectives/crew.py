"""A crew: the ranks of one job, started by Paddle's launcher, that take jobs from this process until dismissed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection, Listener, wait
from pathlib import Path
from typing import Any

from adapter_conform.collectives import attendant

__all__ = ["START_LIMIT", "Answers", "Crew", "CrewLost"]

START_LIMIT = 240.0
"""Seconds for all ranks to stand; each imports Paddle."""

_DUMP_SECONDS = 0.5
_AFTERMATH = 45.0
"""Seconds that the other ranks get when one has reported an error or has died."""


class CrewLost(RuntimeError):
    """The ranks could not be started; the message ends with what they wrote."""


class Answers(dict[int, dict[str, Any]]):
    """Rank -> what it answered, or ``{"ended": status}`` when its process ended first. Silent ranks are missing."""

    def complete(self, ranks: int) -> bool:
        return len(self) == ranks


class Crew:
    """``ranks`` processes on cards 0 to ``ranks - 1`` of ``plugin``.

    Raises:
        CrewLost: not all came within :data:`START_LIMIT`.
    """

    def __init__(self, plugin: str, ranks: int, seed: int, environment: Mapping[str, str]) -> None:
        self.ranks = ranks
        self._folder = tempfile.TemporaryDirectory(prefix="adapter-crew-")
        root = Path(self._folder.name)
        self._logs = root / "log"
        self._listener = Listener(str(root / "socket"), family="AF_UNIX")
        self._connections: dict[int, Connection[Any, Any]] = {}
        self._attendants: dict[int, Connection[Any, Any]] = {}
        self._ended: dict[int, int] = {}
        self._processes: dict[int, int] = {}
        cards = ",".join(map(str, range(ranks)))
        command = [sys.executable, "-m", "adapter_conform.collectives.launcher", plugin]
        command += ["--devices", cards, "--log_dir", str(self._logs)]
        command += [attendant.__file__, str(root / "socket"), plugin, str(seed)]
        with (root / "launcher.log").open("wb") as log:
            self._launcher = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=root,
                start_new_session=True,  # Ctrl-C is for whoever has the crew; the ranks die by their lifelines
            )
        try:
            self._gather()
        except BaseException:
            self.dismiss()
            raise

    def run(self, job: Mapping[str, Any], limit: float) -> Answers:
        """Gives every rank the job and waits for the answers of all, at most ``limit`` seconds."""
        for connection in self._connections.values():
            connection.send_bytes(json.dumps(job).encode())
        answers = Answers({rank: {"rank": rank, "ended": status} for rank, status in self._ended.items()})
        deadline = time.monotonic() + limit
        while not answers.complete(self.ranks):
            left = deadline - time.monotonic()
            if left <= 0:
                self._dump_stacks(set(self._connections) - set(answers))
                break
            for rank in self._news(left, answers):
                troubled = "error" in answers[rank] or "ended" in answers[rank]
                if troubled:
                    deadline = min(deadline, time.monotonic() + _AFTERMATH)
        return answers

    def signal(self, number: int, ranks: Iterable[int] | None = None) -> None:
        """Sends a signal to the processes of ``ranks``, all of them by default."""
        for rank in range(self.ranks) if ranks is None else ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._processes[rank], number)

    def logs(self) -> str:
        """The end of what the ranks wrote."""
        texts = [path.read_text(errors="replace")[-4000:] for path in sorted(self._logs.glob("workerlog.*"))]
        texts.append((self._logs.parent / "launcher.log").read_text(errors="replace")[-800:])
        return "\n".join(text for text in texts if text)

    def dismiss(self) -> None:
        """Ends all ranks, whatever they are doing."""
        for connection in (*self._connections.values(), *self._attendants.values()):
            connection.close()
        self._listener.close()
        try:  # attendants leave when their connection closes, and then the launcher
            self._launcher.wait(10)
        except subprocess.TimeoutExpired:
            self._launcher.kill()  # and with it, by their lifelines, attendants and ranks
            self._launcher.wait()
        self._folder.cleanup()

    def _dump_stacks(self, silent: Iterable[int]) -> None:
        """Has silent ranks write to their logs where they stand."""
        self.signal(signal.SIGUSR1, silent)
        time.sleep(_DUMP_SECONDS)

    def _gather(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while len(self._connections) < self.ranks:
            # A listener has no time limit of its own; its socket can be waited for like a connection.
            ready = wait([self._listener._listener._socket], timeout=0.2)  # type: ignore[attr-defined]
            if ready:
                connection = self._listener.accept()
                hello = json.loads(connection.recv_bytes())
                (self._connections if "rank" in hello else self._attendants)[next(iter(hello.values()))] = connection
                if "pid" in hello:
                    self._processes[hello["rank"]] = hello["pid"]
            elif self._launcher.poll() is not None:
                raise CrewLost(f"Paddle's launcher ended with {self._launcher.returncode}:\n{self.logs()}")
            elif ended := self._early_ends():
                raise CrewLost(f"rank(s) {ended} ended before they were ready:\n{self.logs()}")
            elif time.monotonic() > deadline:
                raise CrewLost(f"not all {self.ranks} ranks came within {START_LIMIT:g} s:\n{self.logs()}")

    def _early_ends(self) -> list[int]:
        return [rank for rank, connection in self._attendants.items() if connection.poll()]

    def _news(self, limit: float, answers: Answers) -> Sequence[int]:
        """Takes in what comes within ``limit`` seconds; returns the ranks that are settled by it."""
        speaking = {c: rank for rank, c in self._connections.items() if rank not in answers}
        ending = {c: rank for rank, c in self._attendants.items() if rank not in self._ended}
        settled = []
        for connection in wait([*speaking, *ending], timeout=limit):
            rank = speaking[connection] if connection in speaking else ending[connection]  # type: ignore[index]
            try:
                message = json.loads(connection.recv_bytes())  # type: ignore[union-attr]
            except (EOFError, OSError):  # the rank is gone; its attendant tells how it ended
                del self._connections[rank]
                continue
            if "ended" in message:
                self._ended[rank] = message["ended"]
                answers.setdefault(rank, {"rank": rank, "ended": message["ended"]})
            else:
                answers[rank] = message
            settled.append(rank)
        return settled
