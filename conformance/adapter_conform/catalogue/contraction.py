"""Sums of products that an equation names: einsum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _terms(a: Attributes) -> tuple[list[str], str]:
    """The labels of the operands and of the result; no ellipsis, no label twice in one term."""
    left, result = a["equation"].split("->")
    return left.split(","), result


def _spread(x: Tracked, labels: str, every: str) -> Operand:
    """``x`` with an axis for each label of ``every``: of length 1 where it has none."""
    order = [labels.index(label) for label in every if label in labels]

    def rearrange(v: Any) -> Any:
        sides = iter(np.transpose(v, order).shape)
        return np.transpose(v, order).reshape([next(sides) if label in labels else 1 for label in every])

    return b.move(rearrange, x)


def _contract(operands: list[tuple[Tracked, str]], result: str, sides: dict[str, int]) -> Operand:
    """The sum of the products of ``operands`` over all labels that ``result`` lacks."""
    every = "".join(sides)
    product = _spread(*operands[0], every)
    for operand, labels in operands[1:]:
        product = product * _spread(operand, labels, every)
    full = b.move(lambda v: np.broadcast_to(v, tuple(sides.values())), product)
    gone = tuple(i for i, label in enumerate(every) if label not in result)
    kept = [label for label in every if label in result]
    summed = b.total(full, gone) if gone else full
    return b.move(lambda v: np.transpose(v, [kept.index(label) for label in result]), summed)


def _sides(x: list[Operand], terms: list[str]) -> dict[str, int]:
    return {
        label: side
        for operand, term in zip(x, terms, strict=True)
        for label, side in zip(term, operand.shape, strict=True)
    }


def _einsum(x: list[Operand], a: Attributes) -> list[Operand]:
    terms, result = _terms(a)
    return [_contract(list(zip(x, terms, strict=True)), result, _sides(x, terms))]


def _einsum_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    terms, result = _terms(a)
    sides = _sides(x, terms)
    gradients = []
    for index, term in enumerate(terms):
        others = [(operand, labels) for i, (operand, labels) in enumerate(zip(x, terms, strict=True)) if i != index]
        gradients.append(_contract([(d[0], result), *others], term, sides))
    return gradients


def _case(equation: str, sides: Mapping[str, int], probe: bool = False) -> Description:
    regime = "integers" if probe else "normal"
    terms = equation.split("->")[0].split(",")
    return describe(*[tensor([sides[n] for n in term], regime) for term in terms], probe=probe, equation=equation)


EQUATIONS = (
    "ij,jk->ik",
    "bij,bjk->bik",
    "sec,sm->ecm",
    "i,d->id",
    "ijk,jl->il",
    "bqhd,bkhd->bhqk",
    "ij,ij->",
    "kj,ik->ji",
    "ij->ji",
    "ijk->j",
)
"""Products, batches of them, the dispatch of experts, outer products, attention scores, traces; one operand."""


def _drawn(equation: str, sides: list[int]) -> Description:
    letters = sorted({letter for letter in equation if letter.isalpha()})
    return _case(equation, dict(zip(letters, sides, strict=False)))


register(
    OperatorSpec(
        name="einsum",
        call=lambda paddle, t, a: paddle.einsum(a["equation"], *t),
        oracle=_einsum,
        gradient=_einsum_gradient,
        kind=Kind.GEMM,
        examples=lambda dtype: st.builds(
            _drawn, st.sampled_from(EQUATIONS), st.lists(st.integers(1, 7), min_size=5, max_size=5)
        ),
        corners=lambda dtype: [
            _case("ij,jk->ik", {"i": 5, "j": 17, "k": 7}, probe=True),
            _case("sec,sm->ecm", {"s": 12, "e": 4, "c": 3, "m": 16}),
            _case("bqhd,bkhd->bhqk", {"b": 2, "q": 8, "k": 9, "h": 4, "d": 16}),
            _case("i,d->id", {"i": 32, "d": 16}),
            _case("ij,ij->", {"i": 3, "j": 4}),
            _case("ijk->j", {"i": 3, "j": 4, "k": 5}),
            _case("ij->ji", {"i": 1, "j": 1}),
        ],
        offered=("float64", "float16", "bfloat16"),
        aliases=("paddle.einsum",),
    )
)
