"""How the operator benchmark draws operands and times a call; shared by its Paddle and its PyTorch side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from operator_cases import Operand

__all__ = ["seconds_per_call", "values"]

_ROUNDS = 5
_LONGEST_TURN = 100


def values(operand: Operand, number: int) -> Any:
    """The same values wherever they are asked for: float32, int64 or bool."""
    rng = np.random.default_rng(number)
    if operand.kind == "ids":
        return rng.integers(0, operand.high, operand.shape)
    if operand.kind == "bool":
        return rng.integers(0, 2, operand.shape).astype(bool)
    return np.abs(rng.standard_normal(operand.shape, dtype=np.float32)) + np.float32(0.01)


def seconds_per_call(call: Callable[[], Any], synchronize: Callable[[], None], seconds: float) -> float:
    """Median over turns of several calls, about ``seconds`` together; the first calls, which make the allocator ask
    the system for memory, are not counted."""
    for _ in range(3):
        call()
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    once = time.perf_counter() - start
    calls = max(1, min(_LONGEST_TURN, int(seconds / _ROUNDS / max(once, 1e-7))))
    turns = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        synchronize()
        turns.append((time.perf_counter() - start) / calls)
    return statistics.median(turns)
