"""Faults of a training stack, switched on one at a time: what certification has to find.

As a context, ``with FAULTS["wrong_epsilon"](paddle): ...``; or for every worker of a run, by name:
``ADAPTER_CONFORM_PRELOAD=training_faults:plant_wrong_epsilon``, with this folder on PYTHONPATH.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from adapter_conform.certification.tasks import language, measuring

__all__ = ["FAULTS", "ON_ONE_CARD", "preloaded", "replaced"]

ROW = 17
"""Of the embedding; a token that occurs."""
LAYER = ".layers.1."
_CHUNK = 8
"""Terms of a product that are added up before the sum is rounded."""


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def zeroed_embedding_row(paddle: ModuleType) -> Any:
    """The embedding kernel gives zeros for one token, as kernels do that mistake it for padding."""

    def make(original: Any) -> Any:
        def embedding(x: Any, *arguments: Any, **named: Any) -> Any:
            kept = (x != ROW).astype("float32").unsqueeze(-1)
            return original(x, *arguments, **named) * kept

        return embedding

    return replaced(paddle.nn.functional, "embedding", make)


def bfloat16_attention(paddle: ModuleType) -> Any:
    """The two products of attention add up in bfloat16, though inputs and outputs are float32."""

    def make(original: Any) -> Any:
        def matmul(x: Any, y: Any, transpose_x: bool = False, transpose_y: bool = False, name: Any = None) -> Any:
            if x.ndim != 4 or transpose_x or transpose_y or x.dtype != paddle.float32:
                return original(x, y, transpose_x, transpose_y, name)
            total = None
            for start in range(0, x.shape[-1], _CHUNK):
                stop = min(start + _CHUNK, x.shape[-1])
                part = original(x[:, :, :, start:stop], y[:, :, start:stop, :])
                total = part if total is None else total + part
                total = total.astype("bfloat16").astype("float32")
            return total

        return matmul

    return replaced(paddle, "matmul", make)


def _optimizer(paddle: ModuleType, **changed: float) -> Any:
    def make(original: Any) -> Any:
        def initialised(self: Any, *arguments: Any, **named: Any) -> None:
            original(self, *arguments, **{**named, **changed})

        return initialised

    return replaced(paddle.optimizer.AdamW, "__init__", make)


def dropped_weight_decay(paddle: ModuleType) -> Any:
    """The optimizer's kernel leaves out the weight decay."""
    return _optimizer(paddle, weight_decay=0.0)


def wrong_epsilon(paddle: ModuleType) -> Any:
    """The optimizer's kernel has an epsilon of its own."""
    return _optimizer(paddle, epsilon=1e-6)


def missing_layer_gradient(_paddle: ModuleType) -> Any:
    """No gradient reaches the parameters of one layer: they get zeros."""

    def make(original: Any) -> Any:
        def task(place: Any, recipe: Any, model: Any) -> Any:
            for name, parameter in model.named_parameters():
                if LAYER in name:
                    parameter.register_hook(lambda gradient: gradient * 0.0)
            return original(place, recipe, model)

        return task

    return replaced(measuring, "language_task", make)


def loss_scale_off(_paddle: ModuleType) -> Any:
    """Gradients keep a factor of two that should have been taken out; the loss is right. Adam hides most of it."""

    def make(original: Any) -> Any:
        def loss(*arguments: Any) -> Any:
            value = original(*arguments)
            return value + (value - value.detach())

        return loss

    return replaced(language, "token_loss", make)


def lost_card_gradient(_paddle: ModuleType) -> Any:
    """Of two cards that share a batch, the gradient of one is lost in the sum; both know the whole loss."""

    def make(original: Any) -> Any:
        def loss(place: Any, outputs: Any, labels: Any) -> Any:
            logits = language.forward_logits(outputs)
            rows = logits.shape[0]
            if not logits.stop_gradient:
                kept = place.paddle.arange(rows).astype("float32") < float(rows // 2)
                mask = kept.astype("float32").reshape([rows, 1, 1])
                logits.register_hook(lambda gradient: gradient * mask)
            return original(place, logits, labels)

        return loss

    return replaced(language, "token_loss", make)


def lost_second_card(_paddle: ModuleType) -> Any:
    """Of several cards that train together, the gradient of the second is lost on its way into the sum."""

    def make(original: Any) -> Any:
        def task(place: Any, recipe: Any, model: Any) -> Any:
            if place.rank == 1:
                for parameter in model.parameters():
                    parameter.register_hook(lambda gradient: gradient * 0.0)
            return original(place, recipe, model)

        return task

    return replaced(measuring, "language_task", make)


def unmended_router(_paddle: ModuleType) -> Any:
    """PaddleNLP's own gate of a mixture of experts: its router gets a gradient some ten thousand times too large."""
    from adapter_conform.models import paddlenlp_mends

    return replaced(paddlenlp_mends, "_detached", lambda _original: lambda gating: gating)


_ON_ONE_CARD = (
    zeroed_embedding_row,
    bfloat16_attention,
    dropped_weight_decay,
    wrong_epsilon,
    missing_layer_gradient,
    loss_scale_off,
    lost_card_gradient,
)
ON_ONE_CARD = tuple(fault.__name__ for fault in _ON_ONE_CARD)
"""What a training of a dense model on a single card has to be found out by."""

FAULTS: dict[str, Callable[[ModuleType], Any]] = {
    fault.__name__: fault for fault in (*_ON_ONE_CARD, lost_second_card, unmended_router)
}
"""``lost_second_card`` does nothing on a single card. ``unmended_router`` concerns mixtures of experts alone, and has
to be planted before the first model is built."""

_PLANTED: list[Any] = []


def preloaded(fault: Callable[[ModuleType], Any]) -> Callable[[Any], None]:
    def plant(session: Any) -> None:
        context = fault(session.paddle)
        context.__enter__()
        _PLANTED.append(context)  # a generator that is collected would undo it

    return plant


def __getattr__(name: str) -> Any:
    """``plant_<fault>``: what ADAPTER_CONFORM_PRELOAD calls with a session."""
    fault = FAULTS.get(name.removeprefix("plant_"))
    if fault is None or not name.startswith("plant_"):
        raise AttributeError(name)
    return preloaded(fault)
