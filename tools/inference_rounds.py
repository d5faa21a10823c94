"""Whether certification of inference passes a healthy device and finds every planted fault, seed by seed.

    python tools/inference_rounds.py --plugin refchip --seeds 5 --torch-python /opt/torch/bin/python --out rounds

At the scale "sample" it records a reference pack for every seed and certifies the inference of level III with it, every
model in every scheme; and with the pack of seed 0 it certifies one model in one scheme with each fault of
tests/faults/inference_faults.py planted. All of it is done by `adapter-conform`, as a user does it. What is done
already is not done again: after an interruption the same command goes on, and ``--seconds`` interrupts it between two
certifications. The tables that it prints are also in tables.md of the folder. Exit code: 0 when no certificate of a
healthy device is negative, every healthy run passes and every fault is found; 1 otherwise; 2 where a step could not be
done; 3 when ``--seconds`` interrupted it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.certification.recipes import recipes_of
from rounds import (
    CONFORMANT,
    INCONCLUSIVE,
    NOT_CONFORMANT,
    SCALE,
    Clock,
    Interrupted,
    certificate_of,
    certified,
    faulty_figures,
    parser_of,
    publish,
    recorded,
    records_of,
    row,
    table,
    wrong_figures,
)

REQUEST = ("--level", "III", "--task", "inference")
TUNED_VARIANTS, VARIANTS = "base", "base,sdpa,ulp,ties"
SEED = 0
"""Of the pack that faults are planted over."""


@dataclass(frozen=True)
class Planted:
    """One certification of a model in one scheme, with a fault."""

    fault: str
    """Of inference_faults.py."""
    scheme: str
    model: str = "llama3-70b"

    @property
    def case(self) -> str:
        return f"certification/{self.model}/{self.scheme}/inference"

    @property
    def name(self) -> str:
        return f"{self.fault}-{self.model}-{self.scheme}"


FAULTS = (
    Planted("wrong_scale_axis", "int8", "qwen2-14b"),
    Planted("wrong_scale_axis", "int4"),
    Planted("nibble_order", "int4"),
    Planted("activations_cut_off", "a8w8"),
    Planted("second_row_of_a_batch", "int4"),
    Planted("wrong_mask_of_the_second_sequence", "int4"),
    Planted("block_reused_too_early", "a8w8"),  # a8w8 is the model's first scheme, which has the checks of the engine
    Planted("off_by_one_after_a_hit", "a8w8"),
    Planted("seed_ignored", "a8w8"),
    Planted("one_wrong_scale", "int8", "sd"),
    Planted("second_picture_of_a_batch", "int8", "sd"),
    Planted("guidance_left_out", "int8", "sd"),
    Planted("sampler_a_step_late", "int8", "sd"),
)


def pack_of(options: argparse.Namespace, seed: int) -> Path:
    """Records what fine-tuning teaches the models that inference starts from, and then inference."""
    tuned, pack = Path(options.out, f"tuned-{seed}"), Path(options.out, f"pack-{seed}")
    starts = dict.fromkeys(one.starts_from for one in recipes_of("III", ("inference",), "sample", seed))
    chosen = [word for start in starts if start for word in ("--recipe", start)]
    precision = ("--precisions", "float32")
    recorded(tuned, seed, options.torch_python, "--variants", TUNED_VARIANTS, *precision, *chosen)
    further = (*REQUEST, "--variants", VARIANTS, *precision, "--weights", str(tuned.absolute()))
    recorded(pack, seed, options.torch_python, *further)
    return pack


def certified_seed(options: argparse.Namespace, seed: int) -> Path:
    """The bundle of a healthy device."""
    out = Path(options.out, f"seed-{seed}")
    request = ["--plugin", options.plugin, *REQUEST, *SCALE, "--jobs", str(options.jobs), "--seed", str(seed)]
    certified(out, [*request, "--reference", str(pack_of(options, seed))])
    return out


def seed_table(bundles: Sequence[Path]) -> tuple[list[str], bool]:
    """A column a seed, below it why a case did not pass; and whether all of them did."""
    found = [records_of(out) for out in bundles]
    verdicts = [certificate_of(out)["verdict"] for out in bundles]
    lines = table("Model", "Scheme", *(f"Seed {seed}" for seed in range(len(bundles))))
    reasons = []
    for recipe in recipes_of("III", ("inference",), "sample"):
        model = recipe.id.partition("/")[0]
        for scheme in recipe.precisions:
            records = [one[f"certification/{model}/{scheme}/inference"] for one in found]
            lines.append(row(model, scheme, *(record["state"] for record in records)))
            for seed, record in enumerate(records):
                if record["state"] != "passed":
                    reasons.append(row(seed, record["id"], "; ".join(faulty_figures(record)) or record["note"]))
    lines.append(row("certificate", "", *verdicts))
    if reasons:
        lines += ["", *table("Seed", "Case", "Why not"), *reasons]
    return lines, not reasons and "not conformant" not in verdicts


def fault_row(options: argparse.Namespace, planted: Planted) -> tuple[str, bool]:
    """The row of one fault, and whether certification finds it."""
    out = options.out / "faults" / planted.name
    request = ["--plugin", options.plugin, *REQUEST, *SCALE, "--seed", str(SEED), "-k", planted.case]
    request += ["--reference", str(pack_of(options, SEED))]
    code = certified(out, request, f"inference_faults:plant_{planted.fault}")
    record = records_of(out)[planted.case]
    fault = planted.fault.replace("_", " ")
    words = row(fault, planted.model, planted.scheme, record["state"], code, found_by(record))
    return words, (code, record["state"]) == (NOT_CONFORMANT, "failed")


def found_by(record: Mapping[str, Any]) -> str:
    """Gates with the ways that they failed in, ``logits (eager, static); check (serving cached)``."""
    ways: dict[str, dict[str, None]] = {}
    for one in wrong_figures(record):
        gate, _, way = one["gate"].partition(", ")
        ways.setdefault(gate, {})[way or one["output"]] = None
    return "; ".join(f"{gate} ({', '.join(names)})" for gate, names in ways.items())


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="cases at a time [1]")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), metavar="S", help="after these no further certification begins"
    )
    options = parser.parse_args()
    (options.out / "faults").mkdir(parents=True, exist_ok=True)
    clock = Clock(options.seconds)
    bundles, faults = [], []
    try:
        for seed in range(options.seeds):
            clock.check()
            bundles.append(certified_seed(options, seed))
        for planted in FAULTS:
            clock.check()
            faults.append(fault_row(options, planted))
    except Interrupted:
        print("interrupted; the same command goes on")
        return INCONCLUSIVE
    lines, healthy = seed_table(bundles)
    lines += ["", *table("Fault", "Model", "Scheme", "Case", "Exit code", "Found by"), *(words for words, _ in faults)]
    publish(options.out, lines)
    return CONFORMANT if healthy and all(right for _, right in faults) else NOT_CONFORMANT


if __name__ == "__main__":
    sys.exit(main())
