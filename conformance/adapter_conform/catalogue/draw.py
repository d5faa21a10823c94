"""Draws examples: hand-picked corner cases first, then hypothesis, always the same for the same seed. No Paddle."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from adapter_conform.catalogue._plain_provider import BACKEND, reseed
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Description, OperatorSpec
from adapter_conform.catalogue.values import InputDescription, describe, tensor
from adapter_conform.tensors import LAYOUTS

__all__ = [
    "SHAPES",
    "STRESS",
    "and_special",
    "binary",
    "binary_corners",
    "draw",
    "seeds",
    "shapes",
    "stress",
    "unary",
    "unary_corners",
]

SHAPES: tuple[tuple[int, ...], ...] = ((3, 5), (), (7, 13), (0, 4), (1,), (2, 1, 3, 1), (1031,), (2, 64, 128))
"""Corner shapes: plain, 0-D, odd and prime sides, zero-size, size one, unit sides, long and prime, LLaMA-like."""

TALL = (65_539, 2)
"""More rows than 16 bits can number."""


def draw(spec: OperatorSpec, dtype: str, count: int, seed: int) -> list[Description]:
    """``count`` examples of ``spec`` for ``dtype``: its corner cases, then drawn ones, without repetition.

    The seed picks both what is drawn and the values of the inputs. A small strategy may give fewer than ``count``.
    Where none of them holds NaN and infinities although a further corner case does, that one comes on top.
    """
    own = zlib.crc32(f"{spec.name}/{dtype}".encode()) ^ (seed * 2654435761 % 2**32)
    candidates: list[Description] = []
    known: set[str] = set()
    for description in [*spec.corners(dtype), *_generated(spec.name, dtype, count, own)]:
        text = json.dumps(description, sort_keys=True)
        if text in known or not _fits(description, dtype):
            continue
        known.add(text)
        candidates.append(description)
    chosen = candidates[:count]
    if is_float(dtype) and not any(map(_is_special, chosen)):
        chosen += [description for description in candidates[count:] if _is_special(description)][:1]
    layouts = _layouts(spec)
    return [
        {
            **description,
            **({"layout": layouts[(i + own) % len(layouts)]} if i else {}),  # the first one also goes into a graph
            "seed": (own + 7919 * i) % 2**31,
        }
        for i, description in enumerate(chosen)
    ]


def _layouts(spec: OperatorSpec) -> tuple[str, ...]:
    """A view of a strided tensor is a copy, and a strided target of a write is an entry of its own."""
    if spec.layouts is not None:
        return spec.layouts
    return ("fenced", "misaligned") if spec.view or spec.mutates else LAYOUTS[1:]


STRESS: dict[str, tuple[str, ...]] = {
    "normal": ("uniform", "wide_range", "denormal", "zeros", "cancel", "ties", "special"),
    "unit": ("denormal", "zeros", "ties"),
    "positive": ("positive_wide",),
    "nonzero": ("positive_wide",),
}
"""What may take the place of the values of an input, by the regime that its entry draws: the entry's domain."""

STRESS_SIZE = 20_000
"""Elements of an example at most."""


def stress(
    spec: OperatorSpec,
    dtype: str,
    examples: Sequence[Description],
    seed: int,
    repeats: int,
    most: int | None = None,
) -> list[Description]:
    """``examples`` of ``spec`` with plain inputs drawn from each regime of :data:`STRESS`, ``repeats`` of each.

    ``most`` keeps that many regimes, picked by the seed. Whole numbers and bools have no such regimes.
    """
    if not is_float(dtype) or not spec.stress:
        return []
    plain = [item for item in examples if _is_plain(item)]
    bases = sorted(plain, key=lambda item: -len(_regimes(item)))[:repeats]
    own = zlib.crc32(f"stress/{spec.name}/{dtype}".encode()) ^ (seed * 2654435761 % 2**32)
    found: list[Description] = []
    for base in bases:
        regimes = [name for name in _regimes(base) if name not in spec.left_out]
        if most is not None and regimes:
            regimes = [regimes[(own + 2 * i) % len(regimes)] for i in range(min(most, len(regimes)))]
        for regime in dict.fromkeys(regimes):
            inputs = [_stressed(item, regime) for item in base["inputs"]]
            found.append({**base, "inputs": inputs, "regime": regime, "seed": (own + 6007 * len(found)) % 2**31})
    return found


def _is_plain(description: Description) -> bool:
    sizes = [math.prod(item["shape"]) for item in description["inputs"]]
    stressed = [size for item, size in zip(description["inputs"], sizes, strict=True) if item["regime"] in STRESS]
    return bool(stressed) and max(stressed) >= 6 and max(sizes) <= STRESS_SIZE and not description.get("probe")


