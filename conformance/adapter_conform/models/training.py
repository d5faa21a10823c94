"""Trains a LLaMA on one device and writes down its losses and where its tensors lie."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.paddlenlp_adapter import build_llama, forward_loss, load_llama_weights
from adapter_conform.models.shape import LlamaShape
from adapter_conform.models.weights import Weights

__all__ = [
    "AdamWSettings",
    "Placement",
    "Precision",
    "TrainingRun",
    "autocast",
    "decorated",
    "inspect",
    "lies_on",
    "loss_scaler",
    "place_of",
    "train_llama",
    "trained_state",
]

_INSPECTED_AT_START = 3
"""Placement is looked at in each of this many first steps, and in the last."""

_HOST_STATE = ("beta1_pow_acc", "beta2_pow_acc")
"""Paddle creates these one-element states on the host for every device type (``device="cpu"`` in its Adam family)."""


@dataclass(frozen=True)
class AdamWSettings:
    """The learning rate is one at which rounding stays small: one ulp in the weights moves a loss by 4e-7 relative in
    100 steps. At 3e-3 it is 8e-5, and no two correct devices agree."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 1.0


@dataclass(frozen=True)
class Precision:
    """Automatic mixed precision as ``paddle.amp`` has it: ``level`` O1 or O2 (then with master weights), ``dtype``
    float16 (then with a loss scale) or bfloat16."""

    level: str
    dtype: str

    LOSS_SCALE = 1024.0


@dataclass
class Placement:
    """Where the tensors of a training run were found."""

    checked: int = 0
    off_device: list[str] = field(default_factory=list)
    """What was missing or lay elsewhere, e.g. ``"gradient lm_head.weight, step 1: on cpu"``."""
    host_state: dict[str, int] = field(default_factory=dict)
    """Place -> number of step counters of AdamW seen there; Paddle leaves the place of these to itself."""


@dataclass
class TrainingRun:
    losses: list[float]
    placement: Placement
    parameters: int
    """Number of parameter tensors."""
    elements: int
    """Number of trained numbers."""
    step_seconds: float
    """Median over the steps, the reading of the loss included."""


def train_llama(
    paddle: ModuleType,
    device: str,
    shape: LlamaShape,
    weights: Weights,
    inputs: NDArray[np.int64],
    labels: NDArray[np.int64],
    settings: AdamWSettings,
    precision: Precision | None = None,
) -> TrainingRun:
    """Trains on ``device`` ("cpu", "refchip:0") from ``weights``, a step for each of ``inputs`` [steps, rows, length].

    Without ``precision`` in float32.

    Paddle's current device is ``device`` afterwards.
    """
    paddle.set_device(device)
    model = build_llama(paddle, shape)
    load_llama_weights(model, weights)
    model.train()
    optimizer = _adamw(paddle, model, settings)
    model, optimizer = decorated(paddle, model, optimizer, precision)
    scaler = loss_scaler(paddle, precision)
    losses, seconds, placement = [], [], Placement()
    for step in range(len(inputs)):
        start = time.perf_counter()
        with autocast(paddle, precision):
            loss = forward_loss(model, paddle.to_tensor(inputs[step]), paddle.to_tensor(labels[step]))
        scaled = loss if scaler is None else scaler.scale(loss)
        scaled.backward()
        inspected = step < _INSPECTED_AT_START or step == len(inputs) - 1
        if inspected:  # before the optimizer, whose kernel may move what reaches it
            inspect(_gradients(model, loss), device, step, placement)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        if inspected:
            inspect(trained_state(model, optimizer), device, step, placement)
        optimizer.clear_grad()
        losses.append(float(loss))
        seconds.append(time.perf_counter() - start)
    parameters = model.parameters()
    return TrainingRun(
        losses=losses,
        placement=placement,
        parameters=len(parameters),
        elements=sum(int(parameter.size) for parameter in parameters),
        step_seconds=float(np.median(seconds)),
    )


def decorated(paddle: ModuleType, model: Any, optimizer: Any, precision: Precision | None) -> tuple[Any, Any]:
    """Model and optimizer for O2: parameters in the half type, float32 master weights; unchanged otherwise."""
    if precision is None or precision.level != "O2":
        return model, optimizer
    pair: tuple[Any, Any] = paddle.amp.decorate(
        models=model, optimizers=optimizer, level="O2", dtype=precision.dtype, master_weight=True
    )
    return pair


def autocast(paddle: ModuleType, precision: Precision | None) -> Any:
    """The context in which a forward pass of this precision runs."""
    if precision is None:
        return nullcontext()
    return paddle.amp.auto_cast(level=precision.level, dtype=precision.dtype)


def loss_scaler(paddle: ModuleType, precision: Precision | None) -> Any:
    """float16 needs its gradients scaled away from underflow; bfloat16 has float32's range."""
    if precision is None or precision.dtype != "float16":
        return None
    return paddle.amp.GradScaler(init_loss_scaling=Precision.LOSS_SCALE)


def _adamw(paddle: ModuleType, model: Any, settings: AdamWSettings) -> Any:
    return paddle.optimizer.AdamW(
        learning_rate=settings.learning_rate,
        beta1=settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
        weight_decay=settings.weight_decay,
        parameters=model.parameters(),
        grad_clip=paddle.nn.ClipGradByGlobalNorm(settings.clip_norm),
    )


def place_of(tensor: Any) -> str:
    """``"refchip:0"``, ``"cpu"``."""
    return str(tensor.place).removeprefix("Place(").removesuffix(")")


def lies_on(tensor: Any, device: str) -> bool:
    """Whether ``tensor`` lies on ``device``, which may leave out the number of the card."""
    place = place_of(tensor)
    return place == device or place.split(":")[0] == device


def inspect(tensors: Iterable[tuple[str, Any]], device: str, step: int, placement: Placement) -> None:
    """Notes in ``placement`` which of the named ``tensors`` do not lie on ``device``, or are not there (None)."""
    for name, tensor in tensors:
        if any(part in name for part in _HOST_STATE):
            place = place_of(tensor)
            placement.host_state[place] = placement.host_state.get(place, 0) + 1
            continue
        placement.checked += 1
        if tensor is None:
            placement.off_device.append(f"{name}, step {step}: missing")
        elif not lies_on(tensor, device):
            placement.off_device.append(f"{name}, step {step}: on {place_of(tensor)}")


def _gradients(model: Any, loss: Any) -> Iterator[tuple[str, Any]]:
    yield "loss", loss
    for name, parameter in model.named_parameters():
        yield f"gradient {name}", parameter.grad


def trained_state(model: Any, optimizer: Any) -> Iterator[tuple[str, Any]]:
    """Parameters, states of the optimizer and master weights, by name."""
    for name, parameter in model.named_parameters():
        yield f"parameter {name}", parameter
    for name, state in optimizer.state_dict().items():
        if hasattr(state, "place"):  # a learning-rate scheduler is no tensor
            yield f"optimizer state {name}", state
        elif name == "master_weights":
            for parameter, master in state.items():
                yield f"master weight {parameter}", master
