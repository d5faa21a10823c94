"""``adapter-conform record``: records a reference pack with PyTorch, here or on another machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.states import ExitCode

__all__ = ["command"]

_VARIABLE = "ADAPTER_TORCH_PYTHON"

_EPILOG = f"""\b
Examples:
  adapter-conform record --zipapp recorder.pyz          # one file, to be carried to the GPU machine; there:
      python recorder.pyz --device cuda --out pack
  adapter-conform record --device cuda --out pack --torch-python /opt/torch/bin/python
  adapter-conform record --device cpu --recipe llama1-13b/sft --out pack -- --variants base,rows
  adapter-conform record --device cuda --out pack --resume

\b
The interpreter needs torch, transformers and NumPy, and neither Paddle nor this package: --torch-python, else
{_VARIABLE}, else the one that runs this. What stands behind -- goes to the recorder (its options: python recorder.pyz
--help). Without --variants every training is repeated three times: how far the repetitions lie apart is what a device
is judged by.
Exit codes: 0 recorded, 2 usage error, 3 the recording ended early; what was recorded is kept, go on with --resume.
"""


@click.command(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="A pack of a CPU never stands for a GPU.")
@click.option("--out", type=click.Path(path_type=Path), metavar="PACK", help="Folder of the pack.")
@click.option(
    "--level", type=click.Choice(["I", "II", "III"]), default="III", show_default=True, help="Recipes up to it."
)
@click.option("--recipe", "recipes", multiple=True, metavar="ID", help="Only this one; may be repeated.")
@click.option("--scale", default="proxy", show_default=True, help="proxy, sample, full.")
@click.option("--resume", is_flag=True, help="Go on with the pack in --out.")
@click.option("--torch-python", metavar="PATH", envvar=_VARIABLE, help="An interpreter that has PyTorch.")
@click.option(
    "--zipapp",
    "archive",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the recorder as one file, and record nothing.",
)
@click.argument("further", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    context: click.Context,
    device: str | None,
    out: Path | None,
    level: str,
    recipes: tuple[str, ...],
    scale: str,
    resume: bool,
    torch_python: str | None,
    archive: Path | None,
    further: tuple[str, ...],
) -> None:
    """Trains and scores the certification's recipes with PyTorch, and writes what they gave as a reference pack."""
    if archive is not None:
        if device is not None or out is not None:
            raise click.UsageError("--zipapp only writes the recorder; give it --device and --out when you run it")
        _write(archive)
        click.echo(f"{archive}: run it with a Python that has torch, transformers and NumPy; --help tells how")
        return
    if device is None or out is None:
        raise click.UsageError("say with what to record and where: --device cuda --out PACK (or --zipapp FILE)")
    arguments = ["--device", device, "--out", str(out.absolute()), "--level", level, "--scale", scale]
    for recipe in recipes:
        arguments += ["--recipe", recipe]
    context.exit(_run(torch_python or sys.executable, [*arguments, *["--resume"] * resume, *further]))


def _write(archive: Path) -> None:
    from adapter_conform.certification.recorder.archive import write_archive

    try:
        write_archive(archive)
    except OSError as error:
        raise UsageProblem(f"{archive} cannot be written: {error.strerror or error}") from error


def _run(python: str, arguments: list[str]) -> int:
    """The recorder, always as the archive that is carried elsewhere, so that both are the same program."""
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        archive = Path(folder, "recorder.pyz")
        _write(archive)
        # This interpreter's packages are not for another one.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        try:
            done = subprocess.run([python, str(archive), *arguments], env=environment, cwd=folder, check=False)
        except OSError as error:
            raise UsageProblem(
                f"{python} cannot be run: {error.strerror or error}\n"
                f"Give an interpreter that has torch and transformers: --torch-python PATH, or {_VARIABLE}=PATH."
            ) from error
    if done.returncode in (ExitCode.CONFORMANT, ExitCode.USAGE_ERROR):
        return done.returncode
    raise ConformError(
        f"the recorder ended with {done.returncode}; what it had recorded is in --out, go on with --resume"
    )
