"""Runs inference recipes on the device, each with a fault, and prints what acceptance says.

``python inference_rounds.py PACK SCALE SEED RECIPE:PRECISION:FAULT[:WAYS]... [--plugin NAME] [--logits-alone]``;
"healthy" is no fault. With WAYS (``eager,served``) the model runs those ways alone, and with ``--logits-alone`` it
answers no questions and bears no load, which saves time; what is missing then is inconclusive. The last line is JSON:
argument -> [state, gates that failed].
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest import mock


def main(
    plugin: str, pack_folder: str, scale: str, seed: int, rounds: Sequence[str], logits_alone: bool = False
) -> None:
    from adapter_conform.certification.acceptance import judge_measurement, state_of
    from adapter_conform.certification.acceptance.figures import is_inconclusive
    from adapter_conform.certification.digests import weights_digest
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.inference import measuring
    from adapter_conform.session import open_session
    from inference_faults import FAULTS

    pack = read_pack(Path(pack_folder))
    recipes = {recipe.id: recipe for recipe in recipes_of("III", ("inference",), scale, seed)}
    session = open_session(plugin, 0)
    found = {}
    for words in rounds:
        start = time.monotonic()
        name, precision, fault, only = (*words.split(":"), "")[:4]
        recipe = recipes[name]
        weights = pack.weights(recipe.id)
        ways = tuple(only.split(",")) if only else measuring.WAYS
        planted = nullcontext() if fault == "healthy" else FAULTS[fault](session.paddle)
        with ExitStack() as spoiled:
            spoiled.enter_context(mock.patch.object(measuring, "WAYS", ways))
            spoiled.enter_context(planted)
            if logits_alone:
                for part in ("_answers", "_serve"):
                    spoiled.enter_context(mock.patch.object(measuring._Run, part))
            measurement = measuring.measure_inference(session, recipe, precision, weights, weights_digest(weights))
        figures = judge_measurement(recipe, measurement, pack.measurements)
        if "eager" not in ways:  # whose passes are the steps of the measurement
            figures = [figure for figure in figures if figure.output != "steps missing"]
        wrong = [one for one in figures if not one.passed and not is_inconclusive(one)]
        for one in figures:
            mark = "" if one.passed else "!"
            print(f"{words}: {mark}{one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}; {one.note}")
        if measurement.error:
            print(f"{words}: !error: {measurement.error}")
        found[words] = [state_of(figures).value, sorted({one.gate for one in wrong})]
        print(f"{words}: {found[words][0]} after {time.monotonic() - start:.0f} s", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plugin", default="refchip")
    for word in ("pack", "scale"):
        parser.add_argument(word)
    parser.add_argument("seed", type=int)
    parser.add_argument("rounds", nargs="+", metavar="RECIPE:PRECISION:FAULT[:WAYS]")
    parser.add_argument("--logits-alone", action="store_true")
    asked = parser.parse_args()
    main(asked.plugin, asked.pack, asked.scale, asked.seed, asked.rounds, asked.logits_alone)
    sys.stdout.flush()
    os._exit(0)
