"""Input arrays from their drawn descriptions: a shape, a dtype, a regime of values and a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.precision import is_float, numpy_dtype, smallest_normal
from adapter_conform.catalogue.spec import Description

__all__ = [
    "CONTINUOUS",
    "REGIMES",
    "InputDescription",
    "describe",
    "make_cotangent",
    "make_input",
    "make_inputs",
    "tensor",
]

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


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    return np.asarray(generator.uniform(-4.0, 4.0, shape))


_RANGE = {"float16": 6, "bfloat16": 40, "float32": 40, "float64": 300}
"""Binary exponents within which products of two numbers stay finite and normal."""


def _signs(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(generator.choice([-1.0, 1.0], shape))


def _span(description: InputDescription) -> int:
    return _RANGE.get(str(description["dtype"]), 4)


def _wide_range(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Magnitudes spread evenly over the exponents whose products a dtype can hold, both signs."""
    span = _span(description)
    return np.asarray(np.exp2(generator.uniform(-span, span, shape)) * _signs(generator, shape))


def _positive_wide(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    return np.abs(_wide_range(generator, shape, description))


def _denormal(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Half subnormal numbers of the dtype, half normal ones, so that results are not all within the flush to zero."""
    dtype = str(description["dtype"])
    tiny = smallest_normal(dtype) if is_float(dtype) else 0.25
    small = generator.uniform(2.0**-7, 0.99, shape) * tiny * _signs(generator, shape)
    return np.asarray(np.where(generator.random(shape) < 0.5, small, generator.standard_normal(shape)))


def _zeros(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Half zeros of both signs, half normal numbers."""
    zeros = 0.0 * _signs(generator, shape)
    return np.asarray(np.where(generator.random(shape) < 0.5, zeros, generator.standard_normal(shape)))


def _cancel(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Large magnitudes of both signs that nearly cancel in sums: +-2^k plus normal numbers."""
    large = {"float16": 4, "bfloat16": 3, "float32": 10, "float64": 24}.get(str(description["dtype"]), 2)
    return np.asarray(_signs(generator, shape) * 2.0**large + generator.standard_normal(shape))


def _ties(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Five different numbers: most elements have equals."""
    return np.asarray(generator.integers(-2, 3, shape) * 0.5)


def _masked(generator: np.random.Generator, shape: tuple[int, ...], _: InputDescription) -> Array:
    """Attention scores: normal, a third masked with -inf, and one score in each row always left."""
    values = generator.standard_normal(shape)
    values = np.where(generator.random(shape) < 0.33, -np.inf, values)
    if values.ndim and values.shape[-1]:
        values[..., 0] = np.where(np.isinf(values[..., 0]), 0.25, values[..., 0])
    return values


def _integers(generator: np.random.Generator, shape: tuple[int, ...], description: InputDescription) -> Array:
    """Whole numbers in [low, high), plus ``offset``: exact in every dtype while small."""
    numbers = generator.integers(description.get("low", -4), description.get("high", 5), shape)
    return np.asarray(numbers + description["offset"] if "offset" in description else numbers)


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
    "uniform": _uniform,
    "wide_range": _wide_range,
    "positive_wide": _positive_wide,
    "denormal": _denormal,
    "zeros": _zeros,
    "cancel": _cancel,
    "ties": _ties,
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

CONTINUOUS = frozenset({"normal", "unit", "positive", "nonzero", "near_one", "wide", "uniform"})
"""Regimes whose elements may be replaced by one another."""

_EXACT_REGIMES = frozenset({"listed", "constant", "labels", "unique", "boolean"})


def make_input(description: InputDescription, dtype: str, seed: int | Sequence[int]) -> Array:
    """The array of one input, in its own dtype (bfloat16 as ml_dtypes).

    Regimes of real numbers turn into whole numbers for integer dtypes: rounded, after scaling by 4.
    """
    own = description["dtype"] or dtype
    generator = np.random.default_rng(seed)
    make = REGIMES[description["regime"]]
    values = np.asarray(make(generator, tuple(description["shape"]), {**description, "dtype": own}))
    if own == "bool":
        return np.asarray(values if values.dtype.kind == "b" else values > 0)
    if not is_float(own) and values.dtype.kind == "f" and description["regime"] not in _EXACT_REGIMES:
        values = np.rint(np.nan_to_num(values * 4.0, nan=1.0, posinf=7.0, neginf=-7.0))
    if not is_float(own) and own not in ("int32", "int64"):
        limits = np.iinfo(own)
        values = np.clip(np.abs(values) if limits.min == 0 else values, limits.min, limits.max)
    with np.errstate(over="ignore"):
        return np.asarray(values.astype(numpy_dtype(own)))


def make_inputs(description: Description, dtype: str) -> list[Array]:
    """The arrays of an example, each from a stream of its own of the example's seed.

    With the layout "overlapping", real-valued inputs repeat their first slice along the first axis.
    """
    seed = int(description["seed"])
    arrays = [make_input(item, dtype, [seed, index]) for index, item in enumerate(description["inputs"])]
    if description.get("layout") == "overlapping":
        arrays = [
            np.repeat(array[:1], array.shape[0], axis=0) if item["regime"] in CONTINUOUS and _has_rows(array) else array
            for item, array in zip(description["inputs"], arrays, strict=True)
        ]
    return arrays


def _has_rows(array: Array) -> bool:
    """Whether a slice along the first axis holds more than one number; else all elements would be the same."""
    return array.ndim >= 2 and array[:1].size > 1


def make_cotangent(shape: Sequence[int], dtype: str, seed: Sequence[int], whole: bool) -> Array:
    """The gradient that flows into an output of ``shape``: normal, or small whole numbers for exact probes."""
    return make_input(tensor(shape, "integers" if whole else "normal"), dtype, seed)
