"""What a plugin lacks for a workload, and so what its vendor writes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter_conform.cases import Record
from adapter_conform.states import State
from adapter_conform.tracing.needs import Need, Workload

__all__ = ["Offer", "PlanRow", "lacking_in", "offer_of", "plan_rows", "plan_summary"]

PRESENT, FALLS_BACK, RAISES, ABSENT = "present", "falls back", "raises", "absent"
"""The plugin has it; Paddle moves the call to the CPU; no one has it, so that the call raises; the plugin has not
declared it, and without Paddle no more can be told."""


@dataclass(frozen=True)
class Offer:
    """(operator, dtype) of what runs on a device, and on the CPU; ``host`` is None where no Paddle could be asked."""

    plugin: str
    device: frozenset[tuple[str, str]]
    host: frozenset[tuple[str, str]] | None
    paddle: str = ""


@dataclass(frozen=True)
class PlanRow:
    """A needed kernel, and what becomes of its calls."""

    operator: str
    """Alternatives apart by ``|``."""
    dtype: str
    calls: int
    seconds: float
    outcome: str
    workloads: tuple[str, ...]


def offer_of(plugin_name: str) -> Offer:
    """Mounts the plugin in this process and asks Paddle's registry; where Paddle is not installed, the plugin's own
    declarations.

    Raises:
        ConformError: loading the plugin kills a process, or it cannot be used here.
    """
    import adapter_sdk
    from adapter_conform.errors import ConformError, UsageProblem
    from adapter_conform.supervisor.probe import probe_plugin
    from adapter_sdk.errors import AdapterError, PluginNotFound

    probe_plugin(plugin_name)
    try:
        plugin = adapter_sdk.load(plugin_name)
        declared = frozenset((kernel.operator, kernel.dtype) for kernel in plugin.kernels)
        try:
            import importlib.util

            if importlib.util.find_spec("paddle") is None:
                return Offer(plugin_name, declared, None)
            from adapter_conform.session import open_session, read_registry

            session = open_session(plugin_name, seed=0)
        except ImportError:
            return Offer(plugin_name, declared, None)
    except PluginNotFound as error:
        raise UsageProblem(str(error)) from error
    except AdapterError as error:
        raise ConformError(str(error)) from error
    own = read_registry(session.paddle, session.device.split(":")[0])
    registered = own | read_registry(session.paddle, "CUSTOM")  # views and copies that Paddle has for any custom device
    host = read_registry(session.paddle, "CPU")
    return Offer(plugin_name, frozenset(registered), frozenset(host), str(session.paddle.__version__))


def plan_rows(workload: Workload, offer: Offer) -> list[PlanRow]:
    """A row for each needed kernel: what is lacking first, each part by time and then by calls, most first."""
    rows = [
        PlanRow(
            "|".join(need.names),
            need.dtype,
            need.calls,
            need.seconds,
            _outcome(need, offer),
            tuple(sorted(need.workloads)),
        )
        for need in workload.needs.values()
    ]
    return sorted(rows, key=lambda row: (row.outcome == PRESENT, -row.seconds, -row.calls, row.operator, row.dtype))


def _outcome(need: Need, offer: Offer) -> str:
    if any((name, need.dtype) in offer.device for name in need.names):
        return PRESENT
    if offer.host is None:
        return ABSENT
    return FALLS_BACK if any((name, need.dtype) in offer.host for name in need.names) else RAISES


def plan_summary(rows: Sequence[PlanRow], workload: Workload, offer: Offer) -> dict[str, Any]:
    """The plan as JSON data; ``by_calls`` and ``by_time`` list what is lacking, as indices into ``rows``."""
    lacking = [index for index, row in enumerate(rows) if row.outcome != PRESENT]
    return {
        "format": "adapter-plan",
        "version": 1,
        "plugin": offer.plugin,
        "paddle": offer.paddle,
        "counts": _counts(rows),
        "calls": _counts(rows, lambda row: row.calls),
        "rows": [vars(row) for row in rows],
        "by_calls": sorted(lacking, key=lambda index: -rows[index].calls),
        "by_time": sorted(lacking, key=lambda index: -rows[index].seconds),
        "unknown": dict(sorted(workload.unknown.items(), key=lambda item: -item[1])),
    }


def _counts(rows: Iterable[PlanRow], weight: Any = lambda _: 1) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in rows:
        found[row.outcome] += weight(row)
    return dict(found)


def lacking_in(records: Iterable[Record], kernels: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """(operator, dtype, cases) that a run found unsupported, most cases first: what a report calls the next to write.

    ``kernels`` are the declared ones; an operator of which another dtype is declared lacks that dtype alone.
    """
    declared = {(str(kernel["operator"]), str(kernel["dtype"])) for kernel in kernels}
    found: Counter[tuple[str, str]] = Counter()
    for record in records:
        key = (record.operator, record.dtype)
        if record.state is State.UNSUPPORTED and key not in declared:
            found[key] += 1
    return [(operator, dtype, cases) for (operator, dtype), cases in found.most_common()]
