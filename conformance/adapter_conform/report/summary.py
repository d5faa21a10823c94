"""The outcome of a whole run, and its form as ``results.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapter_conform.cases import Record
from adapter_conform.plan import Exclusions, RunOptions
from adapter_conform.report.promises import in_json, notices, promise_rows
from adapter_conform.states import EXECUTED, EXIT_CODES, ExitCode, State, Verdict, decide

__all__ = [
    "KernelRow",
    "RunResult",
    "build_summary",
    "count_states",
    "executed_kernels",
    "kernel_rows",
    "of_suite",
]


@dataclass
class RunResult:
    """Everything that the reports are made of. ``records`` are in the order of the plan."""

    options: RunOptions
    suite_names: Sequence[str]
    records: Sequence[Record]
    available: int
    """Cases before ``-k``."""
    plugin: Mapping[str, Any]
    environment: Mapping[str, Any]
    kernels: Sequence[Mapping[str, Any]]
    started: str
    """ISO 8601, UTC."""
    elapsed_s: float
    waivers: Sequence[str] = ()
    """Those that the plugin declares, in words."""
    stale_waivers: Sequence[str] = ()
    suspicions: Sequence[str] = ()
    stopped: str | None = None
    """Why the run ended early."""
    excluded: Exclusions = field(default_factory=dict)
    """What suites left out when they planned; no part of the verdict."""
    narrowed_by: Sequence[str] = ()
    """The options that left a part of the plan out; empty when the verdict is on everything."""
    replacements: Sequence[str] = ()
    """Workers that had to be replaced although no case had crashed or hung in them, and why."""
    quarantined: bool = False
    """The run was stopped because the device was found sick."""
    sessions: int = 1
    """Times that the run was started or resumed, of all shards together."""
    shards: int = 1
    """Runs that were merged into this one."""
    _counts: dict[State, int] | None = field(default=None, repr=False)
    _contradictions: list[KernelRow] | None = field(default=None, repr=False)

    @property
    def counts(self) -> dict[State, int]:
        if self._counts is None:
            self._counts = count_states(self.records)
        return self._counts

    @property
    def executed(self) -> int:
        return sum(self.counts[state] for state in EXECUTED)

    @property
    def contradictions(self) -> list[KernelRow]:
        """The kernels that the plugin says were registered and Paddle does not have."""
        if self._contradictions is None:
            self._contradictions = [row for row in kernel_rows(self) if row.contradiction]
        return self._contradictions

    @property
    def verdict(self) -> Verdict:
        """The verdict on the records, made worse by stale waivers, by contradictions, and by what befell no case."""
        verdict = decide(self.counts)
        if self.stale_waivers or self.contradictions:
            return Verdict.NOT_CONFORMANT
        if verdict is Verdict.CONFORMANT and (self.suspicions or self.stopped is not None):
            return Verdict.INCONCLUSIVE
        return verdict

    @property
    def headline(self) -> str:
        """The verdict in words, with what it is a verdict on."""
        return self.verdict.value + (f", on a part only: {' '.join(self.narrowed_by)}" if self.narrowed_by else "")

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.verdict]


@dataclass(frozen=True)
class KernelRow:
    """What the plugin declares, what Paddle holds, and what ran, for one operator and dtype."""

    operator: str
    dtype: str
    declared: bool
    registration: str
    refusal: str
    in_paddle_registry: bool
    calls: int
    accumulator: str
    provenance: str
    refusals: tuple[str, ...] = ()
    """What registration said of each signature that it refused; another one of the same kernel may be registered."""

    @property
    def contradiction(self) -> str:
        """A sentence where the plugin's table and Paddle's registry disagree; empty where they do not."""
        if self.registration != "registered" or self.in_paddle_registry:
            return ""
        return (
            f"{self.operator}/{self.dtype}: the plugin's table says that this kernel was registered, "
            "but Paddle's registry holds none"
        )


def count_states(records: Iterable[Record]) -> dict[State, int]:
    """A number for every state, zero included."""
    found = Counter(record.state for record in records)
    return {state: found[state] for state in State}


def executed_kernels(records: Iterable[Record]) -> Counter[tuple[str, str]]:
    """Proved calls by (operator, dtype), summed over ``details["kernels"]`` of the records."""
    calls: Counter[tuple[str, str]] = Counter()
    for record in records:
        kernels = record.details.get("kernels")
        for key, count in kernels.items() if isinstance(kernels, Mapping) else ():
            operator, _, dtype = str(key).rpartition("/")
            calls[(operator, dtype)] += int(count)
    return calls


def kernel_rows(result: RunResult) -> list[KernelRow]:
    """Declared, registered and executed, side by side. Executed kernels that nobody declared come last."""
    calls = executed_kernels(result.records)
    rows = []
    for kernel in result.kernels:
        key = (str(kernel["operator"]), str(kernel["dtype"]))
        rows.append(
            KernelRow(
                *key,
                declared=True,
                registration=str(kernel["registration"] or ""),
                refusal=str(kernel["refusal"] or ""),
                in_paddle_registry=bool(kernel["in_paddle_registry"]),
                calls=calls.pop(key, 0),
                accumulator=str(kernel["accumulator"] or ""),
                provenance=str(kernel["provenance"] or ""),
                refusals=tuple(str(text) for text in kernel["refusals"]),
            )
        )
    undeclared = [KernelRow(*key, False, "", "", False, count, "", "") for key, count in sorted(calls.items())]
    return sorted(rows, key=lambda row: (row.operator, row.dtype)) + undeclared


def build_summary(result: RunResult) -> dict[str, Any]:
    """The content of ``results.json``."""
    options = result.options
    rows = kernel_rows(result)
    return {
        "format": 1,
        "verdict": result.verdict.value,
        "exit_code": int(result.exit_code),
        "planned": len(result.records),
        "executed": result.executed,
        "counts": _plain(result.counts),
        "plugin": dict(result.plugin),
        "environment": dict(result.environment),
        "seed": options.seed,
        "elapsed_s": round(result.elapsed_s, 3),
        "suites": list(result.suite_names),
        "by_suite": {name: _plain(count_states(of_suite(result.records, name))) for name in result.suite_names},
        "profile": options.profile,
        "scope": "narrowed" if result.narrowed_by else "full",
        "narrowed_by": list(result.narrowed_by),
        "shard": None if options.shard is None else str(options.shard),
        "shards": result.shards,
        "sessions": result.sessions,
        "selection": {"expression": options.expression, "available": result.available},
        "replay": None if options.replay is None else str(options.replay),
        "started": result.started,
        "stopped": result.stopped,
        "quarantined": result.quarantined,
        "suspicions": list(result.suspicions),
        "replacements": list(result.replacements),
        "waivers": list(result.waivers),
        "stale_waivers": list(result.stale_waivers),
        "notices": [vars(notice) for notice in notices(result.records)],
        "contract": in_json(promise_rows(result.records)),
        "excluded": {suite: _excluded(reasons) for suite, reasons in result.excluded.items()},
        "contradictions": [
            {"operator": row.operator, "dtype": row.dtype, "what": row.contradiction} for row in result.contradictions
        ],
        "kernels": {
            "declared": _distinct(row for row in rows if row.declared),
            "registered": _distinct(row for row in rows if row.in_paddle_registry),
            "executed": _distinct(row for row in rows if row.calls),
            "refused": [
                {"operator": row.operator, "dtype": row.dtype, "refusal": text, "served": row.in_paddle_registry}
                for row in rows
                for text in row.refusals
            ],
            "never_executed": [
                {"operator": row.operator, "dtype": row.dtype}
                for row in rows
                if row.declared and row.in_paddle_registry and not row.calls
            ],
            "rows": [vars(row) for row in rows],
        },
    }


def of_suite(records: Iterable[Record], name: str) -> list[Record]:
    return [record for record in records if record.suite == name]


def _excluded(reasons: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    return {
        "total": sum(len(lines) for lines in reasons.values()),
        "reasons": {reason: {"count": len(lines), "lines": list(lines)} for reason, lines in reasons.items()},
    }


def _distinct(rows: Iterable[KernelRow]) -> int:
    """Kernels, i.e. pairs of operator and dtype, however many rows name them."""
    return len({(row.operator, row.dtype) for row in rows})


def _plain(counts: Mapping[State, int]) -> dict[str, int]:
    return {state.value: number for state, number in counts.items()}
