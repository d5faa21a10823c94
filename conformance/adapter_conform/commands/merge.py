"""``adapter-conform merge``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform --plugin refchip --shard 1/2 --out s1
  adapter-conform --plugin refchip --shard 2/2 --out s2
  adapter-conform merge s1 s2 --out whole

\b
Exit codes are those of the run: 0 conformant, 1 not conformant, 3 inconclusive; 2 when the folders are not
the complete shards of one plan with one plugin, one seed and the same versions.
"""


@click.command(epilog=_EPILOG)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the reports on the whole go. Files of an older run there are kept under a name with its time.",
)
@click.pass_context
def command(context: click.Context, folders: tuple[Path, ...], out: Path) -> None:
    """Joins the shards of a run, the --out folders DIR..., to the verdict that one run would have given."""
    from adapter_conform.merging import merge
    from adapter_conform.report.terminal import print_outcome

    console = Console(highlight=False)
    result, folder, moved = merge(folders, out)
    if moved:
        names = ", ".join(path.name for path in moved)
        console.print(Text(f"{folder.root} holds an older run; its files are kept as {names}"), soft_wrap=True)
    print_outcome(console, result, folder)
    context.exit(int(result.exit_code))
