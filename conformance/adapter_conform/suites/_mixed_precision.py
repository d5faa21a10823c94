"""Training in automatic mixed precision: the losses stay as close to float32 as PyTorch's do, and the products were
really made in the half type.

``training/llama_gqa/bfloat16/amp_o1``   levels O1 and O2 (master weights), bfloat16 and float16 (loss scaling)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_conform.cases import GateFigure, Outcome
from adapter_conform.models import LlamaShape, Weights, markov_batches
from adapter_conform.models.training import AdamWSettings, Precision, TrainingRun, train_llama
from adapter_conform.states import State
from adapter_conform.suites._training_gates import count_gate, judge

if TYPE_CHECKING:
    from adapter_conform.session import KernelCalls, Session

__all__ = ["PRECISIONS", "SPREADS", "absent_products", "check_mixed_precision", "loss_limit", "mean_loss_gate"]

PRECISIONS = tuple(Precision(level, dtype) for dtype in ("bfloat16", "float16") for level in ("O1", "O2"))

SPREADS = 3.0
"""A device may deviate from float32 by this many times the largest deviation that PyTorch's autocast showed over its
seeds. Two correct implementations round at different places, so one may well be twice as far off as the other."""

_PRODUCTS = ("matmul", "matmul_grad")


def _spread() -> dict[str, Any]:
    text = resources.files("adapter_conform.models").joinpath("amp_spread.json").read_text()
    record: dict[str, Any] = json.loads(text)
    return record


def loss_limit(dtype: str) -> float:
    """Largest relative difference of a window's mean loss from float32's; made by tools/measure_amp_spread.py."""
    return SPREADS * float(max(_spread()["deviation"][dtype]))


def check_mixed_precision(
    session: Session, precision: Precision, shape: LlamaShape, weights: Weights, steps: int, rows: int, seed: int
) -> Outcome:
    """Trains in float32 on the CPU and in ``precision`` on the device, from the same weights and data."""
    if missing := absent_products(session, precision.dtype):
        return Outcome(State.UNSUPPORTED, message=missing)
    inputs, labels = markov_batches(shape.vocabulary, steps, rows, shape.positions, seed)
    settings = AdamWSettings()
    cpu = train_llama(session.paddle, "cpu", shape, weights, inputs, labels, settings)
    with session.watch() as calls:
        device = train_llama(session.paddle, session.device, shape, weights, inputs, labels, settings, precision)
    gates = [
        mean_loss_gate(cpu.losses, device.losses, precision.dtype),
        count_gate("executed dtype", "products", _wrong_dtypes(calls, precision, shape, device, steps)),
        count_gate("placement", "parameters, gradients, optimizer state", device.placement.off_device),
    ]
    outcome = judge(session, gates, _details(cpu, device, calls, precision), numbers=2)
    if outcome.state is State.PASSED and min(cpu.losses[-5:]) >= cpu.losses[0]:
        outcome.state = State.VACUOUS
        outcome.message = f"the model learned nothing in {steps} steps on the CPU: equal losses prove little"
    return outcome


def absent_products(session: Session, dtype: str) -> str:
    """Why there can be no mixed precision in ``dtype`` on this device; empty where there can."""
    missing = [f"{name}/{dtype}" for name in _PRODUCTS if not session.plugin.kernel_supported(name, dtype)]
    return f"not declared by plugin {session.plugin.name!r}: {', '.join(missing)}" if missing else ""


def _windows(losses: Sequence[float], width: int) -> list[float]:
    return [float(np.mean(losses[start : start + width])) for start in range(0, len(losses), width)]


def mean_loss_gate(reference: Sequence[float], measured: Sequence[float], dtype: str) -> GateFigure:
    """Means over a few steps against float32's, within what PyTorch's autocast needs."""
    width, limit = int(_spread()["window"]), loss_limit(dtype)
    pairs = list(zip(_windows(reference, width), _windows(measured, width), strict=True))
    errors = [abs(got - wanted) / wanted if math.isfinite(got) else math.inf for wanted, got in pairs]
    worst = max(range(len(errors)), key=errors.__getitem__)
    note = (
        f"worst of {len(errors)} means over {width} steps from step {worst * width}: device {pairs[worst][1]:.9g}, "
        f"float32 {pairs[worst][0]:.9g}; reference: PyTorch on CPU, x {SPREADS:g}"
    )
    return GateFigure("mean loss", "loss", errors[worst], limit, errors[worst] <= limit, note)


def _wrong_dtypes(
    calls: KernelCalls, precision: Precision, shape: LlamaShape, device: TrainingRun, steps: int
) -> list[str]:
    """Products that did not run in the half type as often as the model has them, or ran in another type."""
    wanted = {f"{name}/{precision.dtype}": shape.matmuls * steps for name in _PRODUCTS}
    if precision.level == "O2":
        wanted[f"adamw/{precision.dtype}"] = device.parameters * steps
    short = [
        f"{key}: {calls.eager.get(key, 0)} calls of {count}"
        for key, count in wanted.items()
        if calls.eager.get(key, 0) < count
    ]
    wide = [
        f"{name}/{dtype}: {calls.eager[f'{name}/{dtype}']} calls, none expected"
        for name in _PRODUCTS
        for dtype in ("float32", "float64")
        if calls.eager.get(f"{name}/{dtype}", 0)
    ]
    return short + wide


def _details(cpu: TrainingRun, device: TrainingRun, calls: KernelCalls, precision: Precision) -> dict[str, Any]:
    by_dtype: dict[str, int] = {}
    for key, count in calls.total().items():
        dtype = key.rpartition("/")[2]
        by_dtype[dtype] = by_dtype.get(dtype, 0) + count
    return {
        "precision": vars(precision),
        "kernels": calls.total(),
        "calls_by_dtype": by_dtype,
        "loss": {"cpu float32": cpu.losses, "device": device.losses},
        "steps": len(device.losses),
        "step_seconds": {"cpu": cpu.step_seconds, "device": device.step_seconds},
        "tensors_checked": device.placement.checked,
        "reference": {key: value for key, value in _spread().items() if key != "model"},
    }
