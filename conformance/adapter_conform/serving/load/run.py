"""A measurement from options: starts a server in a process of its own, unless one runs already."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.serving.load.bench import Bench, Measured, vocabulary_of
from adapter_conform.serving.load.workload import Lengths, Workload

__all__ = ["Options", "measure", "served"]

_STARTUP = 300.0
_STOP = 20.0


@dataclass(frozen=True)
class Options:
    """Of `bench-serve`."""

    plugin: str | None
    url: str | None
    serve: tuple[str, ...]
    prompts: str
    answers: str
    shared: int
    seconds: float
    limit: float
    rate: float | None
    trials: int
    verify: int
    tie: float
    seed: int


async def measure(options: Options, tell: Callable[[str], None]) -> Measured:
    """Raises ConformError: the server cannot be started, or does not answer."""
    try:
        prompts, answers = Lengths.parse(options.prompts), Lengths.parse(options.answers)
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    async with _server(options, tell) as url:
        _, vocabulary, positions = await vocabulary_of(url)
        if options.shared + prompts.most + answers.most > positions:
            raise UsageProblem(
                f"{options.shared + prompts.most} tokens of a prompt and {answers.most} of an answer are more than the "
                f"{positions} positions of the model; choose shorter --prompt-tokens or --output-tokens"
            )
        bench = Bench(
            url,
            Workload(prompts, answers, vocabulary, options.seed, options.shared),
            seconds=options.seconds,
            limit=options.limit,
            most_trials=options.trials,
            rate=options.rate,
            verify=options.verify,
            tie=options.tie,
            tell=tell,
        )
        return await bench.measure()


@contextlib.asynccontextmanager
async def _server(options: Options, tell: Callable[[str], None]) -> AsyncIterator[str]:
    if options.url is not None:
        yield options.url.rstrip("/")
        return
    assert options.plugin is not None
    async with served(options.plugin, options.serve, tell) as url:
        yield url


@contextlib.asynccontextmanager
async def served(plugin: str, options: tuple[str, ...], tell: Callable[[str], None]) -> AsyncIterator[str]:
    """The address of `adapter-conform serve` in a process of its own, inside.

    Raises:
        ConformError: it could not be started; the message ends with what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "serve.log")
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "adapter_conform", "serve", "--plugin", plugin, "--port", "0", *options),
                stdout=asyncio.subprocess.PIPE,
                stderr=sink,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        try:
            assert process.stdout is not None
            line = (await asyncio.wait_for(process.stdout.readline(), _STARTUP)).decode().strip()
            if not line:
                status = await process.wait()
                said = log.read_text(errors="replace")[-2000:]
                problem = UsageProblem if status == 2 else ConformError
                raise problem(f"the server ended with status {status}:\n{said}")
            tell(line)
            yield line.rsplit(" ", 1)[1]
        finally:
            await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _STOP)
    except asyncio.TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
