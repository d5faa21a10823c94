"""What users run: training, tuning, preference optimisation, decoding and an exported program of every model family.

``workloads/qwen2_moe_pretrain/float32/pretrain``   losses of each step, tokens or logits, equal to the CPU's
``workloads/qwen2_moe_pretrain/bfloat16/amp_o2``    mixed precision: products in the half type, losses near float32's
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.models.training import Precision
from adapter_conform.models.workloads import WORKLOADS, Results, Workload, run_workload
from adapter_conform.states import State
from adapter_conform.suites._mixed_precision import PRECISIONS, absent_products, mean_loss_gate
from adapter_conform.suites._training_gates import count_gate, judge, relative_errors
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import KernelCalls, Session

__all__ = ["LOSS_LIMIT", "SUITE", "WorkloadSuite"]

LOSS_LIMIT = 1e-5
"""Largest relative difference of one step's loss from the CPU's, in float32."""

OUTPUT_LIMIT = 1e-5
"""Largest difference of a logit or pixel from the CPU's, relative to the largest one."""

_STEPS = {"smoke": 4, "standard": 20, "full": 20}
_SMOKE = ("qwen2_moe_pretrain", "llama_dpo", "gpt3_generate")
"""Between them they touch most of what the others do."""
_MIXED = ("llama_pretrain", "qwen2_pretrain", "qwen2_moe_pretrain", "gpt3_pretrain")
_TIMEOUT = 600.0


class WorkloadSuite:
    name = "workloads"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        names = _SMOKE if request.profile == "smoke" else tuple(WORKLOADS)
        steps = _STEPS[request.profile]
        cases = [self._case(request, name, "float32", WORKLOADS[name].task, {"steps": steps}) for name in names]
        for name in _MIXED if request.profile != "smoke" else ():
            for precision in PRECISIONS:
                settings = {"steps": steps, **vars(precision)}
                cases.append(self._case(request, name, precision.dtype, f"amp_{precision.level.lower()}", settings))
        return cases

    def _case(self, request: PlanRequest, name: str, dtype: str, what: str, payload: Mapping[str, Any]) -> Case:
        return Case(
            id=f"{self.name}/{name}/{dtype}/{what}",
            suite=self.name,
            operator=name,
            dtype=dtype,
            payload={"workload": name, "seed": request.seed, **payload},
            timeout=_TIMEOUT,
            not_run=WORKLOADS[name].why_unavailable(),
        )

    def run(self, case: Case, session: Session) -> Outcome:
        workload, payload = WORKLOADS[case.payload["workload"]], case.payload
        precision = Precision(payload["level"], payload["dtype"]) if "level" in payload else None
        try:
            return _check(session, workload, int(payload["steps"]), int(payload["seed"]), precision)
        finally:
            session.paddle.set_device(session.device)


SUITE = WorkloadSuite()


def _check(session: Session, workload: Workload, steps: int, seed: int, precision: Precision | None) -> Outcome:
    if precision is not None and (missing := absent_products(session, precision.dtype)):
        return Outcome(State.UNSUPPORTED, message=missing)
    if missing := _absent(session, workload.fused_kernels):
        return Outcome(State.UNSUPPORTED, message=missing)
    cpu = run_workload(session.paddle, "cpu", workload, steps, seed)
    with session.watch() as calls:
        device = run_workload(session.paddle, session.device, workload, steps, seed, precision)
    repeats = steps if workload.trains else 1
    gates = [
        _result_gate(workload, cpu, device, precision),
        count_gate("own kernels executed", workload.task, _not_executed(workload, calls, repeats, precision)),
        count_gate("placement", "parameters and gradients", device.off_device),
    ]
    # A product in another dtype is a wrong result, not a missing proof.
    outcome = judge(session, gates, _details(workload, cpu, device, calls), numbers=1 if precision is None else 2)
    if outcome.state is State.PASSED and _says_nothing(cpu):
        outcome.state, outcome.message = State.VACUOUS, "all results on the CPU are equal: agreement proves little"
    return outcome


