"""Collectives between processes: every operation, dtype, reduction and size, order, concurrency, and failing ranks.

``collectives/<n>ranks/<operation>/<dtype>``   calls compared element by element; each variation is a figure
``collectives/<n>ranks/graph_<...>/<dtype>``   the same inside static graphs; see collectives/graphs.py
``collectives/<n>ranks/<scenario>/any``        what is about time and order; see collectives/scenarios.py

Ranks are processes that Paddle's launcher starts, one a card. A worker keeps them for the cases that follow, unless one
of them failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.collectives.crew import START_LIMIT, Answers, CrewLost
from adapter_conform.collectives.crews import CREWS
from adapter_conform.collectives.graphs import DTYPES, GRAPH_ROWS, KERNELS, why_no_graphs
from adapter_conform.collectives.operations import OPERATIONS, ROWS, Variation
from adapter_conform.collectives.scenarios import SCENARIOS, VICTIM
from adapter_conform.collectives.values import numpy_dtype
from adapter_conform.declarations import declared_kernels
from adapter_conform.states import State
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SUITE", "CollectivesSuite"]

_DTYPES = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64", "bool")
"""Those that Paddle's documentation lists for collectives."""
_REDUCING = ("all_reduce", "reduce", "reduce_scatter")
_HALF_AND_FULL = ("float32", "bfloat16")
_ASKED = ("sum", "max", "min", "prod")
"""In eager mode Paddle never asks a custom device for an average: its all_reduce and reduce_scatter refuse it, which
the cases ``average`` show, and its reduce scales before the sum. In graphs it does."""
_OF_ONE_SIZE = ("all_reduce", "broadcast", "reduce", "send_recv")
"""Of the others the larger side holds a part of each rank; 64 MiB are its size, as nccl-tests counts."""
_PRIME = 1021
_SIZES = (0, 1, 7, _PRIME, 4096)
_MIB = 2**20

_CASE_LIMIT = 120.0
"""Seconds in which all ranks have to answer."""

_TIMEOUT = START_LIMIT + _CASE_LIMIT + 60

_PATIENCE = {"ADAPTER_COLLECTIVES_TIMEOUT": "20"}
"""For the scenarios in which a rank fails: how long the others wait. Devices that do not read it have 120 s."""

_SAMPLE = "sample"
_GRAPH_SAMPLE = "graph_sample"

_ALONE = {"ADAPTER_CREW": "one communicator"}
"""For the crew of graphs, which makes no further groups: Paddle tells some operators of a graph the first communicator
of the process, whichever is theirs."""


class CollectivesSuite:
    name = "collectives"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        if request.plugin.collectives is None:
            return []
        if request.profile == "smoke":
            return [
                _case(request, 2, _SAMPLE, "float32", _sample()),
                _case(request, 2, _GRAPH_SAMPLE, "float32", _graph_sample()),
            ]
        cases = []
        for ranks in (2, 4):
            for operation in GRAPH_ROWS:
                for dtype in _dtypes(operation, ranks, request.profile):
                    variations = list(_graph_variations(operation, dtype, request.profile))
                    cases.append(_case(request, ranks, operation, dtype, variations))
            for operation in OPERATIONS:
                for dtype in _dtypes(operation, ranks, request.profile):
                    variations = list(_variations(operation, dtype, ranks, request.profile))
                    cases.append(_case(request, ranks, operation, dtype, variations))
            cases.append(_case(request, ranks, "average", "any", _averages()))
            scenarios = [name for name, scenario in SCENARIOS.items() if ranks >= scenario.least_ranks]
            cases += [_scenario_case(request, ranks, name) for name in scenarios]
        return cases

    def run(self, case: Case, session: Session) -> Outcome:
        ranks = int(case.payload["ranks"])
        cards = session.library.card_count()
        if cards < ranks:
            return Outcome(State.UNSUPPORTED, message=f"takes {ranks} cards, one a rank; this machine has {cards}")
        if (reason := _why_no_graph(case, session)) is not None:
            return Outcome(State.UNSUPPORTED, message=reason)
        fails = bool(case.payload["fails"])
        settings = _PATIENCE if fails else _ALONE if case.payload["graphs"] else {}
        try:
            crew = CREWS.get(session.target, ranks, session.seed, settings)
        except CrewLost as error:
            return Outcome(State.FAILED, message=f"no {ranks} ranks could be started: {error}")
        answers = crew.run(case.payload["job"], _CASE_LIMIT)
        outcome = _judge_failure(answers, ranks) if fails else _judge(case, answers, ranks)
        if outcome.state is not State.PASSED:
            outcome.details["ranks_wrote"] = crew.logs()
        if (
            fails
            or len(answers) < ranks
            or not all("wrong" in answer and "error" not in answer for answer in answers.values())
        ):
            CREWS.dismiss()
        return outcome


