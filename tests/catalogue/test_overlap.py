"""Calls that overlap and calls that leak, on a device made of NumPy arrays (test only; no Paddle)."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from adapter_conform.catalogue.values import describe, tensor
from adapter_conform.concurrency import STREAMS, THREADS, over_streams, over_threads
from adapter_conform.leaks import LIMITS, leak_figures, smallest_growth
from hypothesis import given
from hypothesis import strategies as st
from test_judge import Chip, Tensor, good, spec

EXAMPLE = {**describe(tensor([3, 5])), "seed": 7}


@contextmanager
def stream_guard(stream: Any) -> Iterator[None]:
    yield


def chip() -> Chip:
    made = Chip()
    made.paddle.device = SimpleNamespace(
        Stream=lambda device: object(), stream_guard=stream_guard, synchronize=lambda device: None
    )
    return made


def racy() -> Callable[[Tensor], Tensor]:
    """Doubles in a buffer that all calls share."""
    shared: list[Any] = [None]

    def call(x: Tensor) -> Tensor:
        shared[0] = x.array * np.float32(2)
        time.sleep(0.001)
        return Tensor(shared[0].copy())

    return call


def test_threads_that_share_nothing_pass() -> None:
    figure = over_threads(chip(), spec(good), EXAMPLE, "float32", 8)  # type: ignore[arg-type]
    assert (figure.gate, figure.passed, figure.value) == ("threads", True, 0)
    assert figure.note == f"{8 * THREADS} calls from {THREADS} threads at once"


def test_a_buffer_that_threads_share_shows() -> None:
    figure = over_threads(chip(), spec(racy()), EXAMPLE, "float32", 8)  # type: ignore[arg-type]
    assert not figure.passed
    assert figure.value >= 1
    assert "gave other bits than alone" in figure.note


def test_what_a_thread_raises_is_raised() -> None:
    calls: list[Tensor] = []

    def breaks(x: Tensor) -> Tensor:
        calls.append(x)
        if len(calls) > THREADS:
            raise MemoryError("no memory on the card")
        return good(x)

    with pytest.raises(MemoryError, match="no memory on the card"):
        over_threads(chip(), spec(breaks), EXAMPLE, "float32", 2)  # type: ignore[arg-type]


def test_streams_have_inputs_of_their_own_and_results_are_read_at_the_end() -> None:
    """One output buffer for all calls: right at once, wrong when the next call has been submitted."""
    held: dict[str, Tensor] = {}

    def reused(x: Tensor) -> Tensor:
        result = held.setdefault("result", Tensor(np.empty_like(x.array)))
        result.array[...] = x.array * np.float32(2)
        return result

    figure = over_streams(chip(), spec(good, gradient=None), EXAMPLE, "float32", 6, True)  # type: ignore[arg-type]
    assert (figure.gate, figure.value, figure.note) == ("streams", 0, f"6 calls over {STREAMS} streams")
    figure = over_streams(chip(), spec(reused, gradient=None), EXAMPLE, "float32", 6, True)  # type: ignore[arg-type]
    assert (figure.passed, figure.value) == (False, 3)


class Growing:
    """A session that measures; ``call`` makes one measure grow in one call of ``every``."""

    def __init__(self, measure: str = "", every: int = 1) -> None:
        self.device, self.measure, self.every, self.calls = "chip:0", measure, every, 0
        self.held = {"tensors": 0, "device": 0}
        self.kept: list[Any] = []
        core = SimpleNamespace(device_memory_stat_current_value=lambda kind, card: self.held["tensors"])
        device = SimpleNamespace(synchronize=lambda device: None)
        self.paddle = SimpleNamespace(device=device, base=SimpleNamespace(core=core))
        self.library = SimpleNamespace(allocated_bytes=lambda card: self.held["device"])

    def call(self) -> None:
        self.calls += 1
        if self.calls % self.every:
            return
        if self.measure == "malloc":
            self.kept.append(bytearray(b"\1" * 32768))
        elif self.measure == "resident":
            self.kept.append(mmap.mmap(-1, 131072, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            self.kept[-1].write(b"\1" * 131072)
        elif self.measure == "handles":
            self.kept.append(os.open(os.devnull, os.O_RDONLY))
        elif self.measure:
            self.held[self.measure] += 256

    def figures(self) -> dict[str, bool]:
        found = leak_figures(self, lambda: self.call, 64)  # type: ignore[arg-type]
        for item in self.kept:
            if isinstance(item, int):
                os.close(item)
        return {figure.output: figure.passed for figure in found}


def test_what_comes_to_rest_is_no_leak() -> None:
    session = Growing()
    assert session.figures() == dict.fromkeys(LIMITS, True)
    assert session.calls <= 4 * 64, "measuring ends when nothing grows"


@pytest.mark.parametrize(
    ("measure", "every"), [("tensors", 50), ("device", 50), ("malloc", 10), ("resident", 10), ("handles", 50)]
)
def test_a_slow_leak_shows(measure: str, every: int) -> None:
    figures = Growing(measure, every).figures()
    assert not figures[measure]
    others = {"resident"} if measure == "malloc" else set()  # what malloc hands out becomes resident, sooner or later
    assert all(passed for name, passed in figures.items() if name not in {measure, *others})


@given(st.lists(st.integers(0, 10**9), min_size=3))
def test_a_single_round_without_growth_clears(series: list[int]) -> None:
    flat = [*series, series[-1]]
    assert smallest_growth(flat) == 0
    assert smallest_growth(sorted(set(series)) + [max(series) + 5] * 2) == 0
    assert smallest_growth([series[0], 100, 164, 300]) == 64
