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


def headline(selftest: Selftest) -> str:
    seeds = len(selftest.seeds)
    return (
        f"{selftest.caught} of {len(selftest.verdicts)} faults caught with each of {seeds} seed{'s' * (seeds != 1)}; "
        f"{len(selftest.false_alarms)} false alarms in {selftest.healthy_cases} cases on the healthy device"
    )


def print_table(console: Console, selftest: Selftest) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("Fault", "Cases", "Caught", "Noticed", "By"):
        table.add_column(title, overflow="fold")
    for verdict in selftest.verdicts:
        style = "" if verdict.caught == verdict.seeds else "red"
        noticed = f"{verdict.noticed}/{verdict.effective}"
        table.add_row(verdict.fault.name, verdict.fault.cases, _rate(verdict), noticed, _checks(verdict), style=style)
    console.print(table)
    for verdict in selftest.verdicts:
        if verdict.misses:
            console.print(Text(f"missed: {verdict.fault.name}: {_misses(verdict)}"), soft_wrap=True)
    for alarm in selftest.false_alarms:
        line = f"false alarm: seed {alarm['seed']} {alarm['id']}: {alarm['state']}: {alarm['message']}"
        console.print(Text(line), soft_wrap=True)
    console.print(Text(headline(selftest)), soft_wrap=True)


def markdown(selftest: Selftest, command: str) -> str:
    """The table for the documentation, with the command that made it."""
    lines = [
        "# The suite proved on itself",
        "",
        "Faults planted in refchip's kernels one by one, and the check of the `standard` profile that told of each. A",
        "fault counts as caught with a seed only if a case of its own failed in which it came into effect, by a check",
        "that the fault was expected to trip. *Cases* are those of all seeds in which the fault changed something; not",
        "every one has to notice (a wrong tie order shows where there are ties).",
        "",
        "```console",
        command,
        "```",
        "",
        f"{headline(selftest)} (suites {', '.join(selftest.suites)}).",
        "",
        "| Fault | What is wrong | Planted in | Caught | Noticed in cases | By |",
        "|---|---|---|---|---|---|",
    ]
    for verdict in selftest.verdicts:
        fault = verdict.fault
        planted = f"`{fault.kernel}`" if fault.kernel else "around Paddle"
        where = f"{planted}, `{fault.cases}`"
        lines.append(
            f"| {fault.name} | {fault.summary} | {where} | {_rate(verdict)} | {verdict.noticed} of {verdict.effective} "
            f"| {_checks(verdict)} |"
        )
    missed = [verdict for verdict in selftest.verdicts if verdict.misses]
    if missed:
        lines += ["", "## Missed", "", *[f"- {verdict.fault.name}: {_misses(verdict)}" for verdict in missed]]
    return "\n".join(lines) + "\n"
