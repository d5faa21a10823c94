"""What to do next, and why: the first line of a report.

In this order, since each makes the next one worth while: what is broken, what stops whole models, what cases asked for
in vain, and which of the SDK's stand-ins works most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from adapter_conform.cases import Record
from adapter_conform.report.ladder import lacking_kernels
from adapter_conform.report.summary import RunResult, kernel_rows
from adapter_conform.states import BAD, State

__all__ = ["next_step"]

_NOT_REGISTERED = re.compile(r"kernel with key \(\w+, \S+, (\w+)\) of kernel `(\w+)` is not registered")
_MODELS = frozenset(("training", "workloads"))


def next_step(result: RunResult) -> str:
    """One sentence, e.g. ``"write the kernel full/float64: 4 cases of training and workloads stop there"``; empty where
    the run says nothing about it."""
    return next(_steps(result), "")


def _steps(result: RunResult) -> Iterator[str]:
    if not result.records or result.executed == 0:
        return
    stops = _stops(result.records)
    yield from _broken(result.records)
    for row in kernel_rows(result):
        if row.declared and row.refusals and not row.in_paddle_registry and "calls it with" in row.refusal:
            yield f"mend the signature of {row.operator}/{row.dtype}: {row.refusal}"
    if stops:
        (kernel, number), *_ = stops.most_common(1)
        yield f"write the kernel {kernel}: {_cases(number)} of training and workloads stop{'s' * (number == 1)} there"
    wanted = Counter(kernel for record in result.records for kernel in set(lacking_kernels(record)))
    held = {f"{row.operator}/{row.dtype}" for row in kernel_rows(result) if row.in_paddle_registry}
    for kernel, number in wanted.most_common():
        if kernel not in held:
            yield f"write the kernel {kernel}: {_cases(number)} asked for it in vain, more than for any other"
    stand_ins = [row for row in kernel_rows(result) if row.provenance == "reference" and row.calls]
    if stand_ins:
        most = max(stand_ins, key=lambda row: (row.calls, row.operator, row.dtype))
        calls = f"{most.calls} calls of this run went to the SDK's stand-in, more than to any other"
        yield f"write a kernel of your own for {most.operator}/{most.dtype}: {calls}"


def _broken(records: Sequence[Record]) -> Iterator[str]:
    """The operator with most cases that went wrong; those that lack a kernel are not about what is there."""
    wrong = [record for record in records if record.state in BAD and not _NOT_REGISTERED.search(record.message)]
    found = Counter((record.suite, record.operator, record.dtype) for record in wrong)
    if found:
        (suite, operator, dtype), number = found.most_common(1)[0]
        first = next(item for item in wrong if (item.suite, item.operator, item.dtype) == (suite, operator, dtype))
        why = first.message.strip().split("\n", 1)[0]
        yield f"mend {operator}/{dtype} ({suite}): {_cases(number)} {first.state.value}; {why}"


def _stops(records: Iterable[Record]) -> Counter[str]:
    found: Counter[str] = Counter()
    for record in records:
        if record.suite in _MODELS and record.state in (*BAD, State.UNSUPPORTED):
            match = _NOT_REGISTERED.search(record.message)
            if match:
                found[f"{match[2]}/{match[1]}"] += 1
    return found


def _cases(number: int) -> str:
    return "1 case" if number == 1 else f"{number} cases"
