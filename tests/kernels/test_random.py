"""Random kernels: the generator against its published vectors, distributions, seeds; dropout and its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from kernel_checks import Array, assert_exact, draw

Call = Callable[..., list[Any]]

FLOATS = ("float32", "float64")
SHAPES = array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=25, deadline=None)
FALSE_ALARM = 1e-9
MANY = 1 << 16


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second % 2**32, first >> 32 ^ c[3] ^ k[1], first % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def test_the_definition_gives_the_published_numbers() -> None:
    # the known answers that the authors ship with Random123, kat_vectors, philox4x32 10
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([2**32 - 1] * 4, [2**32 - 1] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    counter, key = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]
    assert philox(counter, key) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def units(seed: int, drawn: int, count: int) -> list[float]:
    """Uniform numbers of one draw, as the kernels define them."""
    numbers = []
    for block in range((count + 1) // 2):
        words = philox([block, 0, drawn, 0], [seed % 2**32, seed >> 32])
        numbers += [(words[i] | words[i + 1] << 32) // 2**11 * 2.0**-53 for i in (0, 2)]
    return numbers[:count]


def uniform(
    call: Call, dtype: str, shape: list[int], low: float = 0, high: float = 1, seed: int = 0, run: int = 7
) -> Array:
    (got,) = call("uniform", dtype, [], [shape, dtype, low, high, seed], [(shape, dtype)], seed=run)
    return np.asarray(got)


@pytest.mark.parametrize("seed", [1, 12345, 2**40 + 3])
def test_uniform_is_the_generator(call: Call, seed: int) -> None:
    assert_exact(uniform(call, "float64", [9], run=seed), np.array(units(seed, 1, 9)))


def test_a_seed_of_its_own_does_not_follow_the_generator(call: Call) -> None:
    first, second = (uniform(call, "float64", [9], seed=5, run=run) for run in (1, 2))
    assert_exact(first, second)
    assert_exact(first, np.array(units(5, 0, 9)))
    assert not np.array_equal(first, uniform(call, "float64", [9], seed=6))


def hoeffding(count: int, tests: int) -> float:
    """How far a fraction of ``count`` independent trials may be off, with FALSE_ALARM for ``tests`` fractions."""
    return math.sqrt(math.log(2 * tests / FALSE_ALARM) / (2 * count))


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_distribution(call: Call, dtype: str) -> None:
    got = uniform(call, dtype, [MANY], -2.0, 3.0)
    assert got.min() >= -2
    assert got.max() < 3
    levels = np.linspace(-2, 3, 65)[1:-1]
    fractions = [(got < level).mean() for level in levels]
    np.testing.assert_allclose(fractions, (levels + 2) / 5, rtol=0, atol=hoeffding(MANY, levels.size))
    both = ((got[::2] < 0.5) & (got[1::2] < 0.5)).mean()
    assert abs(both - 0.25) < hoeffding(MANY // 2, 1)


def test_uniform_keeps_below_its_upper_limit(call: Call) -> None:
    high = float(np.nextafter(np.float32(1), np.float32(2)))
    got = uniform(call, "float32", [4096], 1.0, high)
    assert_exact(got, np.ones(4096, np.float32))
    with pytest.raises(ValueError, match="lower limit"):
        uniform(call, "float32", [4], 1.0, 0.0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_gaussian_distribution(call: Call, dtype: str) -> None:
    (got,) = call("gaussian", dtype, [], [[MANY + 1], 3.0, 0.5, 0, dtype], [((MANY + 1,), dtype)])
    assert got.shape == (MANY + 1,)
    normal = (got.astype(float) - 3) / 0.5
    levels = np.linspace(-4, 4, 65)
    fractions = [(normal < level).mean() for level in levels]
    wanted = [0.5 * math.erfc(-level / math.sqrt(2)) for level in levels]
    np.testing.assert_allclose(fractions, wanted, rtol=0, atol=hoeffding(MANY + 1, levels.size))
    both = ((normal[:-1:2] < 0) & (normal[1::2] < 0)).mean()
    assert abs(both - 0.25) < hoeffding(MANY // 2, 1)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(("low", "high"), [(-3, 10), (0, 1), (-(2**31), 2**31 - 1)])
def test_randint_distribution(call: Call, dtype: str, low: int, high: int) -> None:
    (got,) = call("randint", dtype, [], [low, high, [2, MANY // 2], dtype], [((2, MANY // 2), dtype)])
    assert got.min() >= low
    assert got.max() < high
    levels = np.linspace(low, high, 14)[1:-1]
    fractions = [(got < level).mean() for level in levels]
    wanted = [math.ceil(level - low) / (high - low) for level in levels]
    np.testing.assert_allclose(fractions, wanted, rtol=0, atol=hoeffding(MANY, levels.size))


def test_randint_of_an_empty_range_is_an_error(call: Call) -> None:
    with pytest.raises(ValueError, match="holds no number"):
        call("randint", "int64", [], [3, 3, [2], "int64"], [((2,), "int64")])


def dropout(call: Call, x: Array, p: float, mode: str, test: bool = False, seed: int = 0, run: int = 3) -> list[Array]:
    specification = [(x.shape, x.dtype.name), (x.shape, "uint8")]
    attributes = [p, test, mode, seed, seed != 0]
    return call("dropout", x.dtype.name, [x, None], attributes, specification, seed=run)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mode", ["upscale_in_train", "downgrade_in_infer"])
@FEW
@given(shape=SHAPES, seed=SEEDS, p=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_dropout(call: Call, mode: str, dtype: str, shape: tuple[int, ...], seed: int, p: float) -> None:
    x, g = draw(shape, dtype, seed, 1, 2), draw(shape, dtype, seed + 1, -2, 2)
    out, mask = dropout(call, x, p, mode, run=seed)
    scale = np.dtype(dtype).type((1 / (1 - p) if p < 1 else 0) if mode == "upscale_in_train" else 1)
    words = [word for i in range((x.size + 3) // 4) for word in philox([i, 0, 1, 0], [seed, 0])]
    kept = (np.array(words[: x.size], np.float64) >= p * 2**32).reshape(shape)
    assert_exact(mask, kept.astype(np.uint8))
    assert_exact(out, np.where(kept, x * scale, np.zeros((), dtype)).astype(dtype))
    (dx,) = call("dropout_grad", dtype, [mask, g], [p, False, mode], [(shape, dtype)])
    assert_exact(dx, np.where(kept, g * scale, np.zeros((), dtype)).astype(dtype))


@pytest.mark.parametrize(("mode", "factor"), [("upscale_in_train", 1.0), ("downgrade_in_infer", 0.75)])
def test_dropout_in_evaluation(call: Call, mode: str, factor: float) -> None:
    x = draw((3, 5), "float32", 1, -2, 2)
    out, mask = dropout(call, x, 0.25, mode, test=True)
    assert_exact(out, x * np.float32(factor))
    assert_exact(mask, np.ones((3, 5), np.uint8))
    (dx,) = call("dropout_grad", "float32", [mask, x], [0.25, True, mode], [((3, 5), "float32")])
    assert_exact(dx, x * np.float32(factor))


def test_dropout_drops_what_is_not_finite_and_follows_its_seed(call: Call) -> None:
    x = np.full(4096, np.nan)
    out, mask = dropout(call, x, 0.5, "upscale_in_train", seed=9, run=1)
    np.testing.assert_array_equal(np.isnan(out), mask != 0)
    assert abs(mask.mean() - 0.5) < hoeffding(4096, 1)
    assert_exact(dropout(call, x, 0.5, "upscale_in_train", seed=9, run=2)[1], mask)
    specification = [(x.shape, "float64"), (x.shape, "uint8")]
    given_seed = [x, np.array([9], np.int32)]
    again = call("dropout", "float64", given_seed, [0.5, False, "upscale_in_train", 0, False], specification)
    assert_exact(again[1], mask)
    assert (dropout(call, x, 0.5, "upscale_in_train", run=1)[1] != mask).any()


@pytest.mark.parametrize(("p", "mode"), [(1.5, "upscale_in_train"), (0.5, "scale")])
def test_dropout_refuses(call: Call, p: float, mode: str) -> None:
    with pytest.raises(ValueError, match="dropout"):
        dropout(call, np.ones(3), p, mode)
