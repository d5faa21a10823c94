"""Trains one rank's part of a model and writes down what it saw."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from adapter_conform.models.data import markov_batches
from adapter_conform.models.paddlenlp_adapter import build_model, build_pipeline
from adapter_conform.models.parallel_mends import average_expert_gradients, clip_with_experts, is_expert
from adapter_conform.models.training import Precision, decorated, lies_on, place_of
from adapter_conform.models.weights import read_weights
from adapter_conform.parallel.fleetwork import Groups, enter, model_settings, step_of, wrapped
from adapter_conform.parallel.models import LENGTH, MODELS, ROWS, load_part
from adapter_conform.parallel.strategies import Strategy

__all__ = ["Trained", "train"]

_CLIP_NORM = 1.0
_INSPECTED_STEPS = 2
"""Gradients are looked at where they arise, in so many first steps."""


@dataclass
class Trained:
    """What one rank saw."""

    losses: list[float] = field(default_factory=list)
    replica: int = 0
    """Which part of the rows of a step this rank worked on."""
    digests: dict[str, str] = field(default_factory=dict)
    """Parameter and part -> SHA-256 of its final bits."""
    off_device: list[str] = field(default_factory=list)
    parameters: int = 0
    gradients: int = 0
    """Looked at."""
    without_gradient: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def train(
    paddle: ModuleType, device: str, strategy: Strategy, dtype: str, steps: int, seed: int, weights: Path
) -> Trained:
    """Trains ``strategy.model`` for ``steps`` from the weights in a file; every rank of the job calls it.

    float32 throughout, or bfloat16 by ``paddle.amp`` at level O2 with master weights.
    """
    paddle.set_device(device)
    rows = ROWS // strategy.replicas
    groups = enter(paddle, strategy, rows)
    architecture = MODELS[strategy.model].having(model_settings(strategy, groups, LENGTH))
    build = build_pipeline if strategy.pipeline > 1 else build_model
    model = build(paddle, architecture)
    parts = load_part(model, read_weights(weights), groups.tensor_rank)
    model.train()
    named = dict(model.state_dict().items())
    optimizer = _adamw(paddle, model, _clipping(paddle, strategy, groups, model))
    precision = None if dtype == "float32" else Precision("O2", dtype)
    model, optimizer = decorated(paddle, model, optimizer, precision)
    model, optimizer = wrapped(paddle, strategy, groups, model, optimizer)
    step = step_of(paddle, strategy, groups, model, optimizer, precision)
    inputs, labels = markov_batches(architecture.vocabulary, steps, ROWS, LENGTH, seed)
    own = slice(groups.replica * rows, (groups.replica + 1) * rows)
    result = Trained(replica=groups.replica, parameters=len(named))
    watched, seen = _watch_gradients(named.items(), device, result)
    for number in range(steps):
        if number == _INSPECTED_STEPS:
            for hook in watched.values():
                hook.remove()
        loss = step(paddle.to_tensor(inputs[number, own]), paddle.to_tensor(labels[number, own]))
        optimizer.step()
        optimizer.clear_grad()
        result.losses.append(float(loss))
    result.without_gradient = sorted(watched.keys() - seen)
    if strategy.stage == 3:
        model.get_all_parameters(convert2cpu=False)
    for name, tensor in named.items():
        _note_place(f"parameter {name}", tensor, device, result)
        result.digests[f"{name}, {parts[name]}"] = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
    return result


def _clipping(paddle: ModuleType, strategy: Strategy, groups: Groups, model: Any) -> Any:
    if not any(is_expert(parameter) for parameter in model.parameters()):
        return paddle.nn.ClipGradByGlobalNorm(_CLIP_NORM)
    average_expert_gradients(model, strategy.data)
    return clip_with_experts(paddle, _CLIP_NORM, groups.hybrid.get_data_parallel_group())


def _adamw(paddle: ModuleType, model: Any, clipping: Any) -> Any:
    return paddle.optimizer.AdamW(
        learning_rate=1e-3,
        beta2=0.95,
        weight_decay=0.01,
        parameters=model.parameters(),
        grad_clip=clipping,
    )


def _watch_gradients(
    named: Iterable[tuple[str, Any]], device: str, result: Trained
) -> tuple[dict[str, Any], set[str]]:
    """Hooks, by parameter, that see each gradient as it arises, before an optimizer or a reduction may move it, and the
    names of those that have seen one."""
    seen: set[str] = set()

    def look(name: str) -> Any:
        def hook(gradient: Any) -> None:
            seen.add(name)
            result.gradients += 1
            _note_place(f"gradient {name}", gradient, device, result)

        return hook

    return {name: tensor.register_hook(look(name)) for name, tensor in named if not tensor.stop_gradient}, seen


def _note_place(name: str, tensor: Any, device: str, result: Trained) -> None:
    if not lies_on(tensor, device):
        result.off_device.append(f"{name}: on {place_of(tensor)}")
