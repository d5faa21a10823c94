"""Which faults are planted in one run: those that concern different cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapter_faults import Fault

__all__ = ["expression", "rounds"]


def rounds(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Deals the faults out to as few runs as it takes, so that a case meets at most one fault."""
    dealt: list[list[Fault]] = []
    for fault in faults:
        for members in dealt:
            if not fault.alone and not any(other.alone or _meet(fault, other) for other in members):
                members.append(fault)
                break
        else:
            dealt.append([fault])
    return dealt


def _meet(left: Fault, right: Fault) -> bool:
    return left.concerns(right.cases) or right.concerns(left.cases)


def expression(faults: Sequence[Fault]) -> str:
    """For ``-k``: the cases that the faults concern."""
    return " or ".join(dict.fromkeys(f"'{fault.cases}'" for fault in faults))
