"""The operator suite: every entry of the catalogue, on drawn inputs, forward and backward, eager and static."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from adapter_conform import catalogue
from adapter_conform.cases import Case, Outcome
from adapter_conform.catalogue.draw import draw
from adapter_conform.catalogue.spec import Description, OperatorSpec
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.declarations import declared_kernels
from adapter_conform.judge import judge_call
from adapter_conform.suites.base import PlanRequest

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["EXAMPLES", "SUITE", "OpsSuite"]

EXAMPLES = {"smoke": (3, 1), "standard": (10, 6), "full": (40, 30)}
"""Examples per operator, by profile: for its first dtype, and for each of the others. The first example of the first
dtype is also run as a static graph."""

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
                cases.extend(_case(spec, dtype, f"eager-{i}", item, static=False) for i, item in enumerate(examples))
                if not index and examples and _runs_static(spec, dtype, declared):
                    cases.append(_case(spec, dtype, "static-0", examples[0], static=True))
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
        )


def _dtypes(spec: OperatorSpec, declared: dict[tuple[str, str], str]) -> Iterator[str]:
    """The dtypes that the catalogue always asks for, then those that only some devices have."""
    yield from spec.dtypes
    for dtype in spec.offered:
        if dtype in spec.dtypes:
            continue
        examples = spec.corners(dtype)
        required = spec.required(examples[0]["attributes"], dtype) if examples else ()
        if required and all(any((name, item.dtype) in declared for name in item.names) for item in required):
            yield dtype


def _runs_static(spec: OperatorSpec, dtype: str, declared: dict[tuple[str, str], str]) -> bool:
    """A static graph has no views: there an operator that is one in eager mode needs a kernel of the device."""
    return spec.static and (not spec.view or (spec.name, dtype) in declared)


def _case(spec: OperatorSpec, dtype: str, label: str, example: Description, *, static: bool) -> Case:
    backward = spec.differentiable(dtype) and not any(item["regime"] in FORWARD_ONLY for item in example["inputs"])
    return Case(
        id=f"ops/{spec.name}/{dtype}/{label}",
        suite="ops",
        operator=spec.name,
        dtype=dtype,
        payload={"example": example, "static": static, "backward": backward},
    )


SUITE = OpsSuite()
