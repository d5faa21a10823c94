"""``adapter-conform selftest``: plants faults in a device and counts which of them the suite catches."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from adapter_conform.plan import default_jobs
from adapter_conform.selftest.campaign import Campaign
from adapter_conform.selftest.report import markdown, print_table
from adapter_conform.states import ExitCode

if TYPE_CHECKING:
    from adapter_faults import Fault

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform selftest
  adapter-conform selftest --faults swapped_lanes,race --seeds 3
  adapter-conform selftest --seeds 10 --out proof --resume --markdown docs/selftest.md

\b
Exit codes:
  0  every fault was caught with every seed, and the healthy device raised no alarm
  1  a fault was missed, or the healthy device raised an alarm
  2  usage error: nothing has run
  3  a run came to no end

\b
Output in DIR: selftest.json, and a folder with the reports of every run.
"""

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.command(epilog=_EPILOG, context_settings=_CONTEXT)
@click.option("--plugin", metavar="NAME", default="refchip", show_default=True, help="The device to plant faults in.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("selftest"),
    show_default=True,
    metavar="DIR",
    help="Where results go.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="0 to N - 1.")
@click.option("--faults", metavar="NAMES", help="Plant these alone, joined by commas.  [default: all]")
@click.option("--jobs", type=click.IntRange(min=1), default=default_jobs, metavar="N", help="Workers of each run.")
@click.option("--resume", is_flag=True, help="Keep what DIR already holds.")
@click.option(
    "--healthy",
    type=click.Choice(["all", "concerned", "none"]),
    default=None,
    show_default="all; concerned with --faults",
    help="Run the device without faults, too, as a control: on all operators and its runtime, on the cases that the "
    "faults concern, or not.",
)
@click.option("--markdown", "page", type=click.Path(path_type=Path, dir_okay=False), help="Also write the table here.")
@click.option("--list", "list_only", is_flag=True, help="Print the faults and run nothing.")
@click.pass_context
def command(
    context: click.Context,
    plugin: str,
    out: Path,
    seeds: int,
    faults: str | None,
    jobs: int,
    resume: bool,
    healthy: str | None,
    page: Path | None,
    list_only: bool,
) -> None:
    """Proves the suite on itself: plants faults in a device's kernels, one to an operator at a time, and says which of
    them the standard profile catches and by which check. The healthy device is the control."""
    chosen = _chosen(faults)
    if list_only:
        for fault in chosen:
            click.echo(f"{fault.name}\t{fault.cases}\t{' '.join(fault.sees)}\t{fault.summary}")
        return
    for folder in (out, *([page.parent] if page is not None else [])):
        _make(folder)
    console = Console(highlight=False)
    campaign = Campaign(
        plugin=plugin,
        faults=chosen,
        seeds=range(seeds),
        out=out,
        jobs=jobs,
        resume=resume,
        healthy=healthy or ("all" if faults is None else "concerned"),
        console=console,
    )
    selftest = campaign.run()
    print_table(console, selftest)
    if page is not None:
        page.write_text(markdown(selftest, shlex.join(["adapter-conform", *sys.argv[1:]])))
    proved = selftest.caught == len(chosen) and not selftest.false_alarms
    context.exit(int(ExitCode.CONFORMANT if proved else ExitCode.NOT_CONFORMANT))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def _chosen(names: str | None) -> Sequence[Fault]:
    try:
        from adapter_faults import all_faults, named
    except ImportError as error:
        raise click.UsageError(
            f"the table of faults is not there ({error}); it is part of the wheel of adapter-sdk, and in a checkout "
            "tests/faults has to be on PYTHONPATH"
        ) from error
    if names is None:
        return all_faults()
    try:
        found = [named(name.strip()) for name in names.split(",") if name.strip()]
    except LookupError as error:
        raise click.BadParameter(f"{error}; --list prints them all", param_hint="--faults") from error
    if not found:
        raise click.BadParameter("names no fault", param_hint="--faults")
    return found
