"""What a communicator promises about time, order and failure."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_conform.collectives.values import Array, exact_part, reduced

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["SCENARIOS", "VICTIM", "Scenario", "Stage"]

VICTIM = 1
"""The rank that dies, comes late, or disagrees."""

_LATE_SECONDS = 2.0
_COUNT = 4099
_TURNS = 10


@dataclass
class Stage:
    session: Session
    rank: int
    ranks: int
    seed: int
    group: Callable[..., Any]
    """See :meth:`adapter_conform.collectives.rank.Rank.group`."""

    @property
    def paddle(self) -> Any:
        return self.session.paddle

    def parts(self, turn: int, count: int = _COUNT) -> list[Array]:
        return [
            exact_part(self.seed + turn, rank, self.ranks, count, "float32", "sum") // 16 for rank in range(self.ranks)
        ]

    def total(self, turn: int) -> Array:
        return reduced(self.parts(turn), "sum")

    def own(self, turn: int) -> Any:
        return self.paddle.to_tensor(self.parts(turn)[self.rank])

    def compare(self, what: str, wanted: Array, got: Any) -> list[str]:
        wrong = int(np.count_nonzero(np.asarray(got) != wanted))
        return [f"rank {self.rank}, {what}: {wrong} of {wanted.size} elements differ"] if wrong else []


@dataclass(frozen=True)
class Scenario:
    statement: str
    """What is true of a device that passes."""
    act: Callable[[Stage], list[str]]
    """What each rank does; returns what is wrong."""
    fails: bool = False
    """The call has to raise on every rank but the victim, and the group is lost afterwards."""
    least_ranks: int = 2
    graph: bool = False
    """Collectives are part of static graphs."""


def _concurrent(stage: Stage) -> list[str]:
    """Three communicators of the same ranks at once; none may see another's data."""
    groups = [stage.group((), copy) for copy in range(1, 4)]
    wrong = []
    for turn in range(_TURNS):
        tensors = [stage.own(100 * turn + index) for index in range(len(groups))]
        reduce = stage.paddle.distributed.all_reduce
        tasks = [reduce(tensor, group=group, sync_op=False) for tensor, group in zip(tensors, groups, strict=True)]
        for task in reversed(tasks):
            task.wait()
        for index, tensor in enumerate(tensors):
            wrong += stage.compare(f"turn {turn}, group {index}", stage.total(100 * turn + index), tensor)
    return wrong


def _after_compute(stage: Stage) -> list[str]:
    """The reduction takes what kernels enqueued before it produce, and kernels after it take its result."""
    wrong = []
    for turn in range(_TURNS):
        tensor = stage.own(turn)
        for _ in range(8):
            tensor = tensor + tensor  # exact: times 256
        stage.paddle.distributed.all_reduce(tensor)
        for _ in range(8):
            tensor = tensor * 0.5
        wrong += stage.compare(f"turn {turn}", stage.total(turn), tensor)
    return wrong


def _beside_compute(stage: Stage) -> list[str]:
    """Kernels run while a reduction is under way; wait() joins both."""
    wrong = []
    for turn in range(_TURNS):
        tensor, other = stage.own(turn), stage.own(turn + 50)
        task = stage.paddle.distributed.all_reduce(tensor, sync_op=False)
        for _ in range(8):
            other = other + other
        task.wait()
        wrong += stage.compare(
            f"turn {turn}", stage.total(turn) + 256 * stage.parts(turn + 50)[stage.rank], tensor + other
        )
    return wrong


def _late(stage: Stage) -> list[str]:
    if stage.rank == VICTIM:
        time.sleep(_LATE_SECONDS)
    tensor = stage.own(0)
    stage.paddle.distributed.all_reduce(tensor)
    return stage.compare("after a late rank", stage.total(0), tensor)


def _barrier(stage: Stage) -> list[str]:
    """Nobody leaves before the late rank has come. Clocks are one: all ranks run on one host."""
    if stage.rank == VICTIM:
        time.sleep(_LATE_SECONDS)
    entered = time.time()
    stage.paddle.distributed.barrier()
    stage.paddle.device.synchronize()
    left = time.time()
    times: list[Any] = []
    stage.paddle.distributed.all_gather_object(times, {"entered": entered, "left": left})
    last = max(item["entered"] for item in times)
    return [] if left >= last else [f"rank {stage.rank} left the barrier {last - left:.3f} s before the last one came"]


def _objects(stage: Stage) -> list[str]:
    """Python objects of different sizes, which Paddle sends as bytes."""
    gathered: list[Any] = []
    stage.paddle.distributed.all_gather_object(gathered, {"rank": stage.rank, "text": "x" * (1 + 1000 * stage.rank)})
    wanted = [{"rank": rank, "text": "x" * (1 + 1000 * rank)} for rank in range(stage.ranks)]
    return [] if gathered == wanted else [f"rank {stage.rank}: other objects came than were sent"]


