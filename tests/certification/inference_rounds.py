"""Runs inference recipes on the device, each with a fault, and prints what acceptance says.

``python inference_rounds.py PACK SCALE SEED RECIPE:PRECISION:FAULT[:WAY]...``; "healthy" is none. With a WAY the model
runs that way alone, which saves the time of the others. The last line is JSON: argument -> [state, gates that failed].
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest import mock


def main(pack_folder: str, scale: str, seed: str, *rounds: str) -> None:
    from adapter_conform.certification.acceptance import judge_measurement, state_of
    from adapter_conform.certification.acceptance.figures import is_inconclusive
    from adapter_conform.certification.digests import weights_digest
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.inference import measuring
    from adapter_conform.session import open_session
    from inference_faults import FAULTS

    pack = read_pack(Path(pack_folder))
    recipes = {recipe.id: recipe for recipe in recipes_of("III", ("inference",), scale, int(seed))}
    session = open_session("refchip", 0)
    found = {}
    for words in rounds:
        name, precision, fault, only = (*words.split(":"), "")[:4]
        recipe = recipes[name]
        weights = pack.weights(recipe.id)
        alone = mock.patch.object(measuring, "WAYS", (only,)) if only else nullcontext()
        with alone, nullcontext() if fault == "healthy" else FAULTS[fault](session.paddle):
            measurement = measuring.measure_inference(session, recipe, precision, weights, weights_digest(weights))
        figures = judge_measurement(recipe, measurement, pack.measurements)
        wrong = [one for one in figures if not one.passed and not is_inconclusive(one)]
        for one in figures:
            mark = "" if one.passed else "!"
            print(f"{words}: {mark}{one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}; {one.note}")
        found[words] = [state_of(figures).value, sorted({one.gate for one in wrong})]
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
