"""The engine's process as the server sees it: started, watched, restarted, and every token led to who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from adapter_conform.jsondata import compact
from adapter_conform.serving.engine import EngineSettings
from adapter_conform.serving.requests import Finish, Output, Refused, Request
from adapter_conform.serving.shape import DecoderShape

__all__ = ["Backend", "EngineFailed", "Health", "Model"]

_LINE_LIMIT = 1 << 24
"""Bytes of a message."""

_EXIT = 5.0
"""Seconds that a process has to end in once it has closed its end."""

_PAUSE = 0.2
"""Seconds before a process that has died is replaced."""


class EngineFailed(Exception):
    """The device, or the process that holds it, is gone."""


class Health(Enum):
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Model:
    """What the engine's process is to serve."""

    plugin: str
    shape: DecoderShape
    settings: EngineSettings
    seed: int = 0
    weights: str | None = None
    """A safetensors file with Hugging Face's names; None: drawn from the seed."""
    scheme: str = "none"
    name: str = "proxy"

    def hello(self) -> dict[str, Any]:
        data = asdict(self)
        return {"type": "hello", **{key: data[key] for key in data if key != "name"}}


@dataclass
class Backend:
    """``start`` it once; ``close`` it at the end.

    A process that dies, answers nothing for ``step_limit`` seconds while requests are at work, or reports that its
    device failed, is replaced, at most ``restarts`` times in a row without a token in between. Requests that were at
    work end with :class:`EngineFailed`, each of them.
    """

    model: Model
    step_limit: float = 120.0
    startup_limit: float = 300.0
    restarts: int = 3
    environment: Mapping[str, str] | None = None
    worker: tuple[str, ...] = ("-m", "adapter_conform.serving.worker")
    """Arguments of Python that start the engine's process."""
    health: Health = field(default=Health.STARTING, init=False)
    why: str = field(default="", init=False)
    """Why it is not ready."""
    facts: dict[str, Any] = field(default_factory=dict, init=False)
    """What the engine said about itself when it was ready."""
    gauges: dict[str, Any] = field(default_factory=dict, init=False)
    failures: int = field(default=0, init=False)
    """In a row."""
    all_failures: int = field(default=0, init=False)
    _waiting: dict[str, asyncio.Queue[Output | Exception]] = field(default_factory=dict, init=False)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _ready: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closing: bool = field(default=False, init=False)

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    async def start(self) -> None:
        """Returns when the engine is ready.

        Raises:
            EngineFailed: it cannot be started.
        """
        self._task = asyncio.create_task(self._keep_alive())
        waits = [asyncio.create_task(event.wait()) for event in (self._ready, self._ended)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.health is not Health.READY:
            raise EngineFailed(self.why)

    async def close(self) -> None:
        self._closing = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ConnectionError):
                await self._send({"type": "stop"})
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._process.wait(), 5)
        self._kill()
        if self._task is not None:
            await self._task

    async def answer(self, request: Request) -> AsyncGenerator[Output, None]:
        """Tokens of ``request`` as they come. Left early, the request is cancelled and its blocks are freed.

        Raises:
            Refused: it can never run, or too many wait already.
            EngineFailed: the device failed, now or meanwhile.
        """
        if self.health is not Health.READY:
            raise EngineFailed(self.why or "the engine is starting")
        if len(self._waiting) >= self.model.settings.limits.most_waiting + self.model.settings.limits.most_running:
            raise Refused("queue_full", f"{len(self._waiting)} requests are at work or wait; try again later")
        arrived: asyncio.Queue[Output | Exception] = asyncio.Queue()
        self._waiting[request.id] = arrived
        finished = False
        try:
            await self._send({"type": "submit", "request": request.to_json()})
            while not finished:
                item = await arrived.get()
                if isinstance(item, Exception):
                    finished = True
                    raise item
                finished = item.finish is not None
                yield item
        except ConnectionError as error:
            finished = True
            raise EngineFailed(f"the engine's process is gone: {error}") from error
        finally:
            self._waiting.pop(request.id, None)
            if not finished:
                self._cancel(request.id)

    def _cancel(self, id: str) -> None:
        process = self._process
        if process is not None and process.stdin is not None and process.returncode is None:
            process.stdin.write((compact({"type": "cancel", "id": id}) + "\n").encode())

    async def _send(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise ConnectionError("it does not run")
        process.stdin.write((compact(message) + "\n").encode())
        await process.stdin.drain()

    # ---- the process --------------------------------------------------------------------------------------------

    async def _keep_alive(self) -> None:
        try:
            while not self._closing:
                await self._live()
                if self._closing:
                    return
                self.all_failures += 1
                self.failures = 1 if self.gauges else self.failures + 1
                if not self._ready.is_set() or self.failures > self.restarts:
                    return
                await asyncio.sleep(_PAUSE)
        finally:
            self._ended.set()

    async def _live(self) -> None:
        """One life of the process."""
        self._set(Health.STARTING, self.why or "the engine is starting")
        self.gauges = {}
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self.worker),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
            env=dict(self.environment or os.environ),
        )
        why = ""
        try:
            await self._send(self.model.hello())
            why = await self._listen(process)
        except ConnectionError as error:
            why = f"the engine's process does not listen: {error}"
        except (KeyError, TypeError, ValueError) as error:
            why = f"the engine's process says what nobody understands: {type(error).__name__}: {error}"
        finally:
            if why:  # else it has closed its end by itself
                self._kill()
            status = await self._ended_with(process)
            why = why or f"the engine's process ended with status {status}"
            self._set(Health.FAILED, why)  # before anybody hears of it and asks again
            for arrived in self._waiting.values():
                arrived.put_nowait(EngineFailed(why))

    async def _listen(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        ready = False
        while True:
            limit = self.step_limit if ready else self.startup_limit
            try:
                line = await asyncio.wait_for(process.stdout.readline(), limit)
            except asyncio.TimeoutError:
                if ready and not self._waiting:
                    continue
                return f"the engine has not answered for {limit:g} seconds"
            if not line:
                return ""
            message = _parsed(line)
            if message["type"] == "ready":
                ready = True
                self.facts = message
                self._set(Health.READY, "")
                self._ready.set()
            elif message["type"] == "broken":
                return str(message["message"])
            else:
                self._hand_out(message)

    def _hand_out(self, message: dict[str, Any]) -> None:
        if message["type"] == "refused":
            self._deliver(message["id"], Refused(message["reason"], message["message"]))
            return
        self.gauges = message["gauges"]
        for item in message["outputs"]:
            output = Output(**{**item, "top": tuple(map(tuple, item["top"]))})
            failed = output.finish == Finish.FAILED
            self._deliver(output.id, EngineFailed(output.message) if failed else output)

    def _deliver(self, id: str, item: Output | Exception) -> None:
        arrived = self._waiting.get(id)
        if arrived is not None:  # else it was cancelled while this was on its way
            arrived.put_nowait(item)

    def _set(self, health: Health, why: str) -> None:
        self.health, self.why = health, why

    async def _ended_with(self, process: asyncio.subprocess.Process) -> int:
        try:
            return await asyncio.wait_for(process.wait(), _EXIT)
        except asyncio.TimeoutError:
            self._kill()
            return await process.wait()

    def _kill(self) -> None:
        """Not by ``Process.kill``: that first asks for the exit status, which asyncio's own watcher then misses."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)


def _parsed(line: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(line)
    return message
