"""``adapter-conform plan``: which kernels a workload needs and a plugin lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter_conform.states import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapter_conform.tracing.gaps import PlanRow

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform trace --out llama.trace -- python train.py
  adapter-conform plan --plugin refchip --workload llama.trace
  adapter-conform plan --plugin acme --workload llama.trace --workload calls.txt --sort calls --json plan.json

\b
A workload is a trace, a file of recorded API calls as --replay reads it, or JSON:
  {"workloads": {"NAME": {"rows": [{"kernel": "matmul", "dtype": "float32", "calls": 4}]}}}

\b
Exit codes:
  0  the plugin has every kernel that is needed
  1  kernels are lacking: they would fall back to the CPU, or raise where the CPU has none either
  2  usage error
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", required=True, metavar="NAME", help="The device plugin, see `adapter-sdk devices`.")
@click.option(
    "--workload",
    "workloads",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    metavar="FILE",
    help="What is to run; may be given several times.",
)
@click.option(
    "--sort",
    type=click.Choice(("time", "calls")),
    default="time",
    show_default=True,
    help="Order of what is lacking; time ties are broken by calls.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the whole plan, both orders in it; `-` for standard output in place of the table.",
)
@click.option("--all", "everything", is_flag=True, help="Also list the kernels that the plugin has.")
@click.pass_context
def command(
    context: click.Context,
    plugin: str,
    workloads: tuple[Path, ...],
    sort: str,
    json_file: Path | None,
    everything: bool,
) -> None:
    """Says which kernels WORKLOADS need, which the plugin has, and which would fall back: what to write next."""
    from adapter_conform.jsondata import compact, jsonable
    from adapter_conform.tracing.gaps import PRESENT, offer_of, plan_rows, plan_summary
    from adapter_conform.tracing.needs import read_workloads

    workload = read_workloads(workloads)
    offer = offer_of(plugin)
    rows = plan_rows(workload, offer)
    if sort == "calls":
        rows.sort(key=lambda row: (row.outcome == PRESENT, -row.calls, -row.seconds, row.operator))
    if json_file is not None:
        text = compact(jsonable(plan_summary(rows, workload, offer)))
        if str(json_file) == "-":
            click.echo(text)
        else:
            _write(json_file, text)
    if str(json_file) != "-":
        _show(Console(highlight=False), rows, workload.unknown, offer.plugin, everything)
    lacking = any(row.outcome != PRESENT for row in rows)
    context.exit(int(ExitCode.NOT_CONFORMANT if lacking else ExitCode.CONFORMANT))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _show(console: Console, rows: Sequence[PlanRow], unknown: dict[str, int], plugin: str, everything: bool) -> None:
    lacking = [row for row in rows if row.outcome != "present"]
    shown = list(rows) if everything else lacking
    if shown:
        console.print(_table(shown))
    total, missed = sum(row.calls for row in rows), sum(row.calls for row in lacking)
    console.print(
        Text(
            f"{plugin} has {len(rows) - len(lacking)} of {len(rows)} kernels that are needed; "
            f"{missed} of {total} calls are of one that it lacks"
        ),
        soft_wrap=True,
    )
    for reason, calls in sorted(unknown.items(), key=lambda item: -item[1])[:10]:
        console.print(Text(f"kernels not known for {calls} calls: {reason}"), soft_wrap=True)


def _table(rows: Sequence[PlanRow]) -> Table:
    table = Table(show_edge=False)
    for name in ("kernel", "dtype", "what happens"):
        table.add_column(name, overflow="fold")
    table.add_column("calls", justify="right")
    table.add_column("ms recorded", justify="right")
    table.add_column("for")
    for row in rows:
        time = f"{1e3 * row.seconds:.3f}" if row.seconds else "-"
        table.add_row(row.operator, row.dtype, row.outcome, str(row.calls), time, _few(row.workloads))
    return table


def _few(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
