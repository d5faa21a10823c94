"""Trains a recipe on the device, with each fault named on the command line, and prints what acceptance says.

``python fault_rounds.py PACK RECIPE SCALE SEED FAULT...``; "healthy" is none. The last line is JSON:
fault -> [state, gates that failed].
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path


def main(pack_folder: str, recipe_id: str, scale: str, seed: str, *names: str) -> None:
    from adapter_conform.certification.acceptance import judge_measurement, state_of
    from adapter_conform.certification.acceptance.figures import is_inconclusive
    from adapter_conform.certification.digests import weights_digest
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.measuring import measure
    from adapter_conform.session import open_session
    from diffusion_faults import FAULTS as DIFFUSION_FAULTS
    from training_faults import FAULTS

    pack = read_pack(Path(pack_folder))
    (recipe,) = (one for one in recipes_of("III", (), scale, int(seed)) if one.id == recipe_id)
    weights = pack.weights(recipe.id)
    session = open_session("refchip", 0)
    found = {}
    for name in names:
        with nullcontext() if name == "healthy" else {**FAULTS, **DIFFUSION_FAULTS}[name](session.paddle):
            measurement = measure(session, recipe, "float32", weights, weights_digest(weights))
        figures = judge_measurement(recipe, measurement, pack.measurements)
        wrong = [one for one in figures if not one.passed and not is_inconclusive(one)]
        for one in wrong:
            print(f"{name}: {one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}")
        if measurement.error:
            print(f"{name}: {measurement.error}")
        found[name] = [state_of(figures).value, sorted({one.gate for one in wrong})]
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
