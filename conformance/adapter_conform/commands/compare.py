"""``adapter-conform compare``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform compare release-1 release-2
  adapter-conform compare release-1 release-2 --html compared.html

\b
Exit codes: 0 compared, whatever came of it; 2 one of the folders holds no certification, or FILE cannot be written.
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("one", metavar="A", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("other", metavar="B", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Also write a page.")
def command(one: Path, other: Path, html: Path | None) -> None:
    """Shows two certificates side by side: verdicts, losses, scores, throughput."""
    from adapter_conform.certification.bundle.comparing import compare
    from adapter_conform.certification.pages import render_comparison
    from adapter_conform.errors import UsageProblem

    found = compare(one, other)
    console = Console(highlight=False)
    facts = Table("", "A", "B")
    for name, left, right in found.facts:
        facts.add_row(name, left, Text(right, style="" if left == right else "yellow"))
    verdicts = Table("level", "model", "task", "A", "B")
    for *cell, left, right in found.verdicts:
        verdicts.add_row(*cell, left, Text(right, style="" if left == right else "yellow"))
    figures = Table("training", "figure", "A", "B", "B / A - 1")
    for row in found.rows:
        figures.add_row(row.training, row.figure, f"{row.one:.6g}", f"{row.other:.6g}", row.change)
    for part in (facts, verdicts, figures):
        console.print(part)
    for warning in found.warnings:
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    if html is not None:
        try:
            html.write_text(render_comparison(found), encoding="utf-8")
        except OSError as error:
            raise UsageProblem(f"--html {html}: cannot be written: {error.strerror or error}") from error
        console.print(f"page: {html}")
