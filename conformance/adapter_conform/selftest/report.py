"""The table of a selftest, on a terminal and as Markdown."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter_conform.selftest.verdict import FaultVerdict, Selftest

__all__ = ["markdown", "print_table"]


def _checks(verdict: FaultVerdict) -> str:
    return ", ".join(name for name, _ in verdict.by.most_common()) or "none"


def _rate(verdict: FaultVerdict) -> str:
    return f"{verdict.caught} of {verdict.seeds}"


def _misses(verdict: FaultVerdict) -> str:
    reasons: dict[str, list[int]] = {}
    for seed, why in verdict.misses.items():
        reasons.setdefault(why, []).append(seed)
    return "; ".join(f"seed {', '.join(map(str, seeds))}: {why}" for why, seeds in reasons.items())


def _headline(selftest: Selftest) -> str:
    seeds, healthy = len(selftest.seeds), len(selftest.controls)
    caught = (
        f"{selftest.caught} of {len(selftest.verdicts)} faults caught with each of {seeds} seed{'s' * (seeds != 1)}"
    )
    if not healthy:
        return f"{caught}; the healthy device was not run"
    alarms = selftest.false_alarms
    return (
        f"{caught}; {alarms} false alarm{'s' * (alarms != 1)} in {selftest.healthy_cases:,} cases of suites "
        f"{' and '.join(selftest.suites)} on the healthy device, with {healthy} seed{'s' * (healthy != 1)}"
    )


def print_table(console: Console, selftest: Selftest) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("Fault", "Cases", "Caught", "Noticed", "By"):
        table.add_column(title, overflow="fold")
    for verdict in selftest.verdicts:
        style = "red" if verdict.misses else ""
        noticed = f"{verdict.noticed}/{verdict.effective}"
        table.add_row(verdict.fault.name, verdict.fault.cases, _rate(verdict), noticed, _checks(verdict), style=style)
    console.print(table)
    for verdict in selftest.verdicts:
        if verdict.misses:
            console.print(Text(f"missed: {verdict.fault.name}: {_misses(verdict)}"), soft_wrap=True)
    for seed, found in selftest.controls.items():
        for case_id, why in found.alarms.items():
            console.print(Text(f"false alarm: seed {seed}: {case_id}: {why}"), soft_wrap=True)
    console.print(Text(_headline(selftest)), soft_wrap=True)


def markdown(selftest: Selftest, command: str) -> str:
    """The table for the documentation, with the command that made it."""
    lines = [
        "# The suite proved on itself",
        "",
        f"Faults planted in {selftest.plugin}, and the checks of the `standard` profile that told of each. A fault",
        "counts as caught with a seed only if a case of its own failed in which it came into effect, by a check that",
        "it was expected to trip. *Noticed*: of the cases, over all seeds, in which the fault changed something, those",
        "that did not pass. Not every one has to: that the largest element is not subtracted shows where something",
        "overflows.",
        "",
        "```console",
        command,
        "```",
        "",
        f"{_headline(selftest)}.",
        "",
        "| Fault | What is wrong | Planted in | Cases | Caught | Noticed | By |",
        "|---|---|---|---|---|---|---|",
    ]
    for verdict in selftest.verdicts:
        fault = verdict.fault
        planted = f"`{fault.kernel}`" if fault.kernel else "Paddle's call"
        lines.append(
            f"| {fault.name} | {fault.summary} | {planted} | `{fault.cases}` | {_rate(verdict)} "
            f"| {verdict.noticed} of {verdict.effective} | {_checks(verdict)} |"
        )
    missed = [verdict for verdict in selftest.verdicts if verdict.misses]
    if missed:
        lines += ["", "## Missed", "", *[f"- {verdict.fault.name}: {_misses(verdict)}" for verdict in missed]]
    return "\n".join(lines) + "\n"
