"""``adapter-conform keygen``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform keygen --out acme.key
  adapter-conform certify --plugin acme --level I --key acme.key --out level-1
  adapter-conform verify level-1 --public-key acme.key.pub

\b
KEY is readable by its owner alone and stays with you; KEY.pub goes to everyone who is to verify your bundles.
Exit codes: 0 written; 2 a file of that name exists, or the folder cannot be written.
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="KEY", help="New file.")
def command(out: Path) -> None:
    """Makes an ed25519 key to sign certificates with: writes KEY and KEY.pub."""
    from adapter_conform.certification.bundle.keys import key_id, make_keys, read_public

    public = make_keys(out)
    click.echo(f"{out}: keep it secret\n{public}: hand it out\nkey id {key_id(read_public(public))[:16]}")
