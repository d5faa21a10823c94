"""The command line ``adapter-conform``."""

from __future__ import annotations

import math
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from adapter_conform.clicking import list_plan, refuse_beside_resume
from adapter_conform.commands import Commands
from adapter_conform.durations import parse_duration
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.plan import DEFAULT_CASE_TIMEOUT, MOST_DEFAULT_JOBS, RunOptions, default_jobs
from adapter_conform.shards import Shard
from adapter_conform.states import ExitCode
from adapter_conform.suites import DEFAULT_SUITES
from adapter_conform.suites.base import PROFILES

__all__ = ["cli", "main"]

_EPILOG = """\b
Examples:
  adapter-conform --plugin refchip
  adapter-conform --plugin refchip --suite ops --profile smoke -k "softmax and not grad"
  adapter-conform --plugin refchip --replay calls.txt --jobs 2 --out replayed
  adapter-conform --plugin acme --suite acme.checks:SUITE
  adapter-conform --device npu --profile smoke           # a backend that knows nothing of adapter-sdk, as it is
  adapter-conform --device npu --library ./libnpu.so

\b
Long runs:
  adapter-conform --plugin refchip --profile full --time-budget 8h --out night
  adapter-conform --resume night --time-budget 8h        # after Ctrl-C, a crash, a reboot, a used up budget
  adapter-conform --plugin refchip --shard 2/4 --out s2  # one of four machines
  adapter-conform merge s1 s2 s3 s4 --out whole          # one verdict, as if one run

\b
Exit codes:
  0  conformant
  1  not conformant: a case failed, crashed, hung or fell back, a waiver is stale, or the plugin's table
     claims a registered kernel that Paddle's registry lacks
  2  usage error: nothing has run
  3  inconclusive: nothing failed, but not everything was proved (nothing executed is 3, never 0)

\b
Environment:
  ADAPTER_CONFORM_PRELOAD=TOOL  a tool (tracing, planted faults) for every worker, TOOL.so or module:function;
                                see adapter_conform.supervisor.preload. Such a run is never conformant.

\b
Output in DIR: report.html, results.json, results.jsonl (a line a case, as it ends), junit.xml, logs/,
plan.json and journal.jsonl (what --resume and merge need).
Files of an older run in DIR are kept under a name with its time.
"""


def _finite(_context: click.Context, _option: click.Parameter, seconds: float) -> float:
    """Refuses NaN, which is in every range and would switch the clock off."""
    if not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} is no number of seconds.")
    return seconds


