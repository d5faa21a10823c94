"""From options to a running server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from adapter_conform.certification.recipes.models import MODELS
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.quantization.schemes import SCHEMES
from adapter_conform.serving.backend import Backend, EngineFailed, Model
from adapter_conform.serving.engine import EngineSettings
from adapter_conform.serving.server import Server
from adapter_conform.serving.shape import DecoderShape

__all__ = ["chosen_model", "listening", "serve"]

_GRACE = 2.0
"""Seconds that open connections have once the server is told to stop."""


def chosen_model(
    plugin: str,
    settings: EngineSettings,
    name: str | None = None,
    config: Path | None = None,
    weights: Path | None = None,
    seed: int = 0,
    scheme: str = "none",
) -> Model:
    """What the options of `serve` name.

    Raises:
        UsageProblem: they do not fit together, or name something that is not there.
    """
    import adapter_sdk
    from adapter_sdk.errors import AdapterError

    try:
        adapter_sdk.load(plugin)
    except AdapterError as error:
        raise UsageProblem(str(error)) from error
    if name is not None and config is not None:
        raise UsageProblem("--model and --config name two models; give one of them")
    if scheme not in SCHEMES:
        raise UsageProblem(f"--scheme {scheme}: there are {', '.join(SCHEMES)}")
    try:
        shape = DecoderShape() if name is None and config is None else _shape(name, config)
        least = settings.limits.most_running
        if settings.blocks and settings.blocks < -(-2 // settings.block_tokens):
            raise ValueError(f"{settings.blocks} blocks are too few for {least} sequences")
    except ValueError as error:
        raise UsageProblem(str(error)) from error
    path = None if weights is None else str(weights.resolve())
    return Model(plugin, shape, settings, seed, path, scheme, name or (config.parent.name if config else "") or "proxy")


def _shape(name: str | None, config: Path | None) -> DecoderShape:
    if config is not None:
        try:
            settings: Any = json.loads(config.read_text())
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UsageProblem(f"--config {config}: {error}") from error
        if not isinstance(settings, dict):
            raise UsageProblem(f"--config {config}: a JSON object is expected")
        return DecoderShape.from_settings(settings, str(settings.get("model_type")))
    if name not in MODELS:
        raise UsageProblem(f"--model {name}: there are {', '.join(MODELS)}")
    return DecoderShape.from_settings(MODELS[name].proxy, MODELS[name].architecture)


@contextlib.asynccontextmanager
async def listening(backend: Backend, host: str, port: int) -> AsyncIterator[str]:
    """The server's address, inside; the engine is ready.

    Raises:
        EngineFailed: the engine could not be started.
        OSError: the address is taken.
    """
    server = Server(backend)
    runner = web.AppRunner(server.application(), handler_cancellation=True, shutdown_timeout=_GRACE, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()  # first: a taken address shows at once, and /health says that the engine is starting
        await backend.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await backend.close()


def serve(model: Model, host: str, port: int, step_limit: float) -> None:
    """Serves until SIGINT or SIGTERM. The first line on stdout is the address.

    Raises:
        ConformError: the engine could not be started, or the address is taken.
    """
    try:
        asyncio.run(_serve(model, host, port, step_limit))
    except EngineFailed as error:
        raise ConformError(f"the engine could not be started: {error}") from error
    except OSError as error:
        raise UsageProblem(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


async def _serve(model: Model, host: str, port: int, step_limit: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    backend = Backend(model, step_limit=step_limit)
    async with listening(backend, host, port) as address:
        click.echo(f"{model.name} on {backend.facts['device']} at {address}")
        await stop.wait()
