"""``adapter-conform reference``: looks into reference packs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from adapter_conform.states import ExitCode

__all__ = ["command"]

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_EPILOG = """\b
Examples:
  adapter-conform reference show conformance/references/cpu-proxy
  adapter-conform reference verify pack
  adapter-conform reference diff conformance/references/cpu-proxy pack
  adapter-conform reference merge llama qwen gpt --out whole     # packs that were recorded a model at a time

\b
A pack is a folder: pack.json, which holds the sha256 and size of every other file, measurements/*.json.gz and
weights/*.safetensors. Exit codes: 0 sound (diff: the same), 1 differences, 2 refused: corrupt, foreign, or no pack.
"""

_PACK = click.Path(path_type=Path)


@click.group(epilog=_EPILOG, context_settings=_SETTINGS)
def command() -> None:
    """Shows, compares, verifies and merges reference packs."""


@command.command(context_settings=_SETTINGS)
@click.argument("pack", type=_PACK)
def show(pack: Path) -> None:
    """What PACK was recorded on and with, and what it holds."""
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.packs.summary import described

    for line in described(read_pack(pack, check_recipes=False)):
        click.echo(line)


@command.command(context_settings=_SETTINGS)
@click.argument("pack", type=_PACK)
def verify(pack: Path) -> None:
    """Checks every file of PACK, its recipes against those of this release, and its weights against its trainings."""
    from adapter_conform.certification.packs import read_pack

    read = read_pack(pack)
    for recipe in sorted(read.manifest.weights.keys() | {one.recipe for one in read.measurements}):
        read.weights(recipe)
    files = read.manifest.files
    size = sum(entry.bytes for entry in files.values()) / 2**20
    click.echo(f"{read.name}: sound, {len(files)} files, {size:.1f} MiB, {len(read.measurements)} measurements")
    click.echo(f"made by {read.label}")
    click.echo(f"digest {read.digest}")


@command.command(context_settings=_SETTINGS)
@click.argument("parts", type=_PACK, nargs=-1, required=True)
@click.option("--out", type=_PACK, required=True, metavar="PACK", help="Folder of the merged pack, created if missing.")
def merge(parts: tuple[Path, ...], out: Path) -> None:
    """Writes one pack out of PARTS, which were recorded with the same software on the same kind of device."""
    from adapter_conform.certification.packs.merging import merge_packs

    try:
        merged = merge_packs(parts, out)
    except ValueError as error:
        raise click.UsageError(f"--out: {error}") from error
    click.echo(f"{out}: {merged.name}, {len(merged.measurements)} measurements, digest {merged.digest}")


@command.command(context_settings=_SETTINGS)
@click.argument("first", type=_PACK)
@click.argument("second", type=_PACK)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.pass_context
def diff(context: click.Context, first: Path, second: Path, as_json: bool) -> None:
    """How far the trainings of SECOND lie from those of FIRST, beside FIRST's own spread."""
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.packs.summary import compared, difference_lines

    packs = [read_pack(path, check_recipes=False) for path in (first, second)]
    rows = compared(*packs)
    if as_json:
        click.echo(json.dumps([row.__dict__ for row in rows], indent=1))
    else:
        for line in difference_lines(packs[0], packs[1], rows):
            click.echo(line)
    context.exit(int(ExitCode.NOT_CONFORMANT if packs[0].digest != packs[1].digest else ExitCode.CONFORMANT))
