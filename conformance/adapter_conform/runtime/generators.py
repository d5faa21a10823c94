"""Random numbers: the same seed the same numbers, a state that can be kept, and a generator for each card."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Array, Bench
from adapter_conform.runtime.check import check
from adapter_conform.tensors import from_tensor

__all__: list[str] = []

_UNIFORM = "uniform/float32"


@check(
    "devices/generators",
    "Random numbers follow the seed, go on from a state that was kept, and one card's leave another's alone.",
    covers=("random numbers follow the seed",),
    kernels=(_UNIFORM,),
    repeat=(2, 10, 100),
)
def generators(bench: Bench) -> None:
    paddle = bench.paddle
    for turn in range(bench.repetitions):
        seed = bench.seed + turn
        with bench.computing(_UNIFORM, at_least=5):
            paddle.seed(seed)
            first, second = _draw(bench), _draw(bench)
            state = paddle.get_rng_state()  # of the current device: Paddle before 3.3 cannot set that of a named one
            third = _draw(bench)
            paddle.set_rng_state(state)
            bench.same("drawn again from the state that was kept", third, _draw(bench))
            paddle.seed(seed)
            bench.same(f"drawn again from seed {seed}", first, _draw(bench))
            if bench.library.card_count() > 1:
                _draw_elsewhere(bench)
            bench.same(f"drawn second from seed {seed}, another card having drawn in between", second, _draw(bench))
            paddle.seed(seed + 1)
            other = _draw(bench)
        bench.demand(bool((first != second).any()), f"seed {seed} draws the same numbers twice in a row")
        bench.demand(bool((first != other).any()), f"seeds {seed} and {seed + 1} draw the same numbers")
        bench.demand(bool(((first >= 0) & (first < 1)).all()), "numbers from [0, 1) lie outside of it")


def _draw(bench: Bench) -> Array:
    tensor: Any = bench.paddle.uniform([1000], dtype="float32", min=0.0, max=1.0)
    bench.lies_on(tensor, int(bench.paddle.device.get_device().split(":")[1]))
    found: Array = from_tensor(tensor)
    return np.array(found)


def _draw_elsewhere(bench: Bench) -> None:
    try:
        bench.paddle.set_device(bench.name_of(bench.other_card()))
        _draw(bench)
    finally:
        bench.paddle.set_device(bench.device)
