"""``adapter-conform certify``: the certification standard, run on a device and held against a recorded reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter_conform.certification.recipes import LEVELS, SCALES, TASKS, recipes_of
from adapter_conform.clicking import list_plan, refuse_beside_resume
from adapter_conform.durations import parse_duration
from adapter_conform.errors import UsageProblem
from adapter_conform.plan import RunOptions, default_jobs
from adapter_conform.states import EXIT_CODES, ExitCode, Verdict

if TYPE_CHECKING:
    from adapter_conform.certification.acceptance import LevelVerdict

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform certify --plugin refchip --level I --out level-1
  adapter-conform certify --plugin refchip --level I --task pretrain,sft --out part
  adapter-conform certify --plugin acme --level III --reference gpu-pack --key acme.key --out level-3
  adapter-conform certify --resume level-3               # after Ctrl-C, a crash, a reboot
  adapter-conform certify --resume level-3 --soak soak   # the 14 days, once `adapter-conform soak` has them
  adapter-conform certify --plugin refchip --level I --scale sample --out try
  adapter-conform certify --plugin refchip --level I --scale sample --cards 2 --out two-cards

\b
Scales:
  sample  a few dozen steps: shows that the tool works, and tells nothing about the device
  proxy   the standard's architectures scaled down; never called a certificate of the level
  full    the standard's own configurations: see `adapter-conform plan-cluster`

\b
A level includes all below it. What the standard leaves to people is shown as missing until it is attached.
Long work: each case reports its steps in DIR/logs; what is measured is in DIR/measurements as soon as a case ends.

\b
Exit codes:
  0  every task that was asked for is conformant
  1  one is not
  2  usage error: nothing has run
  3  inconclusive: nothing is shown to be wrong, but not everything was shown to be right
"""


def _duration(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", metavar="NAME", help="The device plugin, see `adapter-sdk devices`.")
@click.option("--level", type=click.Choice(LEVELS), help="Of the standard.")
@click.option("--task", "tasks", metavar="NAMES", default="", help=f"Only these, joined by commas: {','.join(TASKS)}.")
@click.option("--scale", type=click.Choice(tuple(SCALES)), default="proxy", show_default=True, help="Size of the work.")
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="PACK",
    help="Reference pack, see `adapter-conform record`.  [default: the one that comes with this release]",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("certificate"), show_default=True, metavar="DIR")
@click.option(
    "--resume",
    "resumed",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Go on with the certification in DIR; its options are its own.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    metavar="KEY",
    help="Sign the bundle with this key, see `adapter-conform keygen`.",
)
@click.option("--attach", multiple=True, metavar="NAME=FILE", help="What the standard leaves to people.")
@click.option(
    "--soak",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of `adapter-conform soak`: its heartbeat log is what proves 14 days.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and data, as in PACK."
)
@click.option(
    "--cards",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="That share the batches of pretraining and SFT; other tasks run on one.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=default_jobs, show_default="number of CPUs, at most 4", metavar="N"
)
@click.option("--time-budget", metavar="TIME", callback=_duration, help="For the whole run: seconds, or e.g. 20m.")
@click.option("-k", "expression", metavar="EXPR", help="Run only cases whose id matches.")
@click.option("--list", "list_only", is_flag=True, help="Print the ids of the planned cases and run nothing.")
@click.pass_context
def command(
    context: click.Context,
    plugin: str | None,
    level: str | None,
    tasks: str,
    scale: str,
    reference: Path | None,
    out: Path,
    resumed: Path | None,
    key: Path | None,
    attach: Sequence[str],
    soak: Path | None,
    seed: int,
    cards: int,
    jobs: int,
    time_budget: float | None,
    expression: str | None,
    list_only: bool,
) -> None:
    """Trains and scores the models of a level on the device, holds every figure against a reference pack, and writes a
    bundle that others can verify."""
    console = Console(highlight=False)
    if key is not None:
        from adapter_conform.certification.bundle.keys import read_private

        read_private(key)  # a key that cannot sign is found out before the hours of work
    if resumed is not None:
        from adapter_conform.run import resume

        refuse_beside_resume(context, {"resumed", "jobs", "time_budget", "key", "attach", "soak"})
        _tell_workers(resumed)
        code = resume(resumed, jobs, time_budget, console)
        context.exit(int(_conclude(resumed, attach, soak, key, code, console)))
    if plugin is None or level is None:
        raise click.UsageError("say which plugin and which level: --plugin NAME --level I")
    options = RunOptions(
        plugin=plugin,
        suites=("certification",),
        profile="full",
        seed=seed,
        out=out,
        jobs=jobs,
        expression=expression,
        time_budget=time_budget,
        shrink=False,
        settings={**_settings(level, tasks, scale, seed, reference), **_shared(plugin, level, scale, seed, cards)},
    )
    if list_only:
        list_plan(options)
        return
    from adapter_conform.certification.certifying import CertificateFiles
    from adapter_conform.run import run

    _require_models()
    CertificateFiles(out).refuse_older()
    _tell_workers(out)
    code = run(options, console)
    context.exit(int(_conclude(out, attach, soak, key, code, console)))


