"""``adapter-conform trace``: records the Paddle kernels of any program."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from adapter_conform.states import ExitCode

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform trace -- python train.py --steps 20
  adapter-conform trace --out llama.trace -- python train.py
  adapter-conform plan --plugin refchip --workload llama.trace
  adapter-conform --plugin refchip --replay llama.trace

\b
FILE holds JSON lines: a header, then a line for each kind of kernel call (operator, dtype, shapes, attributes, phase,
backend, calls, seconds) and for each API call, in the form that --replay reads. The program runs as it is, on
whatever device it chooses; its output comes through, and its exit status is the command's own. Where it ends with 0
and no kernel was seen, the status is 3. Seconds are those of the host: on a device with asynchronous streams the time
to launch a kernel. Logging slows the program down.
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("trace.jsonl"),
    show_default=True,
    metavar="FILE",
    help="Where the trace goes; an older file is replaced.",
)
@click.option("--top", type=click.IntRange(min=0), default=30, show_default=True, help="Rows of the profile to print.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, out: Path, top: int, program: tuple[str, ...]) -> None:
    """Runs PROGRAM and records every Paddle kernel that it calls: which, of what dtype and shapes, how often, how long,
    and on which device it really ran."""
    from adapter_conform.tracing.launch import record
    from adapter_conform.tracing.profile import fallbacks, profile_rows, profile_table
    from adapter_conform.tracing.record import write_trace

    console = Console(stderr=True, highlight=False)
    trace, status = record(program, lambda words: console.print(Text(f"trace: {words}", "yellow")))
    write_trace(out, trace)
    rows = profile_rows(trace)
    if rows:
        console.print(profile_table(rows, top))
    calls = sum(row.calls for row in rows)
    distinct = len({(row.operator, row.dtype) for row in rows})
    words = (
        f"{calls} calls of {distinct} kernels, {len(trace.calls)} distinct API calls; the program ended with {status}"
    )
    console.print(Text(f"{out}: {words}"), soft_wrap=True)
    moved = fallbacks(rows)
    if moved:
        names = ", ".join(f"{row.operator}/{row.dtype} ({row.calls})" for row in moved)
        console.print(Text(f"FELL BACK to another device: {names}", "bold red"), soft_wrap=True)
    if not rows:
        why = "Does the program import paddle, in a Python that reads PYTHONPATH (no -I, -E or -S)?"
        console.print(Text(f"No kernel of Paddle was seen. {why}"), soft_wrap=True)
    sys.stderr.flush()
    context.exit(status if status or rows else int(ExitCode.INCONCLUSIVE))
