"""The process that holds the device: opens the plugin, builds the model, answers what comes on stdin.

One JSON object a line; what anything else prints to stdout goes to stderr instead.

    runner -> worker   {"type": "hello", "plugin", "seed", "model", ...}    once, first; see :class:`ModelRequest`
    worker -> runner   {"type": "ready", "device", "positions"}             or "broken", and it leaves
    runner -> worker   {"type": "ask", "questions"}                         see language.answers
    worker -> runner   {"type": "answers", "answers", "kernels"}            the device's calls, by operator/dtype
                       {"type": "broken", "message"}                        the device failed; it leaves

The end of stdin ends it. It leaves through ``os._exit``, since device plugins often abort at teardown.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from adapter_conform.evaluation.model.folder import find_model, load_weights
from adapter_conform.evaluation.model.language import LanguageModel, answers
from adapter_conform.evaluation.model.request import ModelRequest
from adapter_conform.evaluation.model.tokenizer import TextTokenizer, end_tokens, tokenizer_in, tokenizer_without_file
from adapter_conform.serving.shape import DecoderShape, drawn_weights
from adapter_conform.session import Session
from adapter_conform.supervisor.protocol import LineReader, Message, write_message

__all__ = ["main"]


def main() -> NoReturn:
    faulthandler.enable()
    told = os.dup(1)
    os.dup2(2, 1)
    status = 0
    try:
        _work(LineReader(0), told)
    except BrokenPipeError:
        status = 1  # nobody is there to be told
    except Exception as error:  # whatever the device raises: the runner decides what becomes of it
        write_message(told, {"type": "broken", "message": f"{type(error).__name__}: {error}"})
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _work(commands: LineReader, told: int) -> None:
    worker: _Worker | None = None
    while not commands.at_end:
        for command in commands.read_some():
            if worker is None:
                worker = _Worker(ModelRequest.from_json(command))
                write_message(told, worker.ready())
            else:
                write_message(told, worker.answer(command["questions"]))


class _Worker:
    def __init__(self, request: ModelRequest) -> None:
        from adapter_conform.session import open_session
        from adapter_conform.supervisor.preload import preload

        self._session = open_session(request.plugin, request.seed)
        preload(self._session)
        build = _engine if request.backend == "engine" else _paddlenlp
        self._model, self._tokenizer, self._ends = build(self._session, request)

    def ready(self) -> Message:
        return {"type": "ready", "device": self._session.device, "positions": self._model.positions}

    def answer(self, questions: list[dict[str, Any]]) -> Message:
        with self._session.watch() as calls:
            found = answers(self._model, self._tokenizer, self._ends, questions)
        return {"type": "answers", "answers": [asdict(answer) for answer in found], "kernels": calls.total()}


Built = tuple[LanguageModel, TextTokenizer, frozenset[int]]


def _engine(session: Session, request: ModelRequest) -> Built:
    from adapter_conform.evaluation.model.engine_model import EngineModel
    from adapter_conform.quantization.schemes import linears_of
    from adapter_conform.serving.engine import Engine, EngineSettings
    from adapter_conform.serving.scheduler import Limits

    if request.folder is None:
        shape = DecoderShape(**request.shape)
        weights, tokenizer = drawn_weights(shape, request.seed), tokenizer_without_file(shape.vocabulary)
        ends: frozenset[int] = frozenset()
    else:
        folder = find_model(Path(request.folder))
        shape = DecoderShape(**request.shape)
        weights, tokenizer, ends = load_weights(folder), tokenizer_in(folder), end_tokens(folder)
    settings = EngineSettings(
        dtype=request.precision,
        share_prefixes=False,  # an answer is not to depend on what was asked before
        limits=Limits(most_running=request.batch, most_waiting=request.batch),
    )
    make = linears_of(request.scheme, session.paddle, shape, weights, settings.dtype)
    return EngineModel(Engine(session.paddle, shape, weights, settings, make)), tokenizer, ends


def _paddlenlp(session: Session, request: ModelRequest) -> Built:
    from adapter_conform.evaluation.model.paddlenlp_model import PaddleNLPModel
    from adapter_conform.models.architectures import Architecture
    from adapter_conform.models.paddlenlp_adapter import build_model
    from adapter_conform.models.paddlenlp_adapter import load_weights as set_weights
    from adapter_conform.models.training import Precision
    from adapter_conform.models.weights import paddle_layout

    assert request.folder is not None
    folder = find_model(Path(request.folder))
    name, settings = request.paddlenlp_classes(), {**folder.settings, **request.shape}
    architecture = Architecture(f"{name}ForCausalLM", f"{name}Config", {**_wanted(settings), "use_cache": True})
    model = build_model(session.paddle, architecture)
    set_weights(model, paddle_layout(load_weights(folder), folder.architecture))
    precision = None if request.precision == "float32" else Precision("O1", request.precision)
    positions = int(settings["max_position_embeddings"])
    return PaddleNLPModel(session.paddle, model, positions, precision), tokenizer_in(folder), end_tokens(folder)


def _wanted(settings: dict[str, Any]) -> dict[str, Any]:
    """What PaddleNLP's configurations take; the rest says how the folder was made."""
    unknown = ("architectures", "torch_dtype", "dtype", "transformers_version", "model_type", "auto_map")
    return {name: value for name, value in settings.items() if name not in unknown}


if __name__ == "__main__":
    main()