def _overlapping(stage: Stage) -> list[str]:
    """Pairs that cross, and all ranks, with calls of all groups under way at once: each rank is in three of five."""
    lower = [tuple(range(stage.ranks // 2)), tuple(range(stage.ranks // 2, stage.ranks))]
    crossing = [tuple(range(0, stage.ranks, 2)), tuple(range(1, stage.ranks, 2))]
    groups = [(members, stage.group(members)) for members in (*lower, *crossing)]  # all ranks make all groups
    own = [((*range(stage.ranks),), None), *(item for item in groups if stage.rank in item[0])]
    wrong = []
    for turn in range(_TURNS):
        tensors = [stage.own(100 * turn + index) for index in range(len(own))]
        reduce = stage.paddle.distributed.all_reduce
        tasks = [reduce(tensor, group=group, sync_op=False) for tensor, (_, group) in zip(tensors, own, strict=True)]
        for task in tasks:
            task.wait()
        for index, (members, _) in enumerate(own):
            parts = stage.parts(100 * turn + index)
            wanted = reduced([parts[rank] for rank in members], "sum")
            wrong += stage.compare(f"turn {turn}, ranks {members}", wanted, tensors[index])
    return wrong


def _graph(stage: Stage, build: Callable[[Any], list[Any]], fed: Array) -> list[Array]:
    """What a program of the device makes of ``fed``."""
    paddle = stage.paddle
    paddle.enable_static()
    try:
        program = paddle.static.Program()
        with paddle.static.program_guard(program, paddle.static.Program()):
            results = build(paddle.static.data("x", list(fed.shape), "float32"))
        name, card = stage.session.device.split(":")
        executor = paddle.static.Executor(paddle.CustomPlace(name, int(card)))
        got: list[Array] = executor.run(program, feed={"x": fed}, fetch_list=results)
        return got
    finally:
        paddle.disable_static()


def _graph_order(stage: Stage) -> list[str]:
    """As in eager mode, inside a graph that runs ten times."""
    _meet(stage)

    def build(x: Any) -> list[Any]:
        for _ in range(8):
            x = x + x
        x = stage.paddle._C_ops.all_reduce(x, 0, 0)
        for _ in range(8):
            x = x * 0.5
        return [x]

    wrong = []
    for turn in range(_TURNS):
        (got,) = _graph(stage, build, stage.parts(turn)[stage.rank])
        wrong += stage.compare(f"turn {turn}", stage.total(turn), got)
    return wrong


def _graph_groups(stage: Stage) -> list[str]:
    """Three communicators of the same ranks in one graph, each with data of its own."""
    _meet(stage)
    groups = [stage.group((), copy) for copy in range(1, 3)]
    for group in groups:
        stage.paddle.distributed.all_reduce(stage.own(0), group=group)

    def build(x: Any) -> list[Any]:
        rings = [0, *(group.id for group in groups)]
        return [stage.paddle._C_ops.all_reduce(x * float(2**index), ring, 0) for index, ring in enumerate(rings)]

    results = _graph(stage, build, stage.parts(0)[stage.rank])
    return [
        fault
        for index, result in enumerate(results)
        for fault in stage.compare(f"group {index}", stage.total(0) * 2**index, result)
    ]


def _graph_to_static(stage: Stage) -> list[str]:
    """A function of eager mode that ``paddle.jit.to_static`` turns into a graph, called with changing data."""
    _meet(stage)
    paddle = stage.paddle

    def spread(x: Any) -> Any:
        y = x + x
        paddle.distributed.all_reduce(y)
        return y + y

    function = paddle.jit.to_static(spread, full_graph=True)
    wrong = []
    for turn in range(3):
        wrong += stage.compare(f"call {turn}", 4 * stage.total(turn), function(stage.own(turn)))
    return wrong


def _reduce_and_see(stage: Stage, count: int = _COUNT) -> list[str]:
    tensor = stage.paddle.to_tensor(np.full(count, 1.0, np.float32))
    stage.paddle.distributed.all_reduce(tensor)
    tensor.numpy()
    return [f"rank {stage.rank}: the call came back without an error"]


def _meet(stage: Stage) -> None:
    """Makes the communicator, so that what follows is about using it."""
    stage.paddle.distributed.all_reduce(stage.own(0))
    stage.paddle.device.synchronize()


def _death(stage: Stage) -> list[str]:
    _meet(stage)
    if stage.rank == VICTIM:
        os.kill(os.getpid(), signal.SIGKILL)
    return _reduce_and_see(stage)


def _sizes(stage: Stage) -> list[str]:
    _meet(stage)
    return _reduce_and_see(stage, _COUNT - (stage.rank == VICTIM))


def _absent(stage: Stage) -> list[str]:
    _meet(stage)
    if stage.rank == VICTIM:
        return []
    return _reduce_and_see(stage)


SCENARIOS: dict[str, Scenario] = {
    "concurrent": Scenario("communicators of the same ranks do not mix up their data", _concurrent),
    "after_compute": Scenario("a collective has its place among the kernels before and after it", _after_compute),
    "beside_compute": Scenario("kernels and a collective that is under way do not disturb each other", _beside_compute),
    "late_rank": Scenario("a rank that comes late is waited for", _late),
    "barrier": Scenario("nobody leaves a barrier before everybody has come", _barrier),
    "objects": Scenario("objects of different sizes arrive whole", _objects),
    "overlapping_groups": Scenario("groups that share ranks do not disturb each other", _overlapping, least_ranks=4),
    "graph_order": Scenario(
        "a collective in a graph has its place among the graph's kernels", _graph_order, graph=True
    ),
    "graph_groups": Scenario("each collective of a graph goes to its own communicator", _graph_groups, graph=True),
    "graph_to_static": Scenario("a collective works in what to_static compiles", _graph_to_static, graph=True),
    "dead_rank": Scenario("the death of a rank becomes an error on the others, not a hang", _death, fails=True),
    "mismatched_sizes": Scenario("different sizes become an error, not wrong data or a hang", _sizes, fails=True),
    "absent_rank": Scenario("a rank that never makes the call becomes an error on the others", _absent, fails=True),
}
