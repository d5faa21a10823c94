"""What has to hold of a training run over several cards, from what each rank reports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import GateFigure, Outcome
from adapter_conform.parallel.strategies import Strategy
from adapter_conform.states import State
from adapter_conform.suites._mixed_precision import mean_loss_gate
from adapter_conform.suites._training_gates import count_gate, judge, relative_errors

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["LOSS_LIMIT", "judge_ranks", "trouble"]

LOSS_LIMIT = 1e-5
"""Largest relative difference of a step's loss from one card's, in float32: the same sums in another order."""

Answer = Mapping[str, Any]


def trouble(answers: Mapping[int, Answer], ranks: int, limit: float) -> Outcome | None:
    """The outcome where a rank ended, raised, or kept silent; ``None`` where all trained."""
    details = {"answers": {str(rank): {**answer, "trained": None} for rank, answer in answers.items()}}
    ended = {rank: answer["ended"] for rank, answer in answers.items() if "ended" in answer}
    if ended:
        message = ", ".join(f"rank {rank} ended with {status}" for rank, status in sorted(ended.items()))
        return Outcome(State.CRASHED, message=message, details=details)
    errors = {rank: str(answer["error"]) for rank, answer in answers.items() if "error" in answer}
    if errors:
        message = "; ".join(f"rank {rank}: {error}" for rank, error in sorted(errors.items()))
        return Outcome(State.FAILED, message=message, details=details)
    silent = sorted(set(range(ranks)) - set(answers))
    if silent:
        names = ", ".join(map(str, silent))
        message = f"rank(s) {names} gave no answer within {limit:g} s; see their stacks in ranks_wrote"
        return Outcome(State.HUNG, message=message, details=details)
    return None


def judge_ranks(
    session: Session, strategy: Strategy, dtype: str, alone: Sequence[float], answers: Sequence[Answer]
) -> Outcome:
    """The verdict on ``strategy``; ``alone`` are the losses of one card in float32."""
    trained = [answer["trained"] for answer in answers]
    losses = _mean_losses(trained)
    gates = [
        _loss_gate(alone, losses) if dtype == "float32" else mean_loss_gate(alone, losses, dtype),
        count_gate("ranks disagree", "loss", _different_losses(trained)),
        count_gate("ranks disagree", "parameters at the end", _different_parameters(trained)),
        count_gate("placement", "parameters, gradients", _misplaced(answers)),
        count_gate("collectives executed", "the plugin's communicator", _idle(strategy, answers)),
        count_gate("executed dtype", "products", _products(dtype, answers)),
    ]
    outcome = judge(session, gates, _details(alone, losses, answers), numbers=3)
    if outcome.state is State.PASSED:
        outcome.executed_on = ", ".join(sorted(str(answer["place"]) for answer in answers))
        if min(alone[-5:]) >= alone[0]:
            outcome.state = State.VACUOUS
            outcome.message = f"the model learned nothing in {len(alone)} steps: equal losses prove little"
    return outcome


def _by_replica(trained: Sequence[Answer]) -> dict[int, list[list[float]]]:
    replicas: dict[int, list[list[float]]] = {}
    for rank in trained:
        replicas.setdefault(rank["replica"], []).append(rank["losses"])
    return replicas


def _mean_losses(trained: Sequence[Answer]) -> list[float]:
    """Of each step, over all rows: replicas have equal shares of them."""
    replicas = [losses[0] for losses in _by_replica(trained).values()]
    return [sum(step) / len(step) for step in zip(*replicas, strict=True)]


def _different_losses(trained: Sequence[Answer]) -> list[str]:
    """Ranks that share their rows have to see one loss, to the last bit."""
    return [
        f"replica {replica}, step {step}: {sorted(set(seen))}"
        for replica, losses in _by_replica(trained).items()
        for step, seen in enumerate(zip(*losses, strict=True))
        if len(set(seen)) > 1
    ]


def _different_parameters(trained: Sequence[Answer]) -> list[str]:
    """Ranks that hold the same part of a parameter have to hold the same bits of it."""
    digests: dict[str, set[str]] = {}
    for rank in trained:
        for part, digest in rank["digests"].items():
            digests.setdefault(part, set()).add(digest)
    return [f"{part}: {len(found)} versions" for part, found in sorted(digests.items()) if len(found) > 1]


def _misplaced(answers: Sequence[Answer]) -> list[str]:
    found = []
    for answer in answers:
        seen = answer["trained"]
        found += [f"rank {answer['rank']}: {where}" for where in seen["off_device"]]
        found += [f"rank {answer['rank']}: {name} has no gradient" for name in seen["without_gradient"]]
    return found


def _idle(strategy: Strategy, answers: Sequence[Answer]) -> list[str]:
    return [
        f"rank {answer['rank']}: no {row}"
        for answer in answers
        for row in strategy.rows
        if not answer["calls"].get(row, 0)
    ]


def _products(dtype: str, answers: Sequence[Answer]) -> list[str]:
    """Ranks that made no matrix product in ``dtype``, or made one in float32 when it was to be another."""
    found = []
    for answer in answers:
        kernels = answer["kernels"]
        if not kernels.get(f"matmul/{dtype}", 0):
            found.append(f"rank {answer['rank']}: no matmul/{dtype}")
        if dtype != "float32" and kernels.get("matmul/float32", 0):
            found.append(f"rank {answer['rank']}: {kernels['matmul/float32']} of matmul/float32")
    return found


def _loss_gate(alone: Sequence[float], losses: Sequence[float]) -> GateFigure:
    errors = relative_errors(alone, losses)
    worst = max(range(len(errors)), key=errors.__getitem__)
    note = f"worst at step {worst} of {len(errors)}: {losses[worst]:.9g}, one card {alone[worst]:.9g}"
    return GateFigure("relative error per step", "loss", errors[worst], LOSS_LIMIT, errors[worst] <= LOSS_LIMIT, note)


def _details(alone: Sequence[float], losses: Sequence[float], answers: Sequence[Answer]) -> dict[str, Any]:
    bits = hashlib.sha256()
    for answer in answers:
        for part, digest in sorted(answer["trained"]["digests"].items()):
            bits.update(f"{answer['rank']} {part} {digest}\n".encode())
    return {
        "loss": {"one card": list(alone), "ranks": list(losses)},
        "calls": {str(a["rank"]): {name: count for name, count in a["calls"].items() if count} for a in answers},
        "kernels": _total(answers),
        "gradients_checked": sum(answer["trained"]["gradients"] for answer in answers),
        "parameters_sha256": bits.hexdigest(),
    }


def _total(answers: Sequence[Answer]) -> dict[str, int]:
    total: dict[str, int] = {}
    for answer in answers:
        for key, count in answer["kernels"].items():
            total[key] = total.get(key, 0) + count
    return total
