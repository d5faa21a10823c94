"""Subcommands of ``adapter-conform``: one file each, named like the command, that holds a click command ``command``.

``adapter-conform bench-serve`` is ``bench_serve.py``. A file is imported when its command is called
(or listed in the help).
"""

from __future__ import annotations

import importlib
import pkgutil

import click

__all__ = ["Commands"]


class Commands(click.Group):
    """A group whose commands are the modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
        return sorted(name.replace("_", "-") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        command.name = cmd_name  # else that of the function, in what is generated from the commands
        return command
