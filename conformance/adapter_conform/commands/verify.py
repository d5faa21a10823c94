"""``adapter-conform verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from adapter_conform.states import ExitCode

__all__ = ["command"]

_EPILOG = """\b
Examples:
  adapter-conform verify level-1 --public-key acme.key.pub
  adapter-conform verify level-1 --public-key acme.key.pub --reference gpu-pack

\b
Works offline and needs neither Paddle nor the device. Checks the signature and the digest of every file, then
computes every figure, every state and the verdict again from the raw records of the bundle.
What it cannot find: raw records that the holder of the key has made up as a whole.

\b
Exit codes:
  0  the bundle is what it says, whatever its verdict
  1  something is wrong with it; every finding is a line
  2  usage error: no bundle, no key
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--public-key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="KEY.pub",
    help="Of the one who signed, see `adapter-conform keygen`.",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, path_type=Path),
    metavar="PACK",
    help="The pack that the bundle should have been held against.",
)
@click.pass_context
def command(context: click.Context, bundle: Path, public_key: Path, reference: Path | None) -> None:
    """Checks a certificate: that nobody changed it, and that its verdict follows from its raw records."""
    from adapter_conform.certification.bundle import verify

    console = Console(highlight=False)
    findings = verify(bundle, public_key, reference)
    for finding in findings:
        console.print(Text(f"{finding.kind}: {finding}", style="red"), soft_wrap=True)
    if findings:
        console.print(f"{len(findings)} findings: the bundle is not what it says", soft_wrap=True)
        context.exit(int(ExitCode.NOT_CONFORMANT))
    certificate = json.loads((bundle / "certificate.json").read_bytes())
    console.print(Text(f"signature, digests and verdict hold: {certificate['title']}; {certificate['reference']}"))
