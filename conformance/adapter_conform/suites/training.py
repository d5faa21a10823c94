"""Whole-model training: a real PaddleNLP LLaMA learns on the device as on the CPU, and never leaves the device.

``training/llama_gqa/float32/train``              losses step by step against the CPU's from the same weights file
``training/llama_gqa/float32/to_static_forward``  the same model's forward as a static graph (PIR) against eager
``training/llama_gqa/bfloat16/amp_o1``            mixed precision: see _mixed_precision.py
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.models import LlamaShape, Weights, llama_weights, markov_batches, read_weights, write_weights
from adapter_conform.models.lowered import LoweredProgram, moved_to_host, print_lowered
from adapter_conform.models.paddlenlp_adapter import build_llama, forward_logits, load_llama_weights, why_unavailable
from adapter_conform.models.training import AdamWSettings, Placement, Precision, TrainingRun, train_llama
from adapter_conform.states import State
from adapter_conform.suites._mixed_precision import PRECISIONS, check_mixed_precision
from adapter_conform.suites._training_gates import count_gate, judge, relative_errors
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import KernelCalls, Session

__all__ = ["LOSS_LIMIT", "STATIC_LIMIT", "SUITE", "TrainingSuite", "expected_calls", "relative_errors"]

LOSS_LIMIT = 1e-5
"""Largest relative difference of one step's loss. Rounding alone stays below 5e-7 with these settings."""

STATIC_LIMIT = 1e-6
"""Largest difference of a logit under the static graph from eager, relative to the largest logit: the same kernels work
on the same numbers, so only reordered scalar arithmetic, a few float32 roundings, may show."""

_STEPS = {"smoke": 20, "standard": 100, "full": 100}
_MIXED_STEPS = {"smoke": 10, "standard": 100, "full": 100}
"""The reference of mixed precision has 100 steps."""

_TIMEOUT = 600.0
"""Seconds; 100 steps take the CPU 4 s, and PaddleNLP's import 5 s."""

_MODEL = "llama_gqa"
_ROWS = 8
_STATIC_RUNS = 2
"""The second run goes through the executor's cached program."""


class TrainingSuite:
    name = "training"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        steps = {"steps": _STEPS[request.profile]}
        cases = [self._case(request, "float32", "train", {"check": "train", **steps})]
        cases.append(self._case(request, "float32", "to_static_forward", {"check": "to_static_forward"}))
        for precision in PRECISIONS:
            settings = {"check": "amp", **vars(precision), "steps": _MIXED_STEPS[request.profile]}
            cases.append(self._case(request, precision.dtype, f"amp_{precision.level.lower()}", settings))
        return cases

    def _case(self, request: PlanRequest, dtype: str, name: str, payload: Mapping[str, Any]) -> Case:
        return Case(
            id=f"{self.name}/{_MODEL}/{dtype}/{name}",
            suite=self.name,
            operator=_MODEL,
            dtype=dtype,
            payload={"seed": request.seed, **payload},
            timeout=_TIMEOUT,
            not_run=why_unavailable(),
        )

    def run(self, case: Case, session: Session) -> Outcome:
        try:
            return _CHECKS[case.payload["check"]](session, case.payload)
        finally:
            session.paddle.set_device(session.device)


SUITE = TrainingSuite()


def _check_training(session: Session, payload: Mapping[str, Any]) -> Outcome:
    seed, steps = int(payload["seed"]), int(payload["steps"])
    shape, settings = LlamaShape(), AdamWSettings()
    weights, digest = _weights_through_a_file(shape, seed)
    inputs, labels = markov_batches(shape.vocabulary, steps, _ROWS, shape.positions, seed)
    cpu = train_llama(session.paddle, "cpu", shape, weights, inputs, labels, settings)
    with session.watch() as calls:
        device = train_llama(session.paddle, session.device, shape, weights, inputs, labels, settings)
    expected = expected_calls(shape, device.parameters, steps)
    short = [key for key, count in expected.items() if calls.eager.get(key, 0) < count]
    gates = [
        _loss_gate(cpu.losses, device.losses),
        count_gate("placement", "parameters, gradients, optimizer state", device.placement.off_device),
        count_gate("own kernels executed", "training", short),
    ]
    outcome = judge(session, gates, _training_details(cpu, device, calls, digest))
    if outcome.state is State.PASSED and min(cpu.losses[-5:]) >= cpu.losses[0]:
        outcome.state = State.VACUOUS
        outcome.message = f"the model learned nothing in {steps} steps on the CPU: equal losses prove little"
    return outcome


def _weights_through_a_file(shape: LlamaShape, seed: int) -> tuple[Weights, str]:
    """Initial weights as read back from the file that holds them, and the file's SHA-256."""
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        path = Path(folder) / f"{_MODEL}.safetensors"
        write_weights(path, llama_weights(shape, seed))
        return read_weights(path), hashlib.sha256(path.read_bytes()).hexdigest()


def expected_calls(shape: LlamaShape, parameters: int, steps: int) -> dict[str, int]:
    """Calls of the kernels that do a training run's work, at the least, by ``"operator/dtype"``.

    Counts follow from the model; a device that computed one call elsewhere stays below.
    """
    layers = shape.layers
    per_step = {
        "embedding": 1,
        "matmul": shape.matmuls,
        "softmax": layers,
        "swiglu": layers,
        "cross_entropy_with_softmax": 1,
    }
    gradients = {f"{operator}_grad": count for operator, count in per_step.items()}
    optimizer = {"squared_l2_norm": parameters, "adamw": parameters}
    return {f"{name}/float32": count * steps for name, count in {**per_step, **gradients, **optimizer}.items()}


