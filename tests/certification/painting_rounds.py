"""Runs inference of Stable Diffusion on refchip, healthy and with faults, and prints what acceptance says.

``python painting_rounds.py PACK FAULT[:WAYS]...``; "healthy" is no fault, and with WAYS (``eager``) the model runs in
those alone; what is missing then is inconclusive. The last line is JSON: argument -> [state, gates that failed].

Exporting takes most of the time: the programs of the first round serve all. A fault of weights shows in eager alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock


def main(pack_folder: str, *rounds: str) -> None:
    from adapter_conform.certification.acceptance import judge_measurement, state_of
    from adapter_conform.certification.acceptance.figures import is_inconclusive
    from adapter_conform.certification.digests import weights_digest
    from adapter_conform.certification.packs import read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.inference import painting
    from adapter_conform.certification.tasks.inference.measuring import measure_inference
    from adapter_conform.certification.tasks.inference.networks import Networks
    from adapter_conform.session import open_session
    from inference_faults import FAULTS

    pack = read_pack(Path(pack_folder))
    recipes = recipes_of("II", ("inference",), pack.scale, pack.seed)
    (recipe,) = (one for one in recipes if one.model == "SD")
    weights, session, found, programs = pack.weights(recipe.id), open_session("refchip", 0), {}, {}

    def networks(place: Any, recipe: Any, prepared: Any, way: str) -> Any:
        if way == "static" and programs:
            programs[way].passes = dict.fromkeys(programs[way].passes, 0)
            return programs[way]
        made = Networks(place, recipe, prepared, way)
        programs.update({way: made} if way == "static" else {})
        return made

    for words in rounds:
        began, (name, _, ways) = time.monotonic(), words.partition(":")
        planted = nullcontext() if name == "healthy" else FAULTS[name](session.paddle)
        shown = tuple(ways.split(",")) if ways else painting.WAYS
        exported = mock.patch.object(painting, "Networks", networks)
        with planted, exported, mock.patch.object(painting, "WAYS", shown):
            run = measure_inference(session, recipe, "int8", weights, weights_digest(weights), pack.measurements)
        figures = judge_measurement(recipe, run, pack.measurements)
        for one in figures:
            mark = "" if one.passed else "!"
            print(f"{words}: {mark}{one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}; {one.note}")
        wrong = {one.gate for one in figures if not one.passed and not is_inconclusive(one)}
        found[words] = [state_of(figures).value, sorted(wrong)]
        print(f"{words}: {found[words]} after {time.monotonic() - began:.0f} s", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
