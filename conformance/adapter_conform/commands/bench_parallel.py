"""``adapter-conform bench-parallel``: how training scales with the number of cards."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from adapter_conform.commands.soak import draw_weights, require
from adapter_conform.errors import ConformError
from adapter_conform.parallel.scaling import Scaling, flops_per_token, scaled
from adapter_conform.parallel.strategies import DTYPES, Strategy

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform bench-parallel --plugin refchip --ranks 1,2
  REFCHIP_CARDS=4 adapter-conform bench-parallel --plugin refchip --ranks 1,2,4 --rows 64 --json scaling.json
  adapter-conform bench-parallel --plugin acme --ranks 1,8 --dtype bfloat16 --peak-flops 312e12

\b
Data parallel, ROWS rows of 32 tokens a card (weak scaling), a step being forward, backward, reduction and update.
tokens/s = rows * 32 * n / seconds of a step, the slowest rank counting; linearity = tokens/s on n cards divided by
n times that on the fewest, each its share; MFU = tokens/s * FLOPs of a token / (n * PEAK), where a token takes
6 N + 12 L H Q T FLOPs (N parameters without the embedding, L layers, H heads of size Q, T tokens of a row): PaLM,
appendix B (Chowdhery et al. 2022). Exit codes: 0 measured, 2 usage error, 3 the ranks could not be started.
"""


def _counts(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    words = text.split(",")
    if not all(word.isdigit() and 1 <= int(word) <= 64 for word in words):
        raise click.BadParameter(f"{text!r} is no list of numbers from 1 to 64, such as 1,2,4.")
    return sorted({int(word) for word in words})


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--plugin", metavar="NAME", required=True, help="The device plugin, see `adapter-sdk devices`.")
@click.option(
    "--ranks", default="1,2", show_default=True, metavar="N[,N]", callback=_counts, help="Cards, one process each."
)
@click.option("--rows", type=click.IntRange(1, 4096), default=8, show_default=True, help="Of a card's step.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
@click.option("--steps", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Timed, after 5 others.")
@click.option("--peak-flops", type=click.FloatRange(min=0, min_open=True), help="Of one card in that dtype.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the figures here."
)
def command(
    plugin: str, ranks: list[int], rows: int, dtype: str, steps: int, peak_flops: float | None, json_file: Path | None
) -> None:
    """Measures tokens a second on one card and on several."""
    strategies = [Strategy(f"dp{count}", data=count, batch=rows * count) for count in ranks]
    require(plugin, strategies[-1])
    click.echo(f"{plugin}, {dtype}, {rows} rows a card; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="adapter-scaling-") as folder:
        weights = Path(folder) / "weights.safetensors"
        draw_weights("llama", 0, weights)
        seconds = [_seconds(plugin, strategy, dtype, steps, weights) for strategy in strategies]
    figures = scaled(strategies, seconds, peak_flops)
    _print(figures)
    if json_file is not None:
        facts: list[dict[str, Any]] = [vars(figure) for figure in figures]
        json_file.write_text(
            json.dumps({"flops_per_token": flops_per_token("llama"), "figures": facts}, indent=1) + "\n"
        )


def _seconds(plugin: str, strategy: Strategy, dtype: str, steps: int, weights: Path) -> float:
    """Of one step."""
    from adapter_conform.collectives.crew import CrewLost
    from adapter_conform.parallel.course import Course, CourseLost

    course = Course(plugin, strategy, dtype, 0, weights, weights.parent / strategy.name)
    try:
        course.start()
        course.steps(5)
        answers = course.steps(steps)
    except (CourseLost, CrewLost) as error:
        raise ConformError(f"{strategy.ranks} ranks could not be measured: {error}") from error
    finally:
        course.end()
    return max(float(answer["seconds"]) for answer in answers.values()) / steps


def _print(figures: list[Scaling]) -> None:
    click.echo(f"{'cards':>6}{'ms/step':>12}{'tokens/s':>14}{'linearity':>12}{'MFU':>10}")
    for figure in figures:
        utilization = "" if figure.mfu is None else f"{figure.mfu:.4f}"
        row = f"{figure.cards:6}{figure.step_s * 1e3:12.2f}{figure.tokens_per_s:14.0f}{figure.linearity:12.3f}"
        click.echo(f"{row}{utilization:>10}")
