"""Training over several cards: data, tensor, pipeline, sharding, sequence, expert and context parallel, and mixtures.

``parallel/<strategy>/<dtype>/train``   losses step by step against one card's from the same weights and data

The strategies are one table, :data:`adapter_conform.parallel.strategies.STRATEGIES`. Ranks are processes that Paddle's
launcher starts, one a card; they build a PaddleNLP model with fleet and train it. One card trains the same model in the
worker, once for all strategies.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapter_conform.cases import Case, Outcome
from adapter_conform.collectives.crew import START_LIMIT, CrewLost
from adapter_conform.collectives.crews import CREWS
from adapter_conform.parallel.requirements import why_no_fleet
from adapter_conform.parallel.strategies import SMOKE, STRATEGIES, Strategy
from adapter_conform.states import State
from adapter_conform.suites._mixed_precision import absent_products
from adapter_conform.suites._parallel_gates import judge_ranks, trouble
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SUITE", "ParallelSuite"]

_STEPS = {"smoke": 10, "standard": 50, "full": 50}
_CASE_LIMIT = 400.0
"""Seconds in which all ranks have to answer; 50 steps take refchip two."""
_TIMEOUT = START_LIMIT + _CASE_LIMIT + 200


class ParallelSuite:
    name = "parallel"

    def __init__(self) -> None:
        self._alone: dict[tuple[str, int, int], tuple[Path, list[float]]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        if request.plugin.collectives is None:
            return []
        smoke = request.profile == "smoke"
        chosen = [STRATEGIES[name] for name in SMOKE] if smoke else list(STRATEGIES.values())
        return [
            self._case(request, strategy, dtype)
            for strategy in sorted(chosen, key=lambda entry: entry.ranks)  # so that ranks serve several cases
            for dtype in (strategy.dtypes[:1] if smoke else strategy.dtypes)
        ]

    def _case(self, request: PlanRequest, strategy: Strategy, dtype: str) -> Case:
        return Case(
            id=f"{self.name}/{strategy.name}/{dtype}/train",
            suite=self.name,
            operator=strategy.name,
            dtype=dtype,
            payload={"strategy": strategy.name, "steps": _STEPS[request.profile], "seed": request.seed},
            timeout=_TIMEOUT,
            not_run=why_no_fleet() or strategy.upstream or None,
        )

    def run(self, case: Case, session: Session) -> Outcome:
        strategy = STRATEGIES[case.payload["strategy"]]
        cards = session.library.card_count()
        if cards < strategy.ranks:
            message = f"takes {strategy.ranks} cards, one a rank; this machine has {cards}"
            return Outcome(State.UNSUPPORTED, message=message)
        if case.dtype != "float32" and (missing := absent_products(session, case.dtype)):
            return Outcome(State.UNSUPPORTED, message=missing)
        weights, alone = self._train_alone(session, strategy, case.payload)
        try:
            crew = CREWS.get(session.target, strategy.ranks, session.seed, {})
        except CrewLost as error:
            return Outcome(State.FAILED, message=f"no {strategy.ranks} ranks could be started: {error}")
        job = {"type": "parallel", **case.payload, "dtype": case.dtype, "weights": str(weights)}
        answers = crew.run(job, _CASE_LIMIT)
        outcome = trouble(answers, strategy.ranks, _CASE_LIMIT)
        if outcome is not None:
            outcome.details["ranks_wrote"] = crew.logs()
            CREWS.dismiss()
            return outcome
        return judge_ranks(session, strategy, case.dtype, alone, list(answers.values()))

    def _train_alone(
        self, session: Session, strategy: Strategy, payload: Mapping[str, Any]
    ) -> tuple[Path, list[float]]:
        """The file of the initial weights, and the losses of one card in float32."""
        from adapter_conform.parallel.models import whole_weights  # Paddle's part of this suite
        from adapter_conform.parallel.training import train

        seed, steps = int(payload["seed"]), int(payload["steps"])
        key = (strategy.model, seed, steps)
        if key not in self._alone:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="adapter-parallel-")
                atexit.register(self._folder.cleanup)
            path = Path(self._folder.name) / f"{strategy.model}-{seed}.safetensors"
            whole_weights(session.paddle, strategy.model, seed, path)
            alone = Strategy("alone", model=strategy.model)
            trained = train(session.paddle, session.device, alone, "float32", steps, seed, path)
            self._alone[key] = (path, trained.losses)
        return self._alone[key]


SUITE = ParallelSuite()
