"""Runs inference on refchip for its logits alone, each time with a fault, and prints what acceptance says.

``python inference_rounds.py RECIPE:PRECISION:FAULT:WAYS...``; "healthy" is no fault, and the model runs the ways that
are named (``eager,served``). It answers no questions and bears no load, which saves time; what is missing then is
inconclusive. The last line is JSON: argument -> [state, gates that failed]. The pack is the release's sample.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from unittest import mock


def main(rounds: Sequence[str]) -> None:
    from adapter_conform.certification.acceptance import judge_measurement, state_of
    from adapter_conform.certification.acceptance.figures import is_inconclusive
    from adapter_conform.certification.digests import weights_digest
    from adapter_conform.certification.packs import builtin, read_pack
    from adapter_conform.certification.recipes import recipes_of
    from adapter_conform.certification.tasks.inference import measuring
    from adapter_conform.session import open_session
    from inference_faults import FAULTS

    pack = read_pack(builtin("sample"))
    recipes = {recipe.id: recipe for recipe in recipes_of("III", ("inference",), pack.scale, pack.seed)}
    session = open_session("refchip", 0)
    found = {}
    for words in rounds:
        name, precision, fault, ways = words.split(":")
        weights = pack.weights(name)
        with ExitStack() as spoiled:
            spoiled.enter_context(mock.patch.object(measuring, "WAYS", tuple(ways.split(","))))
            for part in ("_answers", "_serve"):
                spoiled.enter_context(mock.patch.object(measuring._Run, part))
            if fault != "healthy":
                spoiled.enter_context(FAULTS[fault](session.paddle))
            measurement = measuring.measure_inference(
                session, recipes[name], precision, weights, weights_digest(weights)
            )
        figures = judge_measurement(recipes[name], measurement, pack.measurements)
        if "eager" not in ways:  # whose passes are the steps of the measurement
            figures = [figure for figure in figures if figure.output != "steps missing"]
        for one in figures:
            mark = "" if one.passed else "!"
            print(f"{words}: {mark}{one.gate}, {one.output}: {one.value:.3g}, limit {one.limit:.3g}; {one.note}")
        if measurement.error:
            print(f"{words}: !error: {measurement.error}")
        wrong = {one.gate for one in figures if not one.passed and not is_inconclusive(one)}
        found[words] = [state_of(figures).value, sorted(wrong)]
    print(json.dumps(found))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