def _absent(session: Session, keys: Sequence[str]) -> str:
    pairs = [key.split("/") for key in keys]
    missing = ["/".join(pair) for pair in pairs if not session.plugin.kernel_supported(pair[0], pair[1])]
    return f"not declared by plugin {session.plugin.name!r}: {', '.join(missing)}" if missing else ""


def _result_gate(workload: Workload, cpu: Results, device: Results, precision: Precision | None) -> GateFigure:
    if workload.task == "generate":
        different = int(np.count_nonzero(cpu.values[0] != device.values[0]))
        note = f"{different} of {cpu.values[0].size} tokens differ from the CPU's"
        return GateFigure("greedy tokens", "tokens", different, 0, different == 0, note if different else "")
    if workload.task in ("predict", "sample"):
        return _largest_gate(cpu.values[0], device.values[0])
    losses = [float(value) for value in cpu.values], [float(value) for value in device.values]
    if precision is not None:
        return mean_loss_gate(*losses, precision.dtype)
    errors = relative_errors(*losses)
    worst = max(range(len(errors)), key=errors.__getitem__)
    note = f"worst at step {worst} of {len(errors)}: device {losses[1][worst]:.9g}, CPU {losses[0][worst]:.9g}"
    return GateFigure("relative error per step", "loss", errors[worst], LOSS_LIMIT, errors[worst] <= LOSS_LIMIT, note)


def _largest_gate(cpu: Any, device: Any) -> GateFigure:
    usable = cpu.shape == device.shape and np.isfinite(device).all()
    largest = float(np.abs(cpu).max())
    error = float(np.abs(device.astype(np.float64) - cpu).max()) / largest if usable else math.inf
    note = f"largest value on the CPU {largest:.6g}"
    return GateFigure("outputs against the CPU", "outputs", error, OUTPUT_LIMIT, error <= OUTPUT_LIMIT, note)


def _not_executed(workload: Workload, calls: KernelCalls, repeats: int, precision: Precision | None) -> list[str]:
    """Kernels that must have run at least once a step and did not; in mixed precision, products in a wide type."""
    total = calls.total()
    own = (*workload.kernels, *workload.fused_kernels)
    wanted = own if precision is None else _decided(workload.kernels, precision)
    short = [f"{key}: {total.get(key, 0)} calls of {repeats}" for key in wanted if total.get(key, 0) < repeats]
    if precision is not None and (wide := total.get("matmul/float32", 0)) > _ROUTER_PRODUCTS * repeats:
        short.append(f"matmul/float32: {wide} calls, at most {_ROUTER_PRODUCTS} a step expected")
    return short


_ROUTER_PRODUCTS = 2
"""A mixture of experts computes the scores of its router in float32, once a layer, and says so in its source."""


def _decided(keys: Sequence[str], precision: Precision) -> list[str]:
    """The kernels whose dtype mixed precision decides: products run in the half type, in O2 the optimizer too."""
    operators = [key.partition("/")[0] for key in keys]
    half = ("matmul", "matmul_grad", *(("adamw",) if precision.level == "O2" else ()))
    return [f"{operator}/{precision.dtype}" for operator in operators if operator in half]


def _says_nothing(cpu: Results) -> bool:
    values = np.concatenate([np.ravel(value) for value in cpu.values]).astype(np.float64)
    return bool(values.size > 1 and np.ptp(values) == 0.0)


def _details(workload: Workload, cpu: Results, device: Results, calls: KernelCalls) -> dict[str, Any]:
    details: dict[str, Any] = {
        "architecture": workload.architecture,
        "kernels": calls.total(),
        "tensors_checked": device.tensors_checked,
    }
    if workload.trains:
        details["loss"] = {"cpu": [float(v) for v in cpu.values], "device": [float(v) for v in device.values]}
    return details
