"""The server's side of the engine's process, with a process that hangs, dies and babbles on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import puppet
import pytest
from adapter_conform.serving.backend import Backend, EngineFailed, Health, Model
from adapter_conform.serving.engine import EngineSettings
from adapter_conform.serving.requests import Output, Refused, Request
from adapter_conform.serving.shape import DecoderShape

PUPPET = str(Path(puppet.__file__))


@contextlib.asynccontextmanager
async def started(step_limit: float = 30.0) -> AsyncIterator[Backend]:
    model = Model("puppet", DecoderShape(), EngineSettings())
    backend = Backend(model, step_limit=step_limit, worker=(PUPPET,))
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def ask(backend: Backend, what: int, name: str = "a") -> list[Output]:
    return [output async for output in backend.answer(Request(name, (what,), 3))]


async def ready(backend: Backend) -> None:
    for _ in range(600):
        if backend.health is Health.READY:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(backend.why)


def test_tokens_reach_who_asked() -> None:
    async def scene() -> None:
        async with started() as backend:
            answers = await asyncio.gather(*(ask(backend, puppet.ANSWERS, str(i)) for i in range(5)))
            for i, answer in enumerate(answers):
                assert [(o.id, o.token) for o in answer] == [(str(i), 10), (str(i), 11), (str(i), 12)]
            with pytest.raises(Refused, match="not now"):
                await ask(backend, puppet.REFUSES)
            assert backend.in_flight == 0
        assert backend.all_failures == 0

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("what", "words", "limit"),
    [
        (puppet.HANGS, "has not answered for 1.5 seconds", 1.5),
        (puppet.DIES, "ended with status 7", 30.0),
        (puppet.BABBLES, "says what nobody understands", 30.0),
    ],
)
def test_a_process_that_fails_fails_all_and_is_replaced(what: int, words: str, limit: float) -> None:
    async def scene() -> None:
        async with started(limit) as backend:
            with pytest.raises(EngineFailed, match=words):
                await ask(backend, what)
            assert backend.in_flight == 0
            with pytest.raises(EngineFailed):
                await ask(backend, puppet.ANSWERS)
            await ready(backend)
            assert len(await ask(backend, puppet.ANSWERS)) == 3
            assert backend.all_failures == 1

    asyncio.run(scene())


def test_who_leaves_early_is_cancelled() -> None:
    async def scene() -> None:
        async with started() as backend:
            async with contextlib.aclosing(backend.answer(Request("leaver", (puppet.WAITS,), 3))) as answer:
                async for _ in answer:
                    break
            for _ in range(600):
                if backend.gauges.get("cancelled"):
                    break
                await asyncio.sleep(0.05)
            assert backend.gauges["cancelled"] == ["leaver"]
            assert backend.in_flight == 0

    asyncio.run(scene())


def test_a_process_that_fails_again_and_again_is_given_up() -> None:
    async def scene() -> None:
        async with started() as backend:
            backend.restarts = 2
            for _ in range(3):
                await ready(backend)
                with pytest.raises(EngineFailed, match="status 7"):
                    await ask(backend, puppet.DIES)
            await asyncio.sleep(0.6)
            assert backend.health is Health.FAILED
            with pytest.raises(EngineFailed, match="status 7"):
                await ask(backend, puppet.ANSWERS)

    asyncio.run(scene())


def test_a_device_that_cannot_be_opened() -> None:
    async def scene() -> None:
        backend = Backend(Model("puppet", DecoderShape(), EngineSettings()), worker=(PUPPET, "stillborn"))
        with pytest.raises(EngineFailed, match="OSError: no device"):
            await backend.start()
        await backend.close()

    asyncio.run(scene())
