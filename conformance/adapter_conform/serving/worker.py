"""The engine's process: opens the plugin, builds the model, then serves what comes on stdin.

One JSON object a line; what anything else prints to stdout goes to stderr instead.

    server -> worker   {"type": "hello", "plugin", "seed", "shape", "settings", "weights", "scheme"}   once, first
    worker -> server   {"type": "ready", "device", "kernels", "weight_bytes", "blocks"}   or "broken", see below
    server -> worker   {"type": "submit", "request"}    {"type": "cancel", "id"}    {"type": "stop"}
    worker -> server   {"type": "refused", "id", "reason", "message"}
                       {"type": "step", "outputs", "gauges"}      after each step, and after a cancellation
                       {"type": "broken", "message", "outputs"}   the device failed: every request has ended; it leaves

It leaves through ``os._exit``, since device plugins often abort while the interpreter tears down.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from adapter_conform.models.weights import read_weights
from adapter_conform.serving.engine import Engine, EngineSettings
from adapter_conform.serving.requests import Output, Refused, Request
from adapter_conform.serving.scheduler import Limits
from adapter_conform.serving.shape import DecoderShape, drawn_weights
from adapter_conform.supervisor.protocol import LineReader, Message, write_message

__all__ = ["main"]

_STOP: Message = {"type": "stop"}


def main() -> NoReturn:
    faulthandler.enable()
    answers = os.dup(1)
    os.dup2(2, 1)
    commands = _start_reader()
    status = 0
    try:
        status = _serve(commands, answers)
    except BrokenPipeError:
        status = 1  # nobody is there to be told
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve(commands: queue.SimpleQueue[Message], answers: int) -> int:
    try:
        engine, ready = _open(commands.get())
    except Exception as error:
        write_message(answers, {"type": "broken", "message": _explained(error), "outputs": []})
        return 1
    write_message(answers, ready)
    while True:
        if not _obey(engine, commands, answers):
            return 0
        try:
            outputs = engine.step()
        except Exception as error:  # whatever the device raises: nothing that was at work can go on
            message = _explained(error)
            outputs = engine.fail(message)
            write_message(answers, {"type": "broken", "message": message, "outputs": _as_json(outputs)})
            return 1
        if outputs:
            _tell(engine, answers, outputs)


def _obey(engine: Engine, commands: queue.SimpleQueue[Message], answers: int) -> bool:
    """Carries out what has come, waiting for something where the engine has nothing to do; False at the end."""
    while True:
        try:
            command = commands.get(block=engine.idle)
        except queue.Empty:
            return True
        if command["type"] == "stop":
            return False
        if command["type"] == "cancel":
            engine.cancel(command["id"])
            _tell(engine, answers, [])
        else:
            request = Request.from_json(command["request"])
            try:
                engine.submit(request)
            except Refused as refusal:
                refused = {"type": "refused", "id": request.id, "reason": refusal.reason, "message": str(refusal)}
                write_message(answers, refused)


def _tell(engine: Engine, answers: int, outputs: list[Output]) -> None:
    gauges = {
        "running": len(engine.scheduler.running),
        "waiting": len(engine.scheduler.waiting),
        "blocks_used": engine.pool.used,
        **asdict(engine.stats),
    }
    write_message(answers, {"type": "step", "outputs": _as_json(outputs), "gauges": gauges})


def _as_json(outputs: list[Output]) -> list[dict[str, Any]]:
    return [asdict(output) for output in outputs]


def _open(hello: Message) -> tuple[Engine, Message]:
    from adapter_conform.quantization.schemes import linears_of
    from adapter_conform.session import open_session
    from adapter_conform.supervisor.preload import preload

    session = open_session(hello["plugin"], hello["seed"])
    preload(session)
    shape = DecoderShape(**hello["shape"])
    settings = EngineSettings(**{**hello["settings"], "limits": Limits(**hello["settings"]["limits"])})
    weights = drawn_weights(shape, hello["seed"]) if hello["weights"] is None else read_weights(Path(hello["weights"]))
    make = linears_of(hello["scheme"], session.paddle, shape, weights, settings.dtype)
    engine = Engine(session.paddle, shape, weights, settings, make)
    warm = Request("warm-up", (0,) * min(4, shape.positions - 2), 2)
    with session.watch() as calls:
        engine.run([warm])  # the first call of a kernel is slow, and one that is missing shows here
    engine.forget()
    ready = {
        "type": "ready",
        "device": session.device,
        "kernels": calls.total(),
        "weight_bytes": engine.decoder.weight_bytes,
        "blocks": engine.pool.count,
    }
    return engine, ready


def _explained(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _start_reader() -> queue.SimpleQueue[Message]:
    """A queue that fills with what comes on stdin; its end counts as "stop"."""
    commands: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def read() -> None:
        reader = LineReader(0)
        while not reader.at_end:
            for message in reader.read_some():
                commands.put(message)
        commands.put(_STOP)

    threading.Thread(target=read, name="commands", daemon=True).start()
    return commands


if __name__ == "__main__":
    main()