def _regimes(description: Description) -> list[str]:
    found = [name for item in description["inputs"] if item["dtype"] is None for name in STRESS.get(item["regime"], ())]
    return list(dict.fromkeys(found))


def _stressed(item: InputDescription, regime: str) -> InputDescription:
    fits = item["dtype"] is None and regime in STRESS.get(item["regime"], ())
    return {**item, "regime": regime} if fits else item


def _is_special(description: Description) -> bool:
    """Whether an input holds NaN and both infinities: tensors of the special regime do from three elements on."""
    return any(item["regime"] == "special" and math.prod(item["shape"]) >= 3 for item in description["inputs"])


def _fits(description: Description, dtype: str) -> bool:
    """The half types hold too few different numbers for large inputs without ties."""
    if dtype not in ("float16", "bfloat16"):
        return True
    return all(item["regime"] != "distinct" or math.prod(item["shape"]) <= 256 for item in description["inputs"])


@lru_cache(maxsize=4096)
def _generated(name: str, dtype: str, count: int, seed: int) -> tuple[Description, ...]:
    from adapter_conform.catalogue.registry import get

    found: list[Description] = []

    reseed(seed)

    @settings(
        backend=BACKEND,
        database=None,
        max_examples=count + 2,
        phases=(Phase.generate,),
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(get(name).examples(dtype))
    def collect(description: Description) -> None:
        found.append(description)

    collect()
    return tuple(found)


def seeds() -> st.SearchStrategy[int]:
    """Stand-in seeds; :func:`draw` overwrites them with ones of its own."""
    return st.just(1)


def shapes(max_rank: int = 4, max_side: int = 9, min_rank: int = 0, min_side: int = 1) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(min_side, max_side), min_size=min_rank, max_size=max_rank)


def unary(
    regimes: Sequence[str] = ("normal",), attributes: st.SearchStrategy[dict[str, Any]] | None = None, **limits: int
) -> Callable[[str], st.SearchStrategy[Description]]:
    """One input of any shape, one of ``regimes``, with drawn ``attributes``."""

    def strategy(dtype: str) -> st.SearchStrategy[Description]:
        return st.builds(
            lambda shape, regime, extra: describe(tensor(shape, regime), **extra),
            shapes(**limits),
            st.sampled_from(list(regimes)),
            attributes if attributes is not None else st.just({}),
        )

    return strategy


def unary_corners(
    regimes: Sequence[str] = ("normal",), attributes: Sequence[dict[str, Any]] = ({},)
) -> Callable[[str], list[Description]]:
    """Each corner shape once, then the tall one; regimes and attributes take turns."""

    def corners(dtype: str) -> list[Description]:
        return [
            describe(tensor(shape, regimes[i % len(regimes)]), **attributes[i % len(attributes)])
            for i, shape in enumerate([*SHAPES, TALL])
        ]

    return corners


@st.composite
def _broadcast_pair(draw_: st.DrawFn, left: str, right: str, attributes: dict[str, Any]) -> Description:
    """Two shapes that broadcast against each other."""
    full = draw_(st.lists(st.integers(1, 9), min_size=0, max_size=4))
    pair: list[InputDescription] = []
    for regime in (left, right):
        keep = draw_(st.integers(0, len(full)))
        shape = [side if draw_(st.integers(0, 3)) else 1 for side in full[len(full) - keep :]]
        pair.append(tensor(shape, regime))
    return describe(*pair, **attributes)


def binary(
    left: str = "normal", right: str = "normal", **attributes: Any
) -> Callable[[str], st.SearchStrategy[Description]]:
    """Two inputs of shapes that broadcast, values from the two regimes."""
    return lambda dtype: _broadcast_pair(left, right, attributes)


BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((4, 6), (4, 6)),
    ((2, 3, 5), (5,)),
    ((), (3, 1)),
    ((0, 4), (1, 4)),
    ((7, 1, 3), (1, 5, 1)),
    ((1,), (1,)),
    ((2, 1, 17, 17), (2, 4, 1, 17)),
    ((2, 64, 128), (2, 64, 1)),
)


def binary_corners(
    left: str = "normal", right: str = "normal", **attributes: Any
) -> Callable[[str], list[Description]]:
    """Equal shapes, broadcasts of all sorts, 0-D, zero-size, LLaMA-like."""
    return lambda dtype: [
        describe(tensor(first, left), tensor(second, right), **attributes) for first, second in BROADCASTS
    ]


def and_special(
    corners: Callable[[str], list[Description]], *shapes_: Sequence[int], **attributes: Any
) -> Callable[[str], list[Description]]:
    """``corners`` and one more for floating dtypes: inputs of these shapes with NaN, infinities and zeros in them."""
    special = describe(*[tensor(shape, "special") for shape in shapes_], **attributes)
    return lambda dtype: [*corners(dtype), *([special] if is_float(dtype) else [])]
