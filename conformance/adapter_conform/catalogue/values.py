"""Input arrays from their drawn descriptions: a shape, a dtype, a regime of values and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.precision import is_float, numpy_dtype
from adapter_conform.catalogue.spec import Description

__all__ = ["REGIMES", "InputDescription", "describe", "make_cotangent", "make_input", "make_inputs", "tensor"]

InputDescription = dict[str, Any]
"""``{"shape": [...], "regime": "normal", "dtype": null or a name, ...parameters of the regime}``; dtype null stands
for the case's dtype."""


def tensor(
    shape: Sequence[int], regime: str = "normal", dtype: str | None = None, **parameters: Any
) -> InputDescription:
    """The description of one input."""
    return {"shape": [int(side) for side in shape], "regime": regime, "dtype": dtype, **parameters}


def describe(*inputs: InputDescription, seed: int = 1, probe: bool = False, **attributes: Any) -> Description:
    """The description of one example."""
    description: Description = {"inputs": list(inputs), "attributes": attributes, "seed": seed}
    if probe:
        description["probe"] = True
    return description


def _normal(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Standard normal numbers, a tenth of them ten times larger: |x| stays below 60, where exp is a float32."""
    values = generator.standard_normal(shape)
    return np.asarray(np.where(generator.random(shape) < 0.1, values * 10.0, values))


def _unit(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    return np.asarray(generator.uniform(-1.0, 1.0, shape))


def _positive(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Logarithmically uniform in [1e-3, 1e3]."""
    return np.asarray(np.exp(generator.uniform(np.log(1e-3), np.log(1e3), shape)))


def _nonzero(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Magnitudes in [0.1, 4], both signs: safe divisors."""
    return np.asarray(generator.uniform(0.1, 4.0, shape) * generator.choice([-1.0, 1.0], shape))


def _near_one(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    return np.asarray(generator.uniform(0.5, 1.5, shape) * generator.choice([-1.0, 1.0], shape))


def _wide(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Magnitudes from 1e-6 to 1e4, both signs, some zeros."""
    values = np.exp(generator.uniform(np.log(1e-6), np.log(1e4), shape)) * generator.choice([-1.0, 1.0], shape)
    return np.where(generator.random(shape) < 0.05, 0.0, values)


def _special(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Normal numbers with NaN, infinities, zeros of both signs and halves among them; from three elements on, NaN and
    both infinities are there for certain, from four on also -0."""
    values = generator.standard_normal(shape)
    specials = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 0.5, -0.5, 1.5, 2.5])
    values = np.where(generator.random(shape) < 0.4, generator.choice(specials, shape), values)
    if values.size >= 3:
        places = generator.permutation(values.size)[:4]
        values.flat[places] = specials[: places.size]
    return values


def _masked(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Attention scores: normal, a third masked with -inf, and one score in each row always left."""
    values = generator.standard_normal(shape)
    values = np.where(generator.random(shape) < 0.33, -np.inf, values)
    if values.ndim and values.shape[-1]:
        values[..., 0] = np.where(np.isinf(values[..., 0]), 0.25, values[..., 0])
    return values


def _integers(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Whole numbers in [low, high): exact in every dtype while small."""
    return np.asarray(generator.integers(description.get("low", -4), description.get("high", 5), shape))


def _nonzero_integers(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    return np.asarray(generator.integers(1, description.get("high", 10), shape) * generator.choice([-1, 1], shape))


def _boolean(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    return np.asarray(generator.random(shape) < description.get("p", 0.5))


def _distinct(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """A permutation of equidistant numbers around 0: no ties anywhere."""
    size = int(np.prod(shape))
    return (generator.permutation(size).reshape(shape) - size // 2) * 0.25


def _unique(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Different whole numbers in [0, high), for scatter-like indices."""
    return generator.permutation(description["high"])[: int(np.prod(shape))].reshape(shape)


def _labels(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Class labels in [0, classes), about a fifth of them ``ignore`` where that is given."""
    labels = generator.integers(0, description["classes"], shape)
    if description.get("ignore") is not None:
        labels = np.where(generator.random(shape) < 0.2, description["ignore"], labels)
    return labels


def _grid(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Weights [k, n] that quantize without error: in every column whole multiples, up to ``largest`` and not beyond,
    of a power of two; the largest itself occurs in every ``group`` of rows (-1: in the whole column)."""
    (rows, columns), largest = shape, description.get("largest", 127)
    integers = generator.integers(-largest, largest + 1, shape)
    group = description.get("group", -1)
    group = max(rows, 1) if group == -1 else group
    for start in range(0, rows, group):
        place = generator.integers(start, min(start + group, rows), columns)
        integers[place, np.arange(columns)] = largest * generator.choice([-1, 1], columns)
    return integers * 2.0 ** -generator.integers(4, 8, columns)


def _constant(_: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    return np.full(shape, description["value"])


def _listed(_: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    return np.asarray(description["values"]).reshape(shape)


REGIMES: dict[str, Callable[[np.random.Generator, tuple[int, ...], InputDescription], Array]] = {
    "normal": _normal,
    "unit": _unit,
    "positive": _positive,
    "nonzero": _nonzero,
    "near_one": _near_one,
    "wide": _wide,
    "special": _special,
    "masked": _masked,
    "integers": _integers,
    "nonzero_integers": _nonzero_integers,
    "boolean": _boolean,
    "distinct": _distinct,
    "unique": _unique,
    "labels": _labels,
    "grid": _grid,
    "constant": _constant,
    "listed": _listed,
}

_EXACT_REGIMES = frozenset({"listed", "constant", "labels", "unique", "boolean"})


def make_input(description: InputDescription, dtype: str, seed: int | Sequence[int]) -> Array:
    """The array of one input, in its own dtype (bfloat16 as ml_dtypes).

    Regimes of real numbers turn into whole numbers for integer dtypes: rounded, after scaling by 4.
    """
    own = description["dtype"] or dtype
    generator = np.random.default_rng(seed)
    values = np.asarray(REGIMES[description["regime"]](generator, tuple(description["shape"]), description))
    if own == "bool":
        return np.asarray(values if values.dtype.kind == "b" else values > 0)
    if not is_float(own) and values.dtype.kind == "f" and description["regime"] not in _EXACT_REGIMES:
        values = np.rint(np.nan_to_num(values * 4.0, nan=1.0, posinf=7.0, neginf=-7.0))
    with np.errstate(over="ignore"):
        return np.asarray(values.astype(numpy_dtype(own)))


def make_inputs(description: Description, dtype: str) -> list[Array]:
    """The arrays of an example, each from a stream of its own of the example's seed."""
    seed = int(description["seed"])
    return [make_input(item, dtype, [seed, index]) for index, item in enumerate(description["inputs"])]


def make_cotangent(shape: Sequence[int], dtype: str, seed: Sequence[int], whole: bool) -> Array:
    """The gradient that flows into an output of ``shape``: normal, or small whole numbers for exact probes."""
    return make_input(tensor(shape, "integers" if whole else "normal"), dtype, seed)
