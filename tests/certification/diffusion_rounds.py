"""Stable Diffusion before and in its first step on the device, with each fault named on the command line.

``python diffusion_rounds.py PACK RECIPE FAULT...``; "healthy" is none. The last line is JSON: fault -> gates that
failed, of those which need no more than one step. A whole training is fault_rounds.py.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

JUDGED = ("network alone", "gradients", "first loss")


def main(pack_folder: str, recipe_id: str, *names: str) -> None:
    from adapter_conform.certification.acceptance import judge_measurement
    from adapter_conform.certification.arrays import as_text
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.descent import Trainer
    from adapter_conform.certification.tasks.measuring import blank_measurement, task_of
    from adapter_conform.certification.tasks.workplace import Workplace
    from adapter_conform.session import open_session
    from diffusion_faults import FAULTS

    pack = read_pack(Path(pack_folder))
    (recipe,) = (one for one in recipes_of("II", (), "sample") if one.id == recipe_id)
    weights, session = pack.weights(recipe.id), open_session("refchip", 0)
    place, found = Workplace(session.paddle, session.device), {}
    for name in names:
        run = blank_measurement(recipe, "float32", "")
        with nullcontext() if name == "healthy" else FAULTS[name](session.paddle):
            trainer = Trainer(place, recipe, task_of(place, recipe, weights), run)
            run.arrays = {part: as_text(array) for part, array in trainer.task.probe().items()}
            trainer.run(range(1))
        figures = [one for one in judge_measurement(recipe, run, pack.measurements) if one.gate in JUDGED]
        assert {one.gate for one in figures} == set(JUDGED), figures
        for one in figures:
            print(f"{name}: {one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}")
        found[name] = sorted({f"{one.gate}: {one.output}" for one in figures if not one.passed})
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
