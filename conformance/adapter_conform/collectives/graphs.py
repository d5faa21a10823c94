"""Collectives inside static graphs (PIR): each is built into a program and run by Paddle's executor on the device.

There a collective is a kernel of the device: Paddle's callbacks alone do not serve it. A graph feeds a placeholder
through a kernel into the collective, and its result through another, so that all three have to keep their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from adapter_conform.collectives.operations import Place, Variation, compare
from adapter_conform.collectives.values import Array, exact_part, movable_part, numpy_dtype, reduced
from adapter_sdk.versions import matches

__all__ = ["DTYPES", "GRAPH_ROWS", "KERNELS", "perform_in_graph", "why_no_graphs"]

GRAPH_ROWS: dict[str, tuple[str, ...]] = {
    "graph_all_reduce": ("all_reduce",),
    "graph_mp_allreduce_sum": ("all_reduce",),
    "graph_c_allreduce_sum": ("all_reduce",),
    "graph_broadcast": ("broadcast",),
    "graph_reduce": ("reduce",),
    "graph_all_gather": ("all_gather",),
    "graph_reduce_scatter": ("reduce_scatter",),
    "graph_all_to_all": ("all_to_all", "send", "recv"),
    "graph_send_recv": ("send", "recv"),
}
"""Operation -> rows of the device's table, one of which has to count it."""

KERNELS: dict[str, tuple[str, ...]] = {
    "graph_send_recv": ("p_send", "p_recv"),
    "graph_c_allreduce_sum": (),  # Paddle's wheel brings it for every custom device
}
"""Operation -> kernels that the plugin has to bring; the name without ``graph_`` where none is listed."""

DTYPES: dict[str, tuple[str, ...]] = {
    "graph_c_allreduce_sum": ("float32", "float16", "float64", "int32", "int64"),  # those of the wheel's kernel
    "graph_broadcast": ("float32", "float16", "float64", "int32", "int64", "int8", "uint8", "bool"),
    "graph_all_to_all": ("float32", "float16", "bfloat16", "float64", "int32", "int64"),
}
"""Where Paddle does not take all dtypes of its collectives."""

_BROUGHT_BY_FLOAT32 = ("bfloat16",)
"""Executors take no bfloat16 from NumPy: it is fed as float32 and cast in the graph, without loss."""


def why_no_graphs(version: str) -> str | None:
    """Why this release of Paddle cannot run collectives in a static graph on a custom device; ``None`` where it can."""
    if matches(version, "<3.1"):
        return "Paddle before 3.1 has no device contexts for the communicators of custom devices"
    return None


def perform_in_graph(place: Place, device: str, variation: Variation) -> list[str]:
    """Runs the operation in a program and compares every element. Returns what is wrong, in words."""
    wrong: list[str] = []
    function = _GRAPHS[variation.operation]
    for turn in range(variation.repeat):
        fed, call, wanted = function(replace(place, seed=place.seed + 1000 * turn), variation)
        got = _execute(place.paddle, device, fed, call, variation.dtype, _legacy(variation))
        if wanted is not None and (fault := compare(wanted, got)):
            wrong.append(f"rank {place.members[place.rank]}, turn {turn}: {fault}")
    return wrong


def _legacy(variation: Variation) -> bool:
    """Python offers no point-to-point operator of PIR: it is put into a program of the older form, which the same
    executor translates and runs."""
    return variation.operation == "graph_send_recv"


@contextmanager
def _static_mode(paddle: Any, legacy: bool) -> Iterator[None]:
    paddle.enable_static()
    try:
        if legacy:
            with paddle.pir_utils.OldIrGuard():
                yield
        else:
            yield
    finally:
        paddle.disable_static()


def _execute(paddle: Any, device: str, fed: Array, call: Callable[[Any], Any], dtype: str, legacy: bool) -> Array:
    through_float32 = dtype in _BROUGHT_BY_FLOAT32
    with _static_mode(paddle, legacy):
        program = paddle.static.Program()
        with paddle.static.program_guard(program, paddle.static.Program()):
            source = paddle.static.data("x", list(fed.shape), "float32" if through_float32 else dtype)
            inside = paddle.cast(source, dtype) if through_float32 else paddle.assign(source)
            outside = call(inside)
            result = paddle.cast(outside, "float32") if through_float32 else paddle.assign(outside)
        name, card = device.split(":")
        executor = paddle.static.Executor(paddle.CustomPlace(name, int(card)))
        feed = {"x": fed.astype(np.float32) if through_float32 else fed}
        (got,) = executor.run(program, feed=feed, fetch_list=[result])
    return np.asarray(got).astype(numpy_dtype(dtype))


def _ring(place: Place) -> int:
    return 0 if place.group is None else int(place.group.id)


Graph = tuple[Array, Callable[[Any], Any], Array | None]
"""What this rank feeds, the call that is built into its program, and what has to come out; ``None``: anything."""


