"""What the commands that start runs have in common on the command line."""

from __future__ import annotations

from collections.abc import Collection

import click
from click.core import ParameterSource

from adapter_conform.plan import RunOptions

__all__ = ["list_plan", "refuse_beside_resume"]


def refuse_beside_resume(context: click.Context, free: Collection[str]) -> None:
    """Raises UsageError for an option, other than those in ``free``, that would change what the run is about."""
    for option in context.command.params:
        given = option.name is not None and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        if given and option.name not in free:
            raise click.UsageError(
                f"{option.opts[-1]} cannot be given with --resume: the run goes on with the options it was started with"
            )


def list_plan(options: RunOptions) -> None:
    """Prints the planned cases, a line each."""
    from adapter_conform.run import list_cases

    plan = list_cases(options)
    for planned in plan.cases:
        reason = "" if planned.case.not_run is None else f"\tnot run: {planned.case.not_run}"
        click.echo(planned.case.id + reason)
    click.echo(f"{len(plan.cases)} of {plan.available} cases", err=True)
