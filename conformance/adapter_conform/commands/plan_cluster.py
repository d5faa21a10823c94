"""``adapter-conform plan-cluster``."""

from __future__ import annotations

import math
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from adapter_conform.certification.recipes import LEVELS, TASKS
from adapter_conform.errors import UsageProblem

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform plan-cluster --level I --cards 8 --memory 80 --peak 312
  adapter-conform plan-cluster --level III --cards 64 --memory 64 --peak 376 --model LLaMA3-70B --out plan
  adapter-conform plan-cluster --level II --cards 16 --memory 64 --peak 320 --task sft,lora --device acme --out plan
  adapter-conform plan-cluster --level II --cards 8 --memory 40 --peak 312 --model SD --out plan

\b
For each training of the level at its true size: the fastest parallel strategy that fits, memory by part on the
fullest card, time and disk. DIR gets the trainer's arguments and scripts for paddle.distributed.launch and Slurm.
Estimates: the formulas and their sources are in certification/cluster/. Tensors alone come out 29 % low to 5 % high
against four rows of PaddleNLP's published table, which does not say the rows at a time; a reserve of 40 % covers that.
Stable Diffusion is counted layer by layer, with flash attention; its cards share the rows, and split the states.

\b
Exit codes: 0 everything fits; 2 usage error, or something does not fit: the message says what would.
"""


_TRAININGS = tuple(task for task in TASKS if task != "inference")
"""Tasks that are planned for a cluster."""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--level", required=True, type=click.Choice(LEVELS), help="Of the standard; includes all below it.")
@click.option("--cards", required=True, type=click.IntRange(min=1), metavar="N")
@click.option("--memory", required=True, type=click.FloatRange(min=0, min_open=True), metavar="GiB", help="Of a card.")
@click.option(
    "--peak", required=True, type=click.FloatRange(min=0, min_open=True), metavar="TFLOPS", help="Of a card, bfloat16."
)
@click.option(
    "--task", "tasks", default="", metavar="NAMES", help=f"Only these, joined by commas: {','.join(_TRAININGS)}."
)
@click.option("--model", "models", default="", metavar="NAMES", help="Only these, joined by commas.")
@click.option(
    "--mfu",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.40,
    show_default=True,
    help="Share of the peak that a training without pipeline and recomputation reaches. An assumption.",
)
@click.option("--device", default="gpu", show_default=True, metavar="NAME", help="In the scripts.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write scripts there.")
def command(
    level: str,
    cards: int,
    memory: float,
    peak: float,
    tasks: str,
    models: str,
    mfu: float,
    device: str,
    out: Path | None,
) -> None:
    """Says how the standard's models, at their true size, fit on a cluster, and writes the scripts that start them."""
    from adapter_conform.certification.cluster.launch import write_scripts
    from adapter_conform.certification.cluster.memory import GIB
    from adapter_conform.certification.cluster.search import Cluster, plan_recipe
    from adapter_conform.certification.cluster.timing import CHECKPOINTS
    from adapter_conform.certification.recipes import recipes_of

    if not all(map(math.isfinite, (memory, peak, mfu))):
        raise click.UsageError("--memory, --peak and --mfu are to be finite numbers")
    try:
        recipes = recipes_of(level, _names(tasks) or _TRAININGS, "full")
    except ValueError as error:
        raise UsageProblem(f"--task: {error}") from error
    if any(recipe.task not in _TRAININGS for recipe in recipes):
        raise UsageProblem(f"--task: planned for a cluster are {', '.join(_TRAININGS)}")
    known = list(dict.fromkeys(recipe.model for recipe in recipes))
    wanted = _names(models)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageProblem(f"--model {', '.join(unknown)}: level {level} plans {', '.join(known)}")
    cluster, console = Cluster(cards, memory, peak, mfu), Console(highlight=False)
    table = Table(title=f"{cards} cards of {memory:g} GiB", title_justify="left")
    for name in ("training", "strategy", "GiB", "states", "activ.", "hours", "disk TB"):
        table.add_column(name, no_wrap=name == "training")
    problems, written = [], 0
    chosen = [recipe for recipe in recipes if not wanted or recipe.model in wanted]
    for recipe in chosen:
        try:
            planned = plan_recipe(recipe, cluster)
        except UsageProblem as error:
            problems.append(str(error))
            continue
        need = planned.memory
        states = (need.weights + need.gradients + need.optimizer) / GIB
        inner = (need.activations + need.logits) / GIB
        hours, disk = planned.cost.seconds / 3600, planned.cost.disk_bytes / 1e12
        figures = (need.total / GIB, states, inner, hours, disk)
        table.add_row(recipe.id, planned.strategy.words(), *(f"{figure:.3g}" for figure in figures))
        if out is not None:
            written += len(write_scripts(planned, device, out))
    console.print(table)
    words = f"GiB a card, reserve included. MFU {mfu:g} assumed. Disk: {CHECKPOINTS} checkpoints and the data."
    console.print(words, soft_wrap=True)
    if out is not None:
        console.print(f"{written} files in {out}")
    if problems:
        raise UsageProblem("\n".join(problems))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