SUITE = CollectivesSuite()


# ---- plan -----------------------------------------------------------------------------------------------------------


def _case(request: PlanRequest, ranks: int, operation: str, dtype: str, variations: Sequence[Variation]) -> Case:
    job = {"type": "variations", "seed": request.seed, "variations": [item.to_json() for item in variations]}
    graphs = request.profile != "smoke" and operation in GRAPH_ROWS
    payload = {"ranks": ranks, "fails": False, "graphs": graphs, "job": job}
    return Case(f"collectives/{ranks}ranks/{operation}/{dtype}", "collectives", operation, dtype, payload, _TIMEOUT)


def _scenario_case(request: PlanRequest, ranks: int, name: str) -> Case:
    job = {"type": "scenario", "scenario": name, "seed": request.seed}
    payload = {
        "ranks": ranks,
        "fails": SCENARIOS[name].fails,
        "graphs": False,
        "job": job,
        "statement": SCENARIOS[name].statement,
    }
    return Case(f"collectives/{ranks}ranks/{name}/any", "collectives", name, "any", payload, _TIMEOUT)


def _sample() -> list[Variation]:
    """One call of each operation, the half types, every reduction, and a misaligned and an asynchronous one."""
    calls = [Variation(name, "float32", _PRIME, "sum" if name in _REDUCING else "") for name in OPERATIONS]
    calls += [Variation("all_reduce", dtype, _PRIME, "sum") for dtype in ("bfloat16", "float16", "int64")]
    calls += [Variation("all_reduce", "float32", 7, reduction) for reduction in _ASKED]
    calls += [Variation("all_reduce", "float32", _MIB // 4, "sum")]
    calls += [Variation("all_reduce", "float32", _PRIME, "sum", misaligned=True)]
    return [*calls, Variation("all_reduce", "float32", _PRIME, "sum", asynchronous=True)]


def _averages() -> list[Variation]:
    """What Paddle (3.0 to 3.3) refuses before it asks a custom device; in graphs it asks, see _graph_reductions."""
    return [
        Variation(name, dtype, _PRIME, "avg") for name in ("all_reduce", "reduce_scatter") for dtype in _HALF_AND_FULL
    ]


def _graph_sample() -> list[Variation]:
    """One program of each operation, and those with a second form."""
    calls = [Variation(name, "float32", _PRIME, _graph_reductions(name)[0]) for name in GRAPH_ROWS]
    calls += [Variation(name, "float32", 7, _graph_reductions(name)[0], in_place=True) for name in _TWO_FORMS]
    return [*calls, Variation("graph_all_reduce", "bfloat16", _PRIME, "max")]


def _dtypes(operation: str, ranks: int, profile: str) -> Sequence[str]:
    offered = DTYPES.get(operation, _DTYPES)
    wanted = offered if ranks == 2 or profile == "full" else _HALF_AND_FULL
    return [dtype for dtype in wanted if dtype in offered]


def _reductions(operation: str) -> Sequence[str]:
    if operation not in _REDUCING:
        return ("",)
    return _ASKED


def _variations(operation: str, dtype: str, ranks: int, profile: str) -> Iterable[Variation]:
    """All reductions at the prime size; all sizes and ways of calling with the first of them."""
    reductions = _reductions(operation)
    first = reductions[0]
    yield from (Variation(operation, dtype, _PRIME, reduction) for reduction in reductions)
    # Paddle refuses tensors without elements, and in batch_isend_irecv leaves the group open when it does.
    sizes = [count for count in _SIZES if count != _PRIME and (count or operation != "batch_p2p")]
    yield from (Variation(operation, dtype, count, first) for count in sizes)
    yield Variation(operation, dtype, _PRIME, first, misaligned=True)
    yield Variation(operation, dtype, _PRIME, first, asynchronous=True)
    yield Variation(operation, dtype, 7, first, repeat=10 if profile == "standard" else 50)
    width = numpy_dtype(dtype).itemsize
    yield Variation(operation, dtype, _MIB // width, first)
    if profile == "full" and dtype in _HALF_AND_FULL:
        parts = 1 if operation in _OF_ONE_SIZE else ranks
        yield Variation(operation, dtype, 64 * _MIB // width // parts, first)
    if ranks > 2:
        for members in ((0, 1), (1, ranks - 1), (0, 2, 3)):
            yield Variation(operation, dtype, _PRIME, first, members=members)


_TWO_FORMS = ("graph_all_reduce", "graph_broadcast", "graph_send_recv")
_SUMMING = ("graph_mp_allreduce_sum", "graph_c_allreduce_sum", "graph_reduce_scatter")


def _graph_reductions(operation: str) -> Sequence[str]:
    if operation in _SUMMING:
        return ("sum",)
    return (*_ASKED, "avg") if operation in ("graph_all_reduce", "graph_reduce") else ("",)


def _graph_variations(operation: str, dtype: str, profile: str) -> Iterable[Variation]:
    """As in eager mode. A program has no misaligned tensors and waits for its collectives. Tensors without elements are
    taken, but Paddle lets none be received."""
    reductions = _graph_reductions(operation)
    first = reductions[0]
    averaged = [name for name in reductions if name != "avg" or dtype != "bool"]
    yield from (Variation(operation, dtype, _PRIME, reduction) for reduction in averaged)
    sizes = [count for count in _SIZES if count != _PRIME and (count or operation != "graph_send_recv")]
    yield from (Variation(operation, dtype, count, first) for count in sizes)
    if operation in _TWO_FORMS:
        yield Variation(operation, dtype, _PRIME, first, in_place=True)
    yield Variation(operation, dtype, 7, first, repeat=2 if profile == "standard" else 10)
    yield Variation(operation, dtype, _MIB // numpy_dtype(dtype).itemsize, first)


# ---- judge ----------------------------------------------------------------------------------------------------------


def _why_no_graph(case: Case, session: Session) -> str | None:
    """Why the graphs of a case cannot run here; ``None`` where they can, and for other cases."""
    job = case.payload["job"]
    operations = {item["operation"] for item in job.get("variations", ()) if item["operation"] in GRAPH_ROWS}
    if "scenario" in job and SCENARIOS[job["scenario"]].graph:
        operations = {"graph_all_reduce"}
    if not operations:
        return None
    if (reason := why_no_graphs(session.paddle.__version__)) is not None:
        return reason
    declared = {name for name, _ in declared_kernels(session.plugin)}
    wanted = {name for operation in operations for name in KERNELS.get(operation, (operation.removeprefix("graph_"),))}
    if missing := sorted(wanted - declared):
        return (
            f"plugin {session.plugin.name!r} has no kernel {', '.join(missing)}, which static graphs need; "
            "adapter_sdk_add_plugin(... GRAPH_COLLECTIVES) adds those of the SDK"
        )
    return None


def _judge(case: Case, answers: Answers, ranks: int) -> Outcome:
    trouble = _trouble(answers, ranks)
    if trouble is not None:
        return trouble
    wrong: dict[str, list[str]] = {}
    for answer in answers.values():
        for label, faults in answer["wrong"].items():
            wrong.setdefault(label, []).extend(faults)
    refused = {label: why for answer in answers.values() for label, why in answer["refused"].items()}
    if set(_labels(case)) <= refused.keys():
        reasons = "; ".join(sorted(set(refused.values())))
        return Outcome(State.UNSUPPORTED, message=reasons, details={"refused": refused})
    figures = [_figure(label, wrong.get(label, [])) for label in _labels(case) if label not in refused]
    calls = _calls(answers)
    details = {"calls": calls, "refused": refused}
    bad = [fault for faults in wrong.values() for fault in faults]
    if bad:
        return Outcome(State.FAILED, "", figures, "; ".join(bad[:4]), details)
    idle = _idle(case, answers)
    if idle:
        return Outcome(
            State.FELL_BACK, "", figures, f"right, but not counted by the device's communicator: {idle}", details
        )
    return Outcome(State.PASSED, _places(answers), figures, "", details)


def _figure(label: str, faults: Sequence[str]) -> GateFigure:
    note = "; ".join(faults[:2])
    return GateFigure("elements that differ: ranks with any", label, len(faults), 0, not faults, note)


def _labels(case: Case) -> list[str]:
    job = case.payload["job"]
    if job["type"] == "scenario":
        return ["result"]
    return [Variation.from_json(item).label() for item in job["variations"]]


def _trouble(answers: Answers, ranks: int) -> Outcome | None:
    """The outcome where a rank ended, reported an error, or kept silent."""
    details = {"answers": {str(rank): {**answer, "wrong": None} for rank, answer in answers.items()}}
    ended = {rank: answer["ended"] for rank, answer in answers.items() if "ended" in answer}
    if ended:
        message = ", ".join(f"rank {rank} ended with {status}" for rank, status in sorted(ended.items()))
        return Outcome(State.CRASHED, message=message, details=details)
    errors = {rank: answer for rank, answer in answers.items() if "error" in answer}
    if errors:
        rank, answer = min(errors.items())
        at = f" at {answer['at']}" if answer.get("at") else ""
        return Outcome(State.FAILED, message=f"rank {rank}{at}: {answer['error']}", details=details)
    silent = sorted(set(range(ranks)) - set(answers))
    if silent:
        message = f"rank(s) {', '.join(map(str, silent))} gave no answer within {_CASE_LIMIT:g} s"
        return Outcome(State.HUNG, message=message, details=details)
    return None


def _judge_failure(answers: Answers, ranks: int) -> Outcome:
    """Every rank but the victim has to have raised."""
    others = [rank for rank in range(ranks) if rank != VICTIM]
    details = {"errors": {str(rank): answers.get(rank, {}).get("error", "") for rank in range(ranks)}}
    silent = [rank for rank in others if rank not in answers]
    if silent:
        message = f"rank(s) {', '.join(map(str, silent))} neither failed nor came back within {_CASE_LIMIT:g} s"
        return Outcome(State.HUNG, message=message, details=details)
    ended = [rank for rank in others if "ended" in answers[rank]]
    if ended:
        return Outcome(State.CRASHED, message=f"rank(s) {ended} ended instead of raising an error", details=details)
    mild = [rank for rank in others if "error" not in answers[rank]]
    if mild:
        return Outcome(State.FAILED, message=f"rank(s) {mild} saw no error", details=details)
    figure = GateFigure("ranks without an error", "survivors", 0, 0, True)
    places = ", ".join(sorted(str(answers[rank]["place"]) for rank in others))
    idle = [rank for rank in others if not sum(answers[rank]["calls"].values())]
    if idle:
        return Outcome(State.FELL_BACK, "", [figure], f"rank(s) {idle}: no call of the device's communicator", details)
    return Outcome(State.PASSED, places, [figure], "", details)


def _calls(answers: Answers) -> dict[str, int]:
    """Calls of the communicator, all ranks together."""
    total: dict[str, int] = {}
    for answer in answers.values():
        for name, count in answer["calls"].items():
            if count:
                total[name] = total.get(name, 0) + count
    return total


def _idle(case: Case, answers: Answers) -> str:
    """Ranks whose communicator did not count what the case's operations are made of; empty when all did."""
    job = case.payload["job"]
    if job["type"] == "scenario":
        wanted = [tuple(answers[0]["calls"])]
    else:
        operations = {item["operation"] for item in job["variations"]}
        wanted = [ROWS.get(operation) or GRAPH_ROWS[operation] for operation in operations]
    idle = [
        f"rank {rank}: {' or '.join(rows)}"
        for rank, answer in answers.items()
        for rows in wanted
        if not any(answer["calls"].get(row, 0) for row in rows)
    ]
    return "; ".join(idle)


def _places(answers: Answers) -> str:
    return ", ".join(sorted(str(answer["place"]) for answer in answers.values()))