def _settings(level: str, tasks: str, scale: str, seed: int, reference: Path | None) -> dict[str, str]:
    """The request as the run's plan keeps it.

    Raises:
        UsageProblem: an unknown task, a level without such a task, or no usable pack.
    """
    from adapter_conform.certification.packs import builtin, read_pack

    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in tasks.split(",")))))
    try:
        recipes = recipes_of(level, names, scale, seed)
    except ValueError as error:
        raise UsageProblem(f"--task: {error}") from error
    if not recipes:
        raise UsageProblem(f"level {level} asks for no {', '.join(names)}")
    folder = (reference or builtin(scale)).resolve()
    pack = read_pack(folder)
    if (pack.scale, pack.seed) != (scale, seed):
        raise UsageProblem(
            f"reference pack {folder} was recorded at scale {pack.scale!r} with seed {pack.seed}, "
            f"asked for are {scale!r} and {seed}\nGive --scale and --seed of the pack, or another pack."
        )
    return {"level": level, "task": ",".join(names), "scale": scale, "reference": str(folder)}


def _shared(plugin: str, level: str, scale: str, seed: int, cards: int) -> dict[str, str]:
    """The part of the request that names several cards; nothing for one.

    Raises:
        UsageProblem: the machine has fewer, or they cannot share a batch evenly.
    """
    if cards == 1:
        return {}
    import adapter_sdk
    from adapter_conform.certification.tasks.sharing import SHARED, why_not_shared
    from adapter_sdk.errors import AdapterError

    try:
        loaded = adapter_sdk.load(plugin)
    except AdapterError as error:
        raise UsageProblem(str(error)) from error
    if loaded.collectives is None or loaded.device.cards < cards:
        found = f"{loaded.device.cards} cards" if loaded.collectives else "no collectives (hook adapter_collectives)"
        raise UsageProblem(f"--cards {cards}: plugin {plugin!r} declares {found}")
    for fault in filter(None, (why_not_shared(one, cards) for one in recipes_of(level, SHARED, scale, seed))):
        raise UsageProblem(f"--cards {cards}: {fault}")
    return {"cards": str(cards)}


def _require_models() -> None:
    from adapter_conform.models.paddlenlp_adapter import why_unavailable

    missing = why_unavailable()
    if missing:
        raise UsageProblem(missing)


def _tell_workers(folder: Path) -> None:
    from adapter_conform.suites.certification import BUNDLE_VARIABLE

    os.environ[BUNDLE_VARIABLE] = str(folder.resolve())


def _conclude(
    folder: Path, attached: Sequence[str], soak: Path | None, key: Path | None, code: ExitCode, console: Console
) -> ExitCode:
    """The bundle, the verdict on the terminal, and the exit code: the worse of the run's and the tasks'."""
    from adapter_conform.certification.bundle import seal
    from adapter_conform.certification.certifying import attach, attach_soak, conclude
    from adapter_conform.manifest import read_manifest

    attach(folder, attached)
    if soak is not None:
        attach_soak(folder, soak, read_manifest(folder / "plan.json").plugin_name)
    verdict = conclude(folder)
    seal(folder, key)
    _show(console, verdict, folder)
    tasks = [EXIT_CODES[task.verdict] for task in verdict.tasks]
    for worst in (ExitCode.NOT_CONFORMANT, ExitCode.INCONCLUSIVE):
        if worst in (code, *tasks):
            return worst
    return ExitCode.CONFORMANT


_STYLES = {Verdict.CONFORMANT: "green", Verdict.NOT_CONFORMANT: "red", Verdict.INCONCLUSIVE: "yellow"}


def _show(console: Console, verdict: LevelVerdict, folder: Path) -> None:
    table = Table("level", "model", "task", "verdict", "why", title=verdict.title, title_justify="left")
    for task in verdict.tasks:
        why = "\n".join(task.reasons[:3]) if task.reasons else "" if task.required else "beyond the standard"
        table.add_row(task.level, task.model, task.task, Text(task.verdict.value, style=_STYLES[task.verdict]), why)
    console.print(table)
    console.print(Text(verdict.reference), soft_wrap=True)
    for reason in verdict.reasons:
        console.print(Text(reason, style="yellow"), soft_wrap=True)
    for missing in verdict.missing:
        console.print(Text(f"missing: {missing}"), soft_wrap=True)
    console.print(Text(verdict.title, style=f"bold {_STYLES[verdict.verdict]}"), soft_wrap=True)
    console.print(Text(f"bundle: {folder}; the certificate is {folder / 'report.html'}"), soft_wrap=True)
