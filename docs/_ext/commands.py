"""Help of click commands is plain text for a terminal; here it is kept from being read as reStructuredText."""

from __future__ import annotations

import inspect
import re
from typing import Any

import click
from sphinx.application import Sphinx


def plain(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Stars are stars, and the default of an option that is a path is shown as such."""
    lines[:] = [
        re.sub(r"PosixPath\('(.*)'\)", r"'\1'", line) if "``" in line else re.sub(r"(?<!\*)\*(?!\*)", r"\*", line)
        for line in lines
    ]


def verbatim(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Examples and tables keep their lines."""
    text = inspect.cleandoc((context.command.epilog or "").replace("\b\n", ""))
    if text:
        lines[:] = [".. code-block:: text", "", *("   " + line for line in text.splitlines()), ""]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("sphinx-click-process-description", plain)
    app.connect("sphinx-click-process-options", plain)
    app.connect("sphinx-click-process-epilog", verbatim)
    return {"parallel_read_safe": True}