def _loss_gate(reference: Sequence[float], measured: Sequence[float]) -> GateFigure:
    errors = relative_errors(reference, measured)
    worst = max(range(len(errors)), key=errors.__getitem__)
    note = f"worst at step {worst} of {len(errors)}: device {measured[worst]:.9g}, CPU {reference[worst]:.9g}"
    return GateFigure("relative error per step", "loss", errors[worst], LOSS_LIMIT, errors[worst] <= LOSS_LIMIT, note)


def _training_details(cpu: TrainingRun, device: TrainingRun, calls: KernelCalls, digest: str) -> dict[str, Any]:
    placement: Placement = device.placement
    return {
        "kernels": calls.total(),
        "loss": {"cpu": cpu.losses, "device": device.losses},
        "relative_error": relative_errors(cpu.losses, device.losses),
        "parameters": device.elements,
        "steps": len(device.losses),
        "step_seconds": {"cpu": cpu.step_seconds, "device": device.step_seconds},
        "tensors_checked": placement.checked,
        "adamw_step_counters": placement.host_state,
        "weights_sha256": digest,
    }


def _check_static(session: Session, payload: Mapping[str, Any]) -> Outcome:
    paddle, shape, seed = session.paddle, LlamaShape(), int(payload["seed"])
    weights, digest = _weights_through_a_file(shape, seed)
    inputs, _ = markov_batches(shape.vocabulary, 1, _ROWS, shape.positions, seed)
    model = build_llama(paddle, shape)
    load_llama_weights(model, weights)
    model.eval()
    ids = paddle.to_tensor(inputs[0])
    with paddle.no_grad():
        with session.watch() as eager_calls:
            eager = forward_logits(model(input_ids=ids)).numpy()
        static_forward = paddle.jit.to_static(model.forward, full_graph=True)
        with session.watch() as static_calls, print_lowered(paddle) as program:
            logits = [forward_logits(static_forward(input_ids=ids)).numpy() for _ in range(_STATIC_RUNS)]
    if not program.kernels:
        return Outcome(State.VACUOUS, message="Paddle printed no lowered program: where its operators ran is unknown")
    moved = sorted({kernel.key for kernel in moved_to_host(program.kernels)})
    gates = [
        _static_gate(eager, logits),
        count_gate("moved to the CPU", "static graph", moved),
        count_gate("own kernels executed", "static graph", _not_executed(session, program, eager_calls, static_calls)),
    ]
    details = {
        "kernels": static_calls.total(),
        "kernels_eager": eager_calls.total(),
        "program": _backends(program),
        "weights_sha256": digest,
    }
    outcome = judge(session, gates, details)
    if outcome.state is State.PASSED and not eager.std() > 0.0:
        outcome.state, outcome.message = State.VACUOUS, "all logits are equal: agreement proves nothing"
    return outcome


def _static_gate(eager: NDArray[np.float32], logits: Sequence[NDArray[np.float32]]) -> GateFigure:
    largest = float(np.abs(eager).max())
    worst = 0.0
    for static in logits:
        if static.shape != eager.shape or not (np.isfinite(static).all() and np.isfinite(eager).all()) or not largest:
            worst = math.inf
        else:
            worst = max(worst, float(np.abs(static.astype(np.float64) - eager).max()) / largest)
    note = f"largest logit {largest:.6g}, {len(logits)} runs"
    return GateFigure("static against eager", "logits", worst, STATIC_LIMIT, worst <= STATIC_LIMIT, note)


def _not_executed(session: Session, program: LoweredProgram, eager: KernelCalls, static: KernelCalls) -> list[str]:
    """Kernels of the plugin that the program calls on the device but that did not run as often as it says.

    Counted are those that the plugin is known to bring: they ran in eager mode, or here. Paddle itself serves a few
    others on every custom device (``reshape``).
    """
    planned = program.counts(session.device.split(":")[0])
    own = eager.eager.keys() | static.static.keys()
    short = [
        f"{key}: {static.static.get(key, 0)} calls of {count * _STATIC_RUNS}"
        for key, count in sorted(planned.items())
        if key in own and static.static.get(key, 0) < count * _STATIC_RUNS
    ]
    return short or ([] if static.static else ["the plugin's kernels were not called in static mode"])


def _backends(program: LoweredProgram) -> dict[str, dict[str, int]]:
    """Backend -> kernel -> number, e.g. ``{"refchip": {"matmul/float32": 19}}``."""
    backends = sorted({kernel.backend for kernel in program.kernels})
    return {backend: dict(sorted(program.counts(backend).items())) for backend in backends}


def _check_mixed(session: Session, payload: Mapping[str, Any]) -> Outcome:
    shape, seed = LlamaShape(), int(payload["seed"])
    weights, _ = _weights_through_a_file(shape, seed)
    precision = Precision(payload["level"], payload["dtype"])
    return check_mixed_precision(session, precision, shape, weights, int(payload["steps"]), _ROWS, seed)


_CHECKS = {"train": _check_training, "to_static_forward": _check_static, "amp": _check_mixed}
