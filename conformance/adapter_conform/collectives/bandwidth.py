"""How fast collectives are, in the terms of nccl-tests.

With S the bytes of the larger side and t the time of one call, algbw = S / t; busbw = algbw * factor is comparable with
the bandwidth of the links, whatever the number of ranks n (nccl-tests, doc/PERFORMANCE.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["FACTORS", "bus_bandwidth", "measure"]

FACTORS: dict[str, Callable[[int], float]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "alltoall": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0,
    "reduce": lambda n: 1.0,
}
"""Operation -> busbw / algbw for n ranks."""


def bus_bandwidth(operation: str, ranks: int, size: int, seconds: float) -> tuple[float, float]:
    """(algbw, busbw) in 10^9 bytes a second, of a call of ``size`` bytes that takes ``seconds``."""
    algorithm = size / seconds / 1e9
    return algorithm, algorithm * FACTORS[operation](ranks)


def measure(paddle: Any, job: Mapping[str, Any], ranks: int) -> list[float]:
    """Seconds of one call, for each of ``job["rounds"]`` rounds of ``job["calls"]`` calls, between two barriers.

    The job names ``operation``, ``size`` (bytes of the larger side) and ``dtype``.
    """
    call = _calls(paddle, str(job["operation"]), int(job["size"]), str(job["dtype"]), ranks)
    synchronize = getattr(paddle.device, "synchronize", None)
    call()
    seconds = []
    for _ in range(int(job["rounds"])):
        paddle.distributed.barrier()
        _settle(paddle, synchronize)
        begin = time.perf_counter()
        for _ in range(int(job["calls"])):
            call()
        _settle(paddle, synchronize)
        seconds.append((time.perf_counter() - begin) / int(job["calls"]))
    return seconds


def _settle(paddle: Any, synchronize: Any) -> None:
    if not paddle.get_device().startswith("cpu"):
        synchronize()


def _calls(paddle: Any, operation: str, size: int, dtype: str, ranks: int) -> Any:
    count = max(ranks, size // np.dtype(dtype).itemsize // ranks * ranks)
    whole = paddle.to_tensor(np.ones(count, dtype))
    part = paddle.to_tensor(np.ones(count // ranks, dtype))
    dist = paddle.distributed
    parts = [paddle.to_tensor(np.ones(count // ranks, dtype)) for _ in range(ranks)]
    more = [paddle.to_tensor(np.ones(count // ranks, dtype)) for _ in range(ranks)]
    calls = {  # a maximum, so that repeated calls in place keep their numbers
        "all_reduce": lambda: dist.all_reduce(whole, op=dist.ReduceOp.MAX),
        "broadcast": lambda: dist.broadcast(whole, src=0),
        "reduce": lambda: dist.reduce(whole, dst=0, op=dist.ReduceOp.MAX),
        "all_gather": lambda: dist.stream.all_gather(whole, part),
        "reduce_scatter": lambda: dist.stream.reduce_scatter(part, whole, op=dist.ReduceOp.MAX),
        "alltoall": lambda: dist.alltoall(more, parts),
    }
    return calls[operation]