def _duration(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option("--plugin", metavar="NAME", help="The device plugin to judge, see `adapter-sdk devices`.")
@click.option("--device", metavar="TYPE", help="A device that is no plugin: judge its bare library, as it is.")
@click.option(
    "--library",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    metavar="FILE",
    help="The library of --device.  [default: the one in paddle_custom_device/ that offers TYPE]",
)
@click.option(
    "--suite",
    "suite_names",
    metavar="NAMES",
    help=f"Suites to run, joined by commas; package.module:OBJECT names one of your own.  [default: "
    f"{','.join(DEFAULT_SUITES)}; only replay when --replay is given]",
)
@click.option("--profile", type=click.Choice(PROFILES), default="standard", show_default=True, help="How much to plan.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    metavar="DIR",
    help="Where reports go.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=default_jobs,
    show_default=f"number of CPUs, at most {MOST_DEFAULT_JOBS}",
    metavar="N",
    help="Worker processes at a time.",
)
@click.option(
    "--case-timeout",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    default=DEFAULT_CASE_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds before a case counts as hung; some cases set a limit of their own.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all inputs.")
@click.option(
    "-k",
    "expression",
    metavar="EXPR",
    help="Run only cases whose id matches: words with and, or, not, parentheses; or one full id.",
)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    metavar="FILE",
    help="Also judge the recorded API calls in FILE (suite replay).",
)
@click.option(
    "--shrink/--no-shrink",
    default=True,
    show_default=True,
    help="Make failures small, and write each as a file that shows it on its own.",
)
@click.option(
    "--time-budget",
    metavar="TIME",
    callback=_duration,
    help="For the whole run: seconds, or e.g. 20m, 1h30m. What does not fit is not run, and says so.",
)
@click.option("--shard", metavar="I/N", help="Run only the I-th of N equal parts of the plan; see `merge`.")
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Go on with the run in DIR, however it ended; options are its own, except --jobs and --time-budget.",
)
@click.option("--list", "list_only", is_flag=True, help="Print the ids of the planned cases and run nothing.")
@click.pass_context
def cli(
    context: click.Context,
    plugin: str | None,
    device: str | None,
    library: Path | None,
    suite_names: str | None,
    profile: str,
    out: Path,
    jobs: int,
    case_timeout: float,
    seed: int,
    expression: str | None,
    replay: Path | None,
    time_budget: float | None,
    shard: str | None,
    resumed: Path | None,
    shrink: bool,
    list_only: bool,
) -> None:
    """Judges a PaddlePaddle device plugin: runs it case by case in worker processes, with CPU fallback off, and says
    what was proved."""
    if context.invoked_subcommand is not None:
        return
    if resumed is not None:
        from adapter_conform.run import resume

        refuse_beside_resume(context, {"resumed", "jobs", "time_budget"})
        context.exit(int(resume(resumed, jobs, time_budget, Console(highlight=False))))
    options = RunOptions(
        plugin=_target(plugin, device, library),
        suites=_suites(suite_names, replay),
        profile=profile,
        seed=seed,
        out=out,
        jobs=jobs,
        case_timeout=case_timeout,
        expression=expression,
        replay=replay,
        shard=None if shard is None else Shard.parse(shard),
        time_budget=time_budget,
        shrink=shrink,
    )
    if list_only:
        list_plan(options)
    else:
        from adapter_conform.run import run

        context.exit(int(run(options, Console(highlight=False))))


def _target(plugin: str | None, device: str | None, library: Path | None) -> str:
    """What to judge, as workers are told."""
    if plugin and device:
        raise click.UsageError("--plugin and --device exclude each other: a plugin says what its device type is")
    if library is not None and not device:
        raise click.UsageError("--library goes with --device TYPE: say which device type of it to judge")
    if plugin:
        return plugin
    if not device:
        raise click.UsageError(
            "say what to judge: --plugin NAME (`adapter-sdk devices` lists those installed), or --device TYPE for a "
            "library that is no plugin"
        )
    from adapter_conform.bare.load import find_device

    return str(find_device(device, library))


def _suites(given: str | None, replay: Path | None) -> tuple[str, ...]:
    if given is None:
        return DEFAULT_SUITES if replay is None else ("replay",)
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    if not names:
        raise click.UsageError("--suite names no suite")
    if replay is not None and "replay" not in names:
        names += ("replay",)
    if replay is None and "replay" in names:
        raise click.UsageError("suite replay needs --replay FILE")
    return names


def main() -> NoReturn:
    """Entry point. Python's own exit status 1 would claim "not conformant", so nothing is left to end with it."""
    code = _main()
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's own flush would fail once more
        if code == ExitCode.CONFORMANT:
            click.echo(f"Error: cannot print: {error.strerror or error}", err=True)
            code = ExitCode.INCONCLUSIVE
    sys.exit(code)


def _main() -> int:
    try:
        return int(cli.main(prog_name="adapter-conform", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE_ERROR
    except UsageProblem as error:
        click.echo(f"Error: {error}", err=True)
        return ExitCode.USAGE_ERROR
    except ConformError as error:
        click.echo(f"Error: {error}", err=True)
        return ExitCode.INCONCLUSIVE
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted before anything ran.", err=True)
        return ExitCode.INCONCLUSIVE
    except (Exception, SystemExit):  # a plugin's or a suite's sys.exit(0) would be read as "conformant"
        traceback.print_exc()
        click.echo("Error: adapter-conform itself broke down; this says nothing about the plugin.", err=True)
        return ExitCode.INCONCLUSIVE
