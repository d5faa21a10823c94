"""The operator suite: every entry of the catalogue, on drawn inputs, forward and backward, eager and static."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from adapter_conform import catalogue
from adapter_conform.bias import measures_bias
from adapter_conform.cases import Case, Outcome
from adapter_conform.catalogue.draw import draw, stress
from adapter_conform.catalogue.models import model_examples
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import CONTINUOUS, InputDescription, make_inputs
from adapter_conform.declarations import declared_kernels
from adapter_conform.further import ONCE, Further
from adapter_conform.judge import judge_call
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["EXAMPLES", "SUITE", "OpsSuite"]

EXAMPLES = {"smoke": (3, 1), "standard": (10, 6), "full": (40, 30)}
"""Examples per operator, by profile: for its first dtype, and for each of the others. The first example of the first
dtype is also run as a static graph."""

STRESSED = {"smoke": None, "standard": (1, 3), "full": (3, None)}
"""Examples for each stress regime, and how many regimes another dtype than the first gets (None: all of them)."""

REPEATS = {"smoke": 0, "standard": 32, "full": 128}
"""Calls that must repeat the bits of the first; a quarter as many over two streams, and from each of four threads."""

LEAK_ROUND = {"smoke": 0, "standard": 64, "full": 256}
"""Calls of a round, see :mod:`adapter_conform.leaks`."""

BIAS_PROFILES = ("standard", "full")
"""Where the sign of errors is tested, see :mod:`adapter_conform.bias`."""

FORWARD_ONLY = frozenset({"special"})
"""Regimes in which no gradient is judged: at NaN and infinity there is no derivative to hold it against."""


class OpsSuite:
    name = "ops"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        declared = declared_kernels(request.plugin)
        first, others = EXAMPLES[request.profile]
        cases: list[Case] = []
        for spec in catalogue.all_specs():
            for index, dtype in enumerate(_dtypes(spec, declared)):
                examples = draw(spec, dtype, others if index else first, request.seed)
                cases.extend(_case(spec, dtype, f"eager-{i}", item) for i, item in enumerate(examples))
                if not index and examples and _runs_static(spec, dtype, declared):
                    cases.append(_case(spec, dtype, "static-0", examples[0], static=True))
                cases.extend(_more(spec, dtype, request, examples, first=not index))
        return cases

    def run(self, case: Case, session: Session) -> Outcome:
        description: Description = case.payload["example"]
        return judge_call(
            session,
            catalogue.get(case.operator),
            make_inputs(description, case.dtype),
            description["attributes"],
            dtype=case.dtype,
            backward=case.payload["backward"],
            static=case.payload["static"],
            probe=bool(description.get("probe", False)),
            seed=int(description["seed"]),
            layout=str(description.get("layout", "plain")),
            further=Further.of(case.payload),
        )


def _dtypes(spec: OperatorSpec, declared: dict[tuple[str, str], str]) -> Iterator[str]:
    """The dtypes that the catalogue always asks for, then those that only some devices have."""
    yield from spec.dtypes
    for dtype in (*spec.offered, *_integers(spec)):
        if dtype in spec.dtypes:
            continue
        examples = spec.corners(dtype)
        required = spec.required(examples[0]["attributes"], dtype) if examples else ()
        if spec.view and not required:
            required = (Kernel((spec.name,), dtype),)  # served without a kernel; a device that has one is asked
        if required and all(any((name, item.dtype) in declared for name in item.names) for item in required):
            yield dtype


INTEGERS = ("bool", "uint8", "int8", "int16", "int32", "int64")


def _integers(spec: OperatorSpec) -> tuple[str, ...]:
    """An entry that is exact on whole numbers takes every integer dtype that a device declares."""
    whole = spec.kind is Kind.EXACT and any(dtype.startswith("int") for dtype in spec.dtypes)
    return tuple(dtype for dtype in INTEGERS if whole and dtype not in (*spec.offered, *spec.not_offered))


def _runs_static(spec: OperatorSpec, dtype: str, declared: dict[tuple[str, str], str]) -> bool:
    """A static graph has no views: there an operator that is one in eager mode needs a kernel of the device."""
    return spec.static and (not spec.view or (spec.name, dtype) in declared)


def _more(
    spec: OperatorSpec, dtype: str, request: PlanRequest, examples: Sequence[Description], first: bool
) -> Iterator[Case]:
    """What the larger profiles add: stress regimes, repetition, overlapping calls, leaks, the sign of errors, shapes of
    real models."""
    stressed = STRESSED[request.profile]
    if stressed is not None:
        found = stress(spec, dtype, examples, request.seed, stressed[0], None if first else stressed[1])
        for regime in dict.fromkeys(item["regime"] for item in found):
            same = [item for item in found if item["regime"] == regime]
            yield from (_case(spec, dtype, f"{regime}-{i}", item) for i, item in enumerate(same))
    repeats = REPEATS[request.profile]
    plain = next((item for item in examples if all(map(_is_small, item["inputs"]))), None)
    if repeats and plain is not None:
        plain = {**plain, "layout": "plain"}
        if spec.repeatable:
            yield _case(spec, dtype, "repeat-0", plain, further=Further(repeats=repeats))
        if spec.repeatable and first:
            yield _case(spec, dtype, "streams-0", plain, further=Further(streams=repeats // 4))
            yield _case(spec, dtype, "threads-0", plain, further=Further(threads=repeats // 4))
        if first:
            yield _case(spec, dtype, "leak-0", plain, further=Further(leak=LEAK_ROUND[request.profile]))
    if request.profile == "full" and dtype in ("float32", "bfloat16"):
        for number, (model, example) in enumerate(model_examples(spec.name)):
            seeded = {**example, "seed": (request.seed + 1) * 7919 + number}
            yield _case(spec, dtype, f"{model}-{number}", seeded)
    if request.profile in BIAS_PROFILES and is_float(dtype) and measures_bias(spec):
        rough = next((item for item in examples if _is_rough(item)), None)
        if rough is not None:
            yield _case(spec, dtype, "bias-0", {**rough, "layout": "plain"}, further=Further(bias=True))


def _is_rough(description: Description) -> bool:
    """Whether its values are no small whole numbers, and enough to average over."""
    inputs = description["inputs"]
    sizes = [math.prod(item["shape"]) for item in inputs]
    regimes = {item["regime"] for item in inputs if item["dtype"] is None}
    plain = bool(regimes & CONTINUOUS) and not regimes & FORWARD_ONLY and not description.get("probe")
    return plain and min(sizes) > 0 and 24 <= max(sizes) <= 4096


def _is_small(item: InputDescription) -> bool:
    return 0 < math.prod(item["shape"]) <= 4096


def _case(
    spec: OperatorSpec,
    dtype: str,
    label: str,
    example: Description,
    *,
    static: bool = False,
    further: Further = ONCE,
) -> Case:
    backward = spec.differentiable(dtype) and not any(item["regime"] in FORWARD_ONLY for item in example["inputs"])
    return Case(
        id=f"ops/{spec.name}/{dtype}/{label}",
        suite="ops",
        operator=spec.name,
        dtype=dtype,
        payload={"example": example, "static": static, "backward": backward, **further.counts()},
    )


SUITE = OpsSuite()
