"""The ways a model runs. Each gives logits of whole texts and greedy answers, and counts its forward passes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.recipes import Recipe
from adapter_conform.certification.recipes.inference import Scheme, calibration_rows
from adapter_conform.certification.tasks.inference.exporting import Program
from adapter_conform.certification.tasks.inference.layers import Prepared, linear
from adapter_conform.certification.tasks.workplace import Workplace
from adapter_conform.models.paddlenlp_adapter import forward_logits, greedy_tokens, room_for_all
from adapter_conform.models.weights import Weights
from adapter_conform.quantization.linears import Linear
from adapter_conform.serving.decoder import dense
from adapter_conform.serving.engine import Engine, EngineSettings
from adapter_conform.serving.forced import forced_logits, record_inputs
from adapter_conform.serving.requests import Request
from adapter_conform.serving.scheduler import Limits
from adapter_conform.serving.shape import DecoderShape

__all__ = ["Eager", "Exported", "Served", "Way", "make_engine"]

Logits = NDArray[np.float32]
Tokens = NDArray[np.int64]

_CROWD = 16
"""Sequences that the engine serves at a time."""


class Way(Protocol):
    passes: int
    """Forward passes so far."""

    def logits(self, rows: Tokens) -> Logits:
        """[rows, length, vocabulary] of ``rows`` [rows, length]."""

    def answers(self, prompts: Tokens, count: int) -> Tokens:
        """The ``count`` tokens that greedy decoding appends to each of ``prompts`` [rows, length]."""


class Eager:
    """Operator by operator; decoding with PaddleNLP's cache."""

    def __init__(self, place: Workplace, prepared: Prepared) -> None:
        self._place, self._model, self.passes = place, prepared.model, 0

    def logits(self, rows: Tokens) -> Logits:
        self.passes += 1
        with self._place.paddle.no_grad():
            found = forward_logits(self._model(input_ids=self._place.tensor(rows)))
            return np.asarray(found.astype("float32").numpy())

    def answers(self, prompts: Tokens, count: int) -> Tokens:
        self.passes += count
        return np.asarray(greedy_tokens(self._place.paddle, self._model, self._place.tensor(prompts), count).numpy())


class Exported:
    """A static program, saved and run by paddle.inference on the device, for texts of one shape. Decoding computes
    each text anew; what stands behind a text's last token does not reach it."""

    def __init__(self, place: Workplace, prepared: Prepared, rows: int, length: int) -> None:
        paddle = place.paddle
        self._place, self._shape, self.passes = place, (rows, length), 0
        spec = [paddle.static.InputSpec(shape=[rows, length], dtype="int64", name="input_ids")]
        with room_for_all(prepared.model, rows * length):
            self._program = Program(place, prepared.model, spec)
        self.lowered = {"on_device": self._program.on_device, "moved": self._program.moved}

    def logits(self, rows: Tokens) -> Logits:
        count, length = rows.shape
        whole = np.zeros(self._shape, dtype=np.int64)
        whole[:count, :length] = rows
        self.passes += 1
        found = self._program(self._place.tensor(whole))
        return np.asarray(found.astype("float32").numpy())[:count, :length]

    def answers(self, prompts: Tokens, count: int) -> Tokens:
        found = prompts
        for _ in range(count):
            best = self.logits(found)[:, -1].argmax(axis=-1)
            found = np.concatenate([found, best[:, None]], axis=1)
        return found[:, prompts.shape[1] :]


class Served:
    """The serving engine: sequences packed one behind the other, keys and values in blocks, answers in a crowd."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.passes = engine, 0

    def logits(self, rows: Tokens) -> Logits:
        self.passes += 1
        return np.stack(forced_logits(self._engine, rows.tolist()))

    def answers(self, prompts: Tokens, count: int) -> Tokens:
        before = self._engine.stats.steps
        requests = [Request(str(number), tuple(row), count) for number, row in enumerate(prompts.tolist())]
        found = self._engine.run(requests)
        self.passes += self._engine.stats.steps - before
        return np.array([[output.token for output in found[request.id]] for request in requests], dtype=np.int64)


def make_engine(place: Workplace, recipe: Recipe, weights: Weights, scheme: Scheme) -> Engine:
    """Of the recipe's model in ``scheme``. Raises ValueError for an architecture that is not served."""
    paddle = place.paddle
    shape = DecoderShape.from_settings(recipe.settings, recipe.standard_model.architecture)
    maxima = {}
    if scheme.calibrated:
        texts = calibration_rows(recipe).reshape(-1, recipe.schedule.length).tolist()
        maxima = {name: np.abs(rows).max(axis=0) for name, rows in record_inputs(paddle, shape, weights, texts).items()}

    def make(name: str, weight: Any, bias: Any) -> Linear:
        return linear(paddle, scheme, weight, bias, maxima.get(name))

    rows = max(_CROWD, recipe.schedule.rows)
    blocks = rows * -(-max(64, 2 * recipe.schedule.length) // 16)
    settings = EngineSettings(scheme.dtype, 16, blocks, limits=Limits(most_running=_CROWD))
    return Engine(paddle, shape, weights, settings, make if scheme.bits else dense(paddle, scheme.dtype))
