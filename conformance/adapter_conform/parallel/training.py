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
from adapter_conform.parallel.models import LENGTH, MODELS, load_part
from adapter_conform.parallel.strategies import Strategy

__all__ = ["Trained", "Trainer", "train"]

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


class Trainer:
    """A model of ``strategy`` with its optimizer, its weights from a file, and data for ``batches`` steps.

    float32 throughout, or bfloat16 by ``paddle.amp`` at level O2 with master weights. Every rank of the job makes one.
    """

    def __init__(
        self, paddle: ModuleType, device: str, strategy: Strategy, dtype: str, batches: int, seed: int, weights: Path
    ) -> None:
        self.paddle, self.device, self.strategy = paddle, device, strategy
        paddle.set_device(device)
        rows = strategy.batch // strategy.replicas
        groups = enter(paddle, strategy, rows)
        architecture = MODELS[strategy.model].having(model_settings(strategy, groups, LENGTH))
        build = build_pipeline if strategy.pipeline > 1 else build_model
        model = build(paddle, architecture)
        self.parts = load_part(model, read_weights(weights), groups.tensor_rank)
        model.train()
        self.named: dict[str, Any] = dict(model.state_dict().items())
        """Parameters by their names in the whole model."""
        self.adamw = _adamw(paddle, model, _clipping(paddle, strategy, groups, model))
        precision = None if dtype == "float32" else Precision("O2", dtype)
        model, self.adamw = decorated(paddle, model, self.adamw, precision)
        self.model, self.optimizer = wrapped(paddle, strategy, groups, model, self.adamw)
        self._step = step_of(paddle, strategy, groups, self.model, self.optimizer, precision)
        inputs, labels = markov_batches(architecture.vocabulary, batches, strategy.batch, LENGTH, seed)
        own = slice(groups.replica * rows, (groups.replica + 1) * rows)
        self.replica = groups.replica
        self._inputs, self._labels = inputs[:, own], labels[:, own]

    def forward_and_backward(self, number: int) -> Any:
        """The loss of step ``number``; the batches come round again."""
        index = number % len(self._inputs)
        return self._step(self.paddle.to_tensor(self._inputs[index]), self.paddle.to_tensor(self._labels[index]))

    def update(self) -> None:
        self.optimizer.step()
        self.optimizer.clear_grad()


def train(
    paddle: ModuleType, device: str, strategy: Strategy, dtype: str, steps: int, seed: int, weights: Path
) -> Trained:
    """Trains for ``steps`` from the weights in a file and looks at everything; see :class:`Trainer`."""
    trainer = Trainer(paddle, device, strategy, dtype, steps, seed, weights)
    result = Trained(replica=trainer.replica, parameters=len(trainer.named))
    watched, seen = _watch_gradients(trainer.named.items(), device, result)
    for number in range(steps):
        if number == _INSPECTED_STEPS:
            for hook in watched.values():
                hook.remove()
        loss = trainer.forward_and_backward(number)
        trainer.update()
        result.losses.append(float(loss))
    result.without_gradient = sorted(watched.keys() - seen)
    if strategy.stage == 3:
        trainer.model.get_all_parameters(convert2cpu=False)
    for name, tensor in trainer.named.items():
        _note_place(f"parameter {name}", tensor, device, result)
        digest = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        result.digests[f"{name}, {trainer.parts[name]}"] = digest
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


def _watch_gradients(named: Iterable[tuple[str, Any]], device: str, result: Trained) -> tuple[dict[str, Any], set[str]]:
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
