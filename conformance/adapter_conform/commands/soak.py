"""``adapter-conform soak``: training for hours or weeks, with heartbeats, and a verdict on what crept."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from adapter_conform.durations import parse_duration
from adapter_conform.errors import ConformError
from adapter_conform.parallel.strategies import DTYPES, STRATEGIES, Strategy
from adapter_conform.states import ExitCode

__all__ = ["command", "draw_weights", "require"]

_EPILOG = """\b
Examples:
  adapter-conform soak --plugin refchip --for 14d --out soak
  adapter-conform soak --plugin refchip --for 14d --out soak --resume     # after whatever ended it
  REFCHIP_CARDS=4 adapter-conform soak --plugin refchip --strategy pp2_mp2 --for 8h --beat 10s --out soak

\b
DIR gets heartbeat.jsonl (a line a beat: time, step, loss, seconds a step, memory, handles), checkpoints/, weights and
soak.json with the verdict. After an error the ranks are started again from the last whole checkpoint; restarts count
against the device. SIGTERM and Ctrl-C have the ranks save and leave.

\b
Exit codes: 0 the whole time without a fault, 1 a fault (a loss that is not finite, a restart, a resource that creeps),
2 usage error, 3 it ended early without a fault.
"""


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", metavar="NAME", required=True, help="The device plugin, see `adapter-sdk devices`.")
@click.option("--for", "duration", metavar="TIME", required=True, callback=_seconds, help="Of training: 14d, 8h, 90s.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where everything goes.")
@click.option("--resume", is_flag=True, help="Go on with the soak in DIR.")
@click.option("--strategy", type=click.Choice(["one_card", *STRATEGIES]), default="dp2", show_default=True)
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--beat", metavar="TIME", default="10s", show_default=True, callback=_seconds, help="Between heartbeats.")
@click.option(
    "--save", metavar="TIME", default="10m", show_default=True, callback=_seconds, help="Between checkpoints."
)
@click.pass_context
def command(
    context: click.Context,
    plugin: str,
    duration: float,
    out: Path,
    resume: bool,
    strategy: str,
    dtype: str,
    seed: int,
    beat: float,
    save: float,
) -> None:
    """Trains a model for a time and watches what creeps."""
    chosen = STRATEGIES.get(strategy, Strategy("one_card"))
    what = {"plugin": plugin, "strategy": strategy, "dtype": dtype, "seed": seed}
    require(plugin, chosen)
    _prepare(out, what, resume)
    context.exit(int(_run(chosen, what, out, duration, beat, save)))


def require(plugin: str, strategy: Strategy) -> None:
    """Raises click.UsageError where ``strategy`` cannot run on ``plugin`` here."""
    import adapter_sdk
    from adapter_conform.models.paddlenlp_adapter import why_unavailable
    from adapter_sdk.errors import AdapterError

    try:
        loaded = adapter_sdk.load(plugin)
    except AdapterError as error:
        raise click.UsageError(str(error)) from error
    if (missing := why_unavailable()) is not None:
        raise click.UsageError(missing)
    if loaded.collectives is None:
        raise click.UsageError(f"plugin {plugin!r} declares no collectives (hook adapter_collectives)")
    if loaded.device.cards < strategy.ranks:
        raise click.UsageError(
            f"{strategy.name} takes {strategy.ranks} cards, this machine has {loaded.device.cards}; "
            "choose another --strategy"
        )


def _prepare(out: Path, what: dict[str, Any], resume: bool) -> None:
    """Makes the folder, or sees that the one to go on with is of the same training."""
    facts = out / "training.json"
    if resume:
        if not facts.exists():
            raise click.UsageError(f"there is no soak in {out}: {facts} is missing")
        found = json.loads(facts.read_text())
        if found != what:
            raise click.UsageError(f"the soak in {out} is of {found}, not of {what}; give the same options")
        return
    if facts.exists():
        raise click.UsageError(f"there is a soak in {out} already: go on with --resume, or name another folder")
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    facts.write_text(json.dumps(what, indent=1) + "\n")


def _run(strategy: Strategy, what: dict[str, Any], out: Path, seconds: float, beat: float, save: float) -> ExitCode:
    from adapter_conform.parallel.course import Course
    from adapter_conform.soak import heartbeat
    from adapter_conform.soak.conduct import Plan, conduct
    from adapter_conform.soak.verdict import verdict

    weights = (out / "weights.safetensors").resolve()
    if not weights.exists():
        draw_weights(strategy.model, what["seed"], weights)
    course = Course(what["plugin"], strategy, what["dtype"], what["seed"], weights, (out / "checkpoints").resolve())
    path = out / "heartbeat.jsonl"
    stop = False

    def told(_signal: int, _frame: object) -> None:
        nonlocal stop
        stop = True
        if course.crew is not None:
            course.crew.signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    try:
        early = conduct(course, Plan(seconds, beat, save), path, lambda: stop, click.echo)
        result = verdict(heartbeat.read(path), seconds)
    except ValueError as error:
        raise ConformError(str(error)) from error
    (out / "soak.json").write_text(json.dumps({**what, "ended_early": early, **result.to_json()}, indent=1) + "\n")
    for fault in result.faults:
        click.echo(f"fault: {fault}")
    click.echo(
        f"{result.steps} steps in {result.reached_s:.0f} of {seconds:.0f} s, {len(result.gaps)} gaps, "
        f"{result.restarts} restarts; see {out / 'soak.json'}"
    )
    if early is not None:
        click.echo(f"ended early: {early}")
    if result.faults or (early is not None and "came to nothing" in early):
        return ExitCode.NOT_CONFORMANT
    return ExitCode.CONFORMANT if result.complete else ExitCode.INCONCLUSIVE


def draw_weights(model: str, seed: int, path: Path) -> None:
    """Draws the initial weights in a process of its own: this one does without Paddle."""
    command_line = [sys.executable, "-m", "adapter_conform.parallel.models", model, str(seed), str(path)]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not path.exists():
        raise ConformError(f"the weights could not be drawn: {done.stderr[-2000:]}")
