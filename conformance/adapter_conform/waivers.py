"""A plugin's waivers: a failure that the vendor admits, with a reason, a link and a date on which it expires."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapter_conform.cases import Record
from adapter_conform.errors import ConformError
from adapter_conform.states import EXECUTED, State

__all__ = ["WaiverBook", "WaiverRule", "read_waivers"]


@dataclass(frozen=True)
class WaiverRule:
    """One waiver. It covers failures of ``operator`` with ``dtype``, until the end of the day ``expires``."""

    operator: str
    dtype: str
    reason: str
    link: str
    expires: datetime.date

    def covers(self, record: Record) -> bool:
        return record.operator == self.operator and record.dtype == self.dtype

    def describe(self) -> str:
        return f"waiver for {self.operator}/{self.dtype}: {self.reason} ({self.link}), expires {self.expires}"


@dataclass
class WaiverBook:
    """Applies waivers to records."""

    rules: Sequence[WaiverRule]
    today: datetime.date

    def apply(self, record: Record) -> Record:
        """``record`` itself, or a waived copy when it failed and a waiver that has not expired covers it."""
        if record.state is not State.FAILED:
            return record
        covering = [rule for rule in self.rules if rule.covers(record)]
        valid = [rule for rule in covering if rule.expires >= self.today]
        if valid:
            return replace(record, state=State.WAIVED, message=_join(valid[0].describe(), record.message))
        if covering:
            return replace(record, message=_join(f"expired {covering[0].describe()}", record.message))
        return record

    def stale(self, records: Iterable[Record]) -> list[WaiverRule]:
        """Waivers that covered no failure although every planned case of their operator and dtype was executed.

        A waiver whose cases were not all run stays undecided: the failure that it admits may be in the missing ones.
        """
        executed: set[tuple[str, str]] = set()
        undecided: set[tuple[str, str]] = set()
        for record in records:
            kind = (record.operator, record.dtype)
            if record.state in EXECUTED:
                executed.add(kind)
            if record.state in (State.NOT_RUN, State.FAILED, State.WAIVED):  # it covers the last two
                undecided.add(kind)
        return [rule for rule in self.rules if (rule.operator, rule.dtype) in executed - undecided]


def read_waivers(declared: Iterable[Any]) -> list[WaiverRule]:
    """The waivers of a plugin, from objects with ``operator``, ``dtype``, ``reason``, ``link`` and ``expires``.

    Raises:
        ConformError: a waiver lacks a field, or its date is no date.
    """
    rules = []
    for waiver in declared:
        try:
            expires = waiver.expires
            if isinstance(expires, str):
                expires = datetime.date.fromisoformat(expires)
            rules.append(WaiverRule(waiver.operator, waiver.dtype, waiver.reason, waiver.link, expires))
        except (AttributeError, ValueError) as error:
            raise ConformError(
                f"the plugin's waiver {waiver!r} cannot be used: {error}\n"
                "A waiver needs operator, dtype, reason, link and expires (a date, YYYY-MM-DD); mend the plugin."
            ) from error
    return rules


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
