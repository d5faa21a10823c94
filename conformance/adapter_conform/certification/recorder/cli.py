"""The recorder's command line: standard library only until a recording begins."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from adapter_conform.certification.recorder.conditions import VARIANTS, variants_of

if TYPE_CHECKING:
    from adapter_conform.certification.recipes import Recipe

__all__ = ["main"]

_NEEDED = ("torch", "transformers", "numpy", "safetensors")

_EPILOG = """examples:
  python adapter-conform-recorder.pyz --device cuda --out pack
  python adapter-conform-recorder.pyz --device cuda --out pack --resume          # after an interruption
  python adapter-conform-recorder.pyz --device cuda --out pack --operators cases.npz --resume
  python adapter-conform-recorder.pyz --device cuda --task inference --weights pack --out inference
  python adapter-conform-recorder.pyz --device cpu --recipe llama1-13b/sft --variants base,rows --out small

Needs torch, transformers (4.57 or later, 5 too) and NumPy; no Paddle, no internet. The folder is a pack after every
training: `adapter-conform reference show PACK`, `adapter-conform certify --reference PACK`.
Exit codes: 0 recorded, 1 a training failed (what was recorded is kept), 2 usage error.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adapter-conform-recorder",
        description="Trains and scores the certification's recipes with PyTorch and writes a reference pack.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), required=True, help="a pack of a CPU never stands for a GPU"
    )
    parser.add_argument("--out", type=Path, metavar="PACK", help="folder, created if missing")
    parser.add_argument("--level", choices=("I", "II", "III"), default="III", help="recipes up to this one [III]")
    parser.add_argument("--task", default="", metavar="NAMES", help="only these, joined by commas")
    parser.add_argument("--recipe", action="append", default=[], metavar="ID", help="only this one; may be repeated")
    parser.add_argument("--scale", default="proxy", help="proxy, sample, full [proxy]")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data [0]")
    parser.add_argument("--precisions", default="float32,bfloat16", metavar="NAMES", help="[float32,bfloat16]")
    parser.add_argument(
        "--variants", metavar="NAMES", help=f"repetitions, of {', '.join(VARIANTS)} [those that fit the device]"
    )
    parser.add_argument(
        "--operators", type=Path, metavar="CASES", help="also record the errors of operators on these cases (.npz)"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="PACK", help="take the weights that recipes start from out of this pack"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of PyTorch on the host [1]")
    parser.add_argument("--resume", action="store_true", help="go on with the pack in --out")
    parser.add_argument(
        "--leave-out-drawn",
        action="store_true",
        help="do not store drawn weights: the reader draws them again, and holds them to the digest that is recorded",
    )
    parser.add_argument("--list", action="store_true", help="print the recipes and record nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        code = _run(parser, options)
    except KeyboardInterrupt:
        print("interrupted; go on with --resume", file=sys.stderr, flush=True)
        code = 1
    sys.stdout.flush()
    # PyTorch's threads have nothing to say at the end, and some builds hang or crash in their teardown.
    os._exit(code)


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"{sys.executable} has no {', '.join(missing)}: the recorder needs {', '.join(_NEEDED)}")
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
    if options.out is None and not options.list:
        parser.error("say where to record: --out PACK")
    recipes = _chosen(parser, options)
    precisions = _names(parser, "--precisions", options.precisions, ("float32", "bfloat16"))
    variants = _names(parser, "--variants", options.variants or ",".join(variants_of(options.device)), tuple(VARIANTS))
    if variants[0] != "base":
        parser.error("--variants: the first is base, which the others are repetitions of")
    if options.threads < 1:
        parser.error("--threads: at least 1")
    from adapter_conform.certification.recorder import session

    ordered = session.in_order(recipes, options.weights is not None)
    if options.list:
        for recipe in ordered:
            print(f"{recipe.id:28} {recipe.schedule.steps} steps, {', '.join(recipe.precisions)}")
        return 0
    request = session.Request(
        ordered,
        options.device,
        precisions,
        variants,
        options.threads,
        options.out,
        options.resume,
        None if options.operators is None else options.operators.absolute(),
        None if options.weights is None else options.weights.absolute(),
        not options.leave_out_drawn,
    )
    try:
        session.record(request, lambda words: print(words, flush=True))
    except session.RecordingError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _chosen(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[Recipe]:
    from adapter_conform.certification.recipes import all_recipes, recipes_of

    try:
        tasks = [name for name in options.task.split(",") if name]
        recipes = recipes_of(options.level, tasks, options.scale, options.seed)
    except ValueError as error:
        parser.error(str(error))
    known = {recipe.id: recipe for recipe in all_recipes(options.scale, options.seed)}
    unknown = [name for name in options.recipe if name not in known]
    if unknown:
        parser.error(f"--recipe {', '.join(unknown)}: there are {', '.join(known)}")
    return [known[name] for name in options.recipe] if options.recipe else list(recipes)


def _names(parser: argparse.ArgumentParser, option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        parser.error(f"{option} {text}: there are {', '.join(known)}")
    return names
