"""How far a plugin has come: kernels of its own, reference kernels that stand in, and kernels that cases lacked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from adapter_conform.cases import Record
from adapter_conform.report.summary import KernelRow
from adapter_conform.states import State

__all__ = ["Ladder", "lacking_kernels", "ladder"]

_LACKING = re.compile(r"\b(\w+/(?:bool|u?int\d+|b?float\d+))\b")
"""A kernel as the messages of unsupported cases name it, e.g. ``softmax_grad/float32``."""
_WIDTH = 40


@dataclass(frozen=True)
class Ladder:
    """Counts of kernels, an operator in one dtype each."""

    own: int
    reference: int
    missing: int
    """That unsupported cases of this run asked for."""

    def line(self) -> str:
        """``"kernels: [######====....] 12 own, 8 reference, 10 missing ..."``"""
        counts = {"#": self.own, "=": self.reference, ".": self.missing}
        total = max(1, self.total)
        widths = {mark: max(1, round(_WIDTH * count / total)) if count else 0 for mark, count in counts.items()}
        bar = "".join(mark * width for mark, width in widths.items())
        return f"ladder: [{bar}] {self.words}"

    @property
    def total(self) -> int:
        return self.own + self.reference + self.missing

    @property
    def words(self) -> str:
        note = "; reference kernels never count towards a certificate" if self.reference else ""
        return f"{self.own} own, {self.reference} reference, {self.missing} missing in this run{note}"


def ladder(rows: Iterable[KernelRow], records: Iterable[Record]) -> Ladder:
    """Counts the kernels that Paddle holds by who wrote them, and those that unsupported cases name."""
    held = {(row.operator, row.dtype): row.provenance for row in rows if row.declared and row.in_paddle_registry}
    wanted = {name for record in records for name in lacking_kernels(record)}
    provenances = list(held.values())
    missing = wanted - {f"{operator}/{dtype}" for operator, dtype in held}
    return Ladder(provenances.count("own"), provenances.count("reference"), len(missing))


def lacking_kernels(record: Record) -> list[str]:
    """``"operator/dtype"`` of the kernels for whose lack a case is unsupported, as its message names them."""
    return _LACKING.findall(record.message.split("\n", 1)[0]) if record.state is State.UNSUPPORTED else []