def _parts(place: Place, variation: Variation, count: int) -> list[Array]:
    return [
        exact_part(place.seed, rank, place.ranks, count, variation.dtype, variation.reduction)
        for rank in range(place.ranks)
    ]


def _moved(place: Place, variation: Variation) -> list[Array]:
    return [movable_part(place.seed, rank, variation.count, variation.dtype) for rank in range(place.ranks)]


def _all_reduce(place: Place, variation: Variation) -> Graph:
    parts = _parts(place, variation, variation.count)
    op = getattr(place.paddle.distributed.ReduceOp, variation.reduction.upper())

    def call(x: Any) -> Any:
        if variation.in_place:
            place.paddle.distributed.all_reduce(x, op=op, group=place.group)
            return x
        return place.paddle._C_ops.all_reduce(x, _ring(place), int(op))

    return parts[place.rank], call, reduced(parts, variation.reduction)


def _mp_allreduce_sum(place: Place, variation: Variation) -> Graph:
    parts = _parts(place, variation, variation.count)
    call = place.paddle._C_ops.mp_allreduce_sum
    return parts[place.rank], lambda x: call(x, _ring(place)), reduced(parts, "sum")


def _c_allreduce_sum(place: Place, variation: Variation) -> Graph:
    parts = _parts(place, variation, variation.count)
    call = place.paddle._C_ops.c_allreduce_sum
    return parts[place.rank], lambda x: call(x, _ring(place), True, False), reduced(parts, "sum")


def _broadcast(place: Place, variation: Variation) -> Graph:
    parts = _moved(place, variation)
    root = (variation.count + 1) % place.ranks

    def call(x: Any) -> Any:
        if variation.in_place:
            place.paddle.distributed.broadcast(x, src=place.members[root], group=place.group)
            return x
        return place.paddle._C_ops.broadcast(x, _ring(place), root)

    return parts[place.rank], call, parts[root]


def _reduce(place: Place, variation: Variation) -> Graph:
    parts = _parts(place, variation, variation.count)
    root = variation.count % place.ranks
    op = int(getattr(place.paddle.distributed.ReduceOp, variation.reduction.upper()))
    call = place.paddle._C_ops.reduce
    wanted = reduced(parts, variation.reduction) if place.rank == root else None
    return parts[place.rank], lambda x: call(x, _ring(place), root, op), wanted


def _all_gather(place: Place, variation: Variation) -> Graph:
    parts = _moved(place, variation)
    call = place.paddle._C_ops.all_gather
    return parts[place.rank], lambda x: call(x, _ring(place), place.ranks), np.concatenate(parts)


def _reduce_scatter(place: Place, variation: Variation) -> Graph:
    parts = _parts(place, variation, variation.count * place.ranks)
    call = place.paddle._C_ops.reduce_scatter
    wanted = np.split(reduced(parts, variation.reduction), place.ranks)[place.rank]
    return parts[place.rank], lambda x: call(x, _ring(place), place.ranks), wanted


def _all_to_all(place: Place, variation: Variation) -> Graph:
    def part(source: int, target: int) -> Array:
        return movable_part(place.seed, source * 64 + target, variation.count, variation.dtype)

    ranks = range(place.ranks)
    call = place.paddle._C_ops.all_to_all
    wanted = np.concatenate([part(other, place.rank) for other in ranks])
    return np.concatenate([part(place.rank, other) for other in ranks]), lambda x: call(x, _ring(place)), wanted


def _send_recv(place: Place, variation: Variation) -> Graph:
    """Even ranks send to the next one; with ``in_place`` the shape travels ahead instead of being known."""
    own = movable_part(place.seed, place.rank, variation.count, variation.dtype)
    before = (place.rank - 1) % place.ranks
    sends = place.rank % 2 == 0
    attributes = {"ring_id": _ring(place), "peer": place.rank + 1 if sends else before}
    attributes["dynamic_shape"] = variation.in_place

    def call(x: Any) -> Any:
        helper = place.paddle.base.layer_helper.LayerHelper("point_to_point")
        if sends:
            helper.append_op(type="p_send", inputs={"x": [x]}, outputs={}, attrs=attributes)
            return x
        out = helper.create_variable_for_type_inference(dtype=x.dtype)
        shape = {"out_shape": [variation.count], "dtype": x.dtype}
        helper.append_op(type="p_recv", inputs={}, outputs={"out": [out]}, attrs={**attributes, **shape})
        return out

    return own, call, own if sends else movable_part(place.seed, before, variation.count, variation.dtype)


_GRAPHS: dict[str, Callable[[Place, Variation], Graph]] = {
    "graph_all_reduce": _all_reduce,
    "graph_mp_allreduce_sum": _mp_allreduce_sum,
    "graph_c_allreduce_sum": _c_allreduce_sum,
    "graph_broadcast": _broadcast,
    "graph_reduce": _reduce,
    "graph_all_gather": _all_gather,
    "graph_reduce_scatter": _reduce_scatter,
    "graph_all_to_all": _all_to_all,
    "graph_send_recv": _send_recv,
}
