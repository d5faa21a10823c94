"""``adapter-conform descend``: from a wrong model to the first wrong operator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from adapter_conform.states import ExitCode

if TYPE_CHECKING:
    from adapter_conform.descent.findings import Story

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform descend --plugin refchip --workload llama_pretrain
  adapter-conform descend --plugin refchip --out found -- train.py --steps 1
  python descent/repro.py

\b
The model runs on the CPU. Each call that it makes is also made on the device, with the inputs that the CPU has at that
place: what an operator is fed is right, so that the first one out of its bound is itself at fault and not one before
it. A script stays on the CPU whatever device it chooses; calls of to_static programs are seen by their operators in
eager mode only.

\b
Exit codes:
  0  every call that was examined is inside its bound
  1  an operator is not; DIR/descent.json and DIR/repro.py have it
  2  usage error
  3  inconclusive: nothing could be examined, or the run broke off
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", required=True, metavar="NAME", help="The device plugin, see `adapter-sdk devices`.")
@click.option("--workload", metavar="NAME", help="A model of the suite `workloads`, e.g. llama_pretrain.")
@click.option("--steps", type=click.IntRange(min=1), default=1, show_default=True, help="Training steps of a workload.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and data.")
@click.option("--backward/--no-backward", default=True, show_default=True, help="Examine gradients too.")
@click.option("--most", type=click.IntRange(min=1), default=5000, show_default=True, help="Calls to examine.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=1800.0,
    show_default=True,
    metavar="S",
    help="Seconds for the whole descent.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("descent"),
    show_default=True,
    metavar="DIR",
    help="Where the finding and its repro go.",
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    context: click.Context,
    plugin: str,
    workload: str | None,
    steps: int,
    seed: int,
    backward: bool,
    most: int,
    timeout: float,
    out: Path,
    program: tuple[str, ...],
) -> None:
    """Finds the first operator of a model whose result on the device leaves its bound, and writes a program that shows
    it alone. PROGRAM is a Python script with its arguments, in place of --workload."""
    from adapter_conform.supervisor.probe import probe_plugin

    _check(workload, program)
    probe_plugin(plugin)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    request: dict[str, Any] = {
        "plugin": plugin, "seed": seed, "steps": steps, "backward": backward, "most": most, "folder": str(out),
        "workload": workload, "program": list(program),
    }  # fmt: skip
    story, broke_off = _descend(request, timeout)
    context.exit(int(_tell(Console(highlight=False), story, broke_off, out)))


def _check(workload: str | None, program: tuple[str, ...]) -> None:
    if (workload is None) == (not program):
        raise click.UsageError("give either --workload NAME or, after `--`, a script with its arguments")
    if program and not Path(program[0]).is_file():
        raise click.UsageError(f"there is no script {program[0]!r}; give a file, without `python` before it")
    if workload is not None:
        from adapter_conform.models.workloads import WORKLOADS

        if workload not in WORKLOADS:
            raise click.UsageError(f"no workload {workload!r}; there are {', '.join(WORKLOADS)}")
        if reason := WORKLOADS[workload].why_unavailable():
            raise click.UsageError(f"workload {workload} cannot run here: {reason}")


def _descend(request: dict[str, Any], timeout: float) -> tuple[Story, str]:
    """The story, and what broke the process off, if something did."""
    from adapter_conform.descent.findings import read_story

    with tempfile.TemporaryDirectory(prefix="adapter-descend-") as folder:
        path, story = Path(folder) / "request.json", Path(folder) / "story.jsonl"
        path.write_text(json.dumps({**request, "story": str(story)}), encoding="utf-8")
        broke_off = ""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "adapter_conform.descent.child", str(path)], timeout=timeout, check=False
            )
            if done.returncode < 0:
                broke_off = f"signal {-done.returncode} ended the process"
            elif done.returncode:
                broke_off = "the process gave up"
        except subprocess.TimeoutExpired:
            broke_off = f"it was not done after {timeout:g} s"
        return read_story(story), broke_off


def _tell(console: Console, story: Story, broke_off: str, out: Path) -> ExitCode:
    from adapter_conform.jsondata import compact, jsonable

    (out / "descent.json").write_text(
        compact(jsonable({**vars(story), "broke_off": broke_off})) + "\n", encoding="utf-8"
    )

    def say(words: str, style: str = "") -> None:
        console.print(Text(words, style), soft_wrap=True)

    found = story.finding
    if found is not None:
        names = ", ".join(found.parts) or ", ".join(found.kernels) or "no kernel was counted"
        say(f"call {found.index}, {found.direction}: {found.call}", "bold red")
        say(f"operator: {names}")
        say(f"{found.state}: {found.message}")
        say(f"repro: {os.path.relpath(found.repro)}")
        return ExitCode.NOT_CONFORMANT
    if broke_off:
        say(f"{broke_off}. The last call was {story.last_started or '(none)'}", "bold yellow")
        if story.error:
            say(story.error)
        return ExitCode.INCONCLUSIVE
    say(f"{story.examined} calls examined, {story.backward_examined} of them backward too: all inside their bounds")
    for reason, count in sorted(story.unexamined.items(), key=lambda item: -item[1])[:10]:
        say(f"not examined {count}: {reason}")
    return ExitCode.CONFORMANT if story.examined else ExitCode.INCONCLUSIVE
