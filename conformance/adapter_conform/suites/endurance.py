"""Recovery and determinism of training over several cards.

``endurance/<strategy>/float32/determinism``      two trainings, the same bits
``endurance/<strategy>/float32/<interruption>``   killed, terminated or failing ranks; see parallel/recovery.py
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.collectives.crew import START_LIMIT, Answers, CrewLost
from adapter_conform.collectives.crews import CREWS
from adapter_conform.parallel.course import Course, CourseLost
from adapter_conform.parallel.recovery import INTERRUPTIONS, STEPS, Found, Losses, uninterrupted
from adapter_conform.parallel.requirements import why_no_fleet
from adapter_conform.parallel.strategies import STRATEGIES
from adapter_conform.states import State
from adapter_conform.suites._parallel_gates import LOSS_LIMIT
from adapter_conform.suites._training_gates import count_gate, judge, relative_errors
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SUITE", "EnduranceSuite", "spike_gate"]

_STRATEGIES = {"smoke": (), "standard": ("dp2", "pp2"), "full": ("dp2", "mp2", "pp2", "dp2_mp2", "pp2_mp2")}
_TIMEOUT = 3 * START_LIMIT + 900
_PATIENCE = {"ADAPTER_COLLECTIVES_TIMEOUT": "60"}
"""Survivors of a killed rank wait no longer, where the device reads it."""


class EnduranceSuite:
    name = "endurance"

    def __init__(self) -> None:
        self._whole: dict[tuple[str, int, bool], tuple[Losses, dict[int, str]]] = {}

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        if request.plugin.collectives is None:
            return []
        return [
            Case(
                id=f"{self.name}/{strategy}/float32/{check}",
                suite=self.name,
                operator=strategy,
                dtype="float32",
                payload={"strategy": strategy, "check": check, "seed": request.seed},
                timeout=_TIMEOUT,
                not_run=why_no_fleet(),
            )
            for strategy in _STRATEGIES[request.profile]
            for check in ("determinism", *INTERRUPTIONS)
        ]

    def run(self, case: Case, session: Session) -> Outcome:
        strategy = STRATEGIES[case.payload["strategy"]]
        cards = session.library.card_count()
        if cards < strategy.ranks:
            message = f"takes {strategy.ranks} cards, one a rank; this machine has {cards}"
            return Outcome(State.UNSUPPORTED, message=message)
        CREWS.dismiss()  # the cards are needed
        try:
            with tempfile.TemporaryDirectory(prefix="adapter-endurance-") as folder:
                return self._check(case.payload, session, Path(folder))
        except (CourseLost, CrewLost) as error:
            return Outcome(State.FAILED, message=str(error))

    def _check(self, payload: Mapping[str, Any], session: Session, folder: Path) -> Outcome:
        from adapter_conform.parallel.models import whole_weights

        strategy, seed = STRATEGIES[payload["strategy"]], int(payload["seed"])
        interruption = INTERRUPTIONS.get(payload["check"])
        deterministic = interruption is None or interruption.deterministic
        weights = folder / "weights.safetensors"
        whole_weights(session.paddle, strategy.model, seed, weights)

        def course(name: str) -> Course:
            root = folder / name
            return Course(session.target, strategy, "float32", seed, weights, root, _PATIENCE, deterministic)

        key = (strategy.name, seed, deterministic)
        if key not in self._whole:
            self._whole[key] = uninterrupted(course("whole"))
        losses, digests = self._whole[key]
        if interruption is None:
            again, digests_again = uninterrupted(course("again"))
            parts = [f"rank {rank}" for rank, digest in digests.items() if digests_again[rank] != digest]
            gates = [_bits_gate(losses, again, 0), count_gate("bits differ", "parameters and optimizer state", parts)]
            return judge(session, gates, {"losses": losses[0], "sha256": digests}, numbers=2)
        interrupted = course("interrupted")
        try:
            found = interruption.act(interrupted)
        finally:
            interrupted.end()
        return _judge(session, losses, found, strategy.rows, deterministic)


SUITE = EnduranceSuite()


def _judge(session: Session, whole: Losses, found: Found, rows: Sequence[str], deterministic: bool) -> Outcome:
    go_on = _bits_gate if deterministic else spike_gate
    gates = [
        go_on(whole, found.losses, found.resumed_at),
        count_gate("recovery", "checkpoints and ranks", found.complaints),
        count_gate("collectives executed", "the plugin's communicator", _idle(found.answers, rows)),
    ]
    details = {"resumed_at": found.resumed_at, "losses": found.losses.get(0, []), "whole": whole[0], **found.notes}
    return judge(session, gates, details, numbers=2)


def _bits_gate(whole: Losses, again: Losses, first: int) -> GateFigure:
    """Steps whose loss differs from the uninterrupted training's in any bit; at least one has to be compared."""
    different = [
        f"rank {rank}, step {step}: {loss!r} instead of {wanted!r}"
        for rank, step, wanted, loss in _pairs(whole, again, first)
        if wanted != loss
    ]
    if _nothing_to_compare(whole, again, first):
        different.append("no step to compare")
    return count_gate("bits differ", "losses", different)


def spike_gate(whole: Losses, again: Losses, first: int) -> GateFigure:
    """The largest relative distance of a loss after the restart from the uninterrupted training's.

    Its limit is the one by which suite parallel judges float32 losses, which come of the same numbers in another order.
    """
    found = [
        (relative_errors([wanted], [loss])[0], f"rank {rank}, step {step}: {loss!r}, uninterrupted {wanted!r}")
        for rank, step, wanted, loss in _pairs(whole, again, first)
    ]
    if _nothing_to_compare(whole, again, first):
        found = [(math.inf, "no step to compare")]
    worst, note = max(found)
    return GateFigure("no spike", "losses after the restart", worst, LOSS_LIMIT, worst <= LOSS_LIMIT, note)


def _pairs(whole: Losses, again: Losses, first: int) -> Iterator[tuple[int, int, float, float]]:
    """(rank, step, loss of the uninterrupted training, loss after the restart)"""
    for rank, wanted_losses in whole.items():
        for index, (wanted, loss) in enumerate(zip(wanted_losses[first:], again.get(rank, []), strict=False)):
            yield rank, first + index, wanted, loss


def _nothing_to_compare(whole: Losses, again: Losses, first: int) -> bool:
    return first >= STEPS or not all(again.get(rank) for rank in whole)


def _idle(answers: Sequence[Answers], rows: Sequence[str]) -> list[str]:
    return [
        f"rank {rank}: no {row}"
        for one in answers
        for rank, answer in one.items()
        for row in rows
        if not answer["calls"].get(row, 0)
    ]
