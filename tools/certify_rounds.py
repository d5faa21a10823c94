"""Whether certification passes a healthy device and finds every planted fault: seed by seed, fault by fault.

    python tools/certify_rounds.py --plugin refchip --seeds 5 --torch-python /opt/torch/bin/python --out rounds

At the scale "sample" it records a reference pack for every seed, certifies the training of level I with it, and
certifies pretraining with each fault of tests/faults/training_faults.py and diffusion_faults.py planted, against the
pack that comes with the release. All of it is done by `adapter-conform`, as a user does it. What is done already is not
done again: after an interruption the same command goes on. The tables that it prints are also in tables.md of the
folder. Exit code: 0 when every seed is conformant, every healthy run passes and every fault is found; 1 otherwise; 2
where a step could not be done.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from rounds import (
    CONFORMANT,
    INCONCLUSIVE,
    NOT_CONFORMANT,
    SCALE,
    certificate_of,
    certified,
    failed_gates,
    parser_of,
    publish,
    recorded,
    records_of,
    row,
    table,
)

TASKS = ("pretrain", "sft", "lora", "prefix", "dpo")
PRECISIONS = "float32,bfloat16"
VARIANTS = "base,sdpa,ulp"
SD_FAULTS = (
    "group_norm_epsilon",
    "next_time_embedding",
    "bfloat16_convolution",
    "missing_block_gradient",
    "doubled_gradient",
    "lost_row_gradient",
)


@dataclass(frozen=True)
class Round:
    """One certification of a pretraining in float32."""

    fault: str = ""
    """Empty for none."""
    model: str = "llama1-13b"
    level: str = "I"
    cards: int = 1
    module: str = "training_faults"
    """Of tests/faults."""

    @property
    def plants(self) -> str:
        return f"{self.module}:plant_{self.fault}" if self.fault else ""

    @property
    def case(self) -> str:
        return f"certification/{self.model}/float32/pretrain"

    @property
    def name(self) -> str:
        return f"{self.fault or 'healthy'}-{self.model}-{self.cards}"


ROUNDS = (
    Round(),
    Round("zeroed_embedding_row"),
    Round("bfloat16_attention"),
    Round("dropped_weight_decay"),
    Round("wrong_epsilon"),
    Round("missing_layer_gradient"),
    Round("loss_scale_off"),
    Round("lost_card_gradient"),
    Round(cards=2),
    Round("lost_second_card", cards=2),
    Round(model="qwen2-57b-a14b", level="III"),
    Round("unmended_router", "qwen2-57b-a14b", "III"),
    Round(model="sd", level="II"),
    *(Round(fault, "sd", "II", module="diffusion_faults") for fault in SD_FAULTS),
)


def seed_rows(options: argparse.Namespace, seed: int) -> tuple[list[str], bool]:
    """The row of one seed, what kept it from being conformant below it, and whether nothing did."""
    pack, out = options.out / f"pack-{seed}", options.out / f"seed-{seed}"
    further = ["--level", "I", "--task", ",".join(TASKS), "--variants", VARIANTS, "--precisions", PRECISIONS]
    recorded(pack, seed, options.torch_python, *further)
    request = ["--plugin", options.plugin, "--level", "I", "--task", ",".join(TASKS), *SCALE]
    request += ["--seed", str(seed), "--reference", str(pack)]
    code = certified(out, request)
    certificate = certificate_of(out)
    tasks = {task["task"]: task for task in certificate["tasks"]}
    rows = [row(seed, *(tasks[name]["verdict"] for name in TASKS), certificate["verdict"])]
    reasons = [f"{name}: {reason}" for name in TASKS for reason in tasks[name]["reasons"]]
    return [*rows, *(row(seed, reason) for reason in reasons)], code == CONFORMANT


def fault_row(options: argparse.Namespace, planned: Round) -> tuple[str, bool]:
    """The row of one fault, and whether certification says what it must."""
    out = options.out / "faults" / planned.name
    request = ["--plugin", options.plugin, "--level", planned.level, "--task", "pretrain", *SCALE]
    request += ["-k", planned.case, *(["--cards", str(planned.cards)] if planned.cards > 1 else [])]
    code = certified(out, request, planned.plants)
    record = records_of(out)[planned.case]
    gates = ", ".join(failed_gates(record))
    # Pretraining alone is never a whole level: without a fault the case passes and the level stays open.
    wanted = (NOT_CONFORMANT, "failed") if planned.fault else (INCONCLUSIVE, "passed")
    fault = planned.fault.replace("_", " ") or "none"
    words = row(fault, planned.model, planned.cards, record["state"], code, gates)
    return words, (code, record["state"]) == wanted


def main() -> int:
    options = parser_of(__doc__).parse_args()
    (options.out / "faults").mkdir(parents=True, exist_ok=True)
    seeds = [seed_rows(options, seed) for seed in range(options.seeds)]
    faults = [fault_row(options, planned) for planned in ROUNDS]
    lines = [*table("Seed", "Pretraining", "SFT", "LoRA", "Prefix", "DPO", "Level I"), *(rows[0] for rows, _ in seeds)]
    reasons = [words for rows, _ in seeds for words in rows[1:]]
    if reasons:
        lines += ["", *table("Seed", "Why not"), *reasons]
    lines += ["", *table("Fault", "Model", "Cards", "Case", "Exit code", "Found by"), *(words for words, _ in faults)]
    publish(options.out, lines)
    return CONFORMANT if all(right for _, right in [*seeds, *faults]) else NOT_CONFORMANT


if __name__ == "__main__":
    sys.exit(main())
