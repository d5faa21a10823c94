"""Trains a recipe on the device, with each fault named on the command line, and prints what acceptance says.

``python fault_rounds.py PACK RECIPE SCALE SEED FAULT... [--cards N] [--plugin NAME] [--precision P]``; "healthy" is
none. The last line is JSON: fault -> [state, gates that failed]. On several cards the fault is planted in the process
of each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path


def main(given: argparse.Namespace) -> None:
    from adapter_conform.certification.acceptance import judge_measurement, state_of
    from adapter_conform.certification.acceptance.figures import is_inconclusive
    from adapter_conform.certification.digests import weights_digest
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.measuring import measure
    from adapter_conform.certification.tasks.sharing import measure_shared
    from adapter_conform.session import open_session
    from diffusion_faults import FAULTS as DIFFUSION_FAULTS
    from training_faults import FAULTS

    pack, precision = read_pack(Path(given.pack)), given.precision
    (recipe,) = (one for one in recipes_of("III", (), given.scale, given.seed) if one.id == given.recipe)
    weights = pack.weights(recipe.id)
    session = open_session(given.plugin, 0)
    found = {}
    for name in given.faults:
        if given.cards > 1:
            with preloaded(name):
                measurement = measure_shared(session, recipe, precision, pack, given.cards)
        else:
            with nullcontext() if name == "healthy" else {**FAULTS, **DIFFUSION_FAULTS}[name](session.paddle):
                measurement = measure(session, recipe, precision, weights, weights_digest(weights))
        figures = judge_measurement(recipe, measurement, pack.measurements)
        wrong = [one for one in figures if not one.passed and not is_inconclusive(one)]
        for one in figures if name == "healthy" else wrong:
            print(f"{name}: {one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}")
        if measurement.error:
            print(f"{name}: {measurement.error}")
        found[name] = [state_of(figures).value, sorted({one.gate for one in wrong})]
    print(json.dumps(found))


@contextmanager
def preloaded(name: str) -> Iterator[None]:
    """Processes that are started meanwhile plant the fault."""
    from adapter_conform.supervisor.preload import PRELOAD_VARIABLE

    if name != "healthy":
        os.environ[PRELOAD_VARIABLE] = f"training_faults:plant_{name}"
    try:
        yield
    finally:
        os.environ.pop(PRELOAD_VARIABLE, None)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    parser = argparse.ArgumentParser(description=__doc__)
    for word in ("pack", "recipe", "scale"):
        parser.add_argument(word)
    parser.add_argument("seed", type=int)
    parser.add_argument("faults", nargs="+")
    parser.add_argument("--cards", type=int, default=1)
    parser.add_argument("--plugin", default="refchip")
    parser.add_argument("--precision", default="float32")
    main(parser.parse_args())
    sys.stdout.flush()
    os._exit(0)
