"""How far training with Paddle on the CPU lies from a reference pack, beside the reference's own spread.

    python tools/measure_parity.py --reference conformance/references/cpu-proxy --steps 200

Needs Paddle and PaddleNLP, no device. The table in docs/reference-packs.md is what it prints.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import Pack, read_pack
from adapter_conform.certification.packs.summary import error_of_means, spread_of
from adapter_conform.certification.recipes import Recipe, all_recipes
from adapter_conform.certification.tasks.descent import Trainer
from adapter_conform.certification.tasks.measuring import task_of
from adapter_conform.certification.tasks.workplace import Workplace

COLUMNS = "| recipe | steps | loss | spread | gradient norm | validation loss | same answers | seconds |"


def measured(recipe: Recipe, pack: Pack, steps: int) -> tuple[Measurement, float]:
    """The first ``steps`` of the training in float32, and all of its scoring where that is the whole of it."""
    place = Workplace(paddle, "cpu")
    found = Measurement(recipe.id, recipe.digest, "float32", "base")
    start = time.monotonic()
    trainer = Trainer(place, recipe, task_of(place, recipe, pack.weights(recipe.id)), found)
    trainer.run(range(min(steps, recipe.schedule.steps)))
    if steps >= recipe.schedule.steps:
        found.items = trainer.task.answer()
    return found, time.monotonic() - start


def row(recipe: Recipe, pack: Pack, steps: int) -> str:
    references = pack.of(recipe.id, "float32")
    found, seconds = measured(recipe, pack, steps)
    count, base = len(found.losses), references[0]
    for reference in references:
        reference.losses = reference.losses[:count]
    norms = np.abs(np.array(found.gradient_norms) / np.array(base.gradient_norms[:count]) - 1).max()
    return (
        f"| {recipe.id} | {count} | {error_of_means(base.losses, found.losses):.1e} | {spread_of(references):.1e} "
        f"| {norms:.1e} | {validation(base, found)} | {answers(base, found)} | {seconds:.0f} |"
    )


def validation(base: Measurement, found: Measurement) -> str:
    common = base.validation_losses.keys() & found.validation_losses.keys()
    differences = [abs(base.validation_losses[step] - found.validation_losses[step]) for step in common]
    return f"{max(differences):.1e}" if differences else "-"


def answers(base: Measurement, found: Measurement) -> str:
    """Share of equal greedy answers; of pairs, the largest difference of a log probability ratio."""
    if not found.items:
        return "-"
    pairs: list[tuple[Any, Any]] = list(zip(base.items, found.items, strict=True))
    if found.items[0].answer:
        return f"{np.mean([one.answer == other.answer for one, other in pairs]):.4f}"
    differences = [abs(one.figures[key] - other.figures[key]) for one, other in pairs for key in ("chosen", "rejected")]
    return f"ratios to {max(differences):.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, metavar="PACK")
    parser.add_argument("--recipe", action="append", default=[], metavar="ID", help="only this one; may be repeated")
    parser.add_argument("--steps", type=int, default=10**9, help="of each training [all]")
    options = parser.parse_args()
    paddle.set_device("cpu")
    pack = read_pack(options.reference)
    print(f"Paddle {paddle.__version__} on the CPU against {pack.name} ({pack.label})\n")
    print(COLUMNS + "\n" + "| --- " * 8 + "|", flush=True)
    for recipe in all_recipes(pack.scale, pack.seed):
        chosen = not options.recipe or recipe.id in options.recipe
        trains = not recipe.reference_only and recipe.task != "inference"
        if chosen and trains and pack.of(recipe.id, "float32"):
            print(row(recipe, pack, options.steps), flush=True)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
