"""Whether certification passes a healthy device and finds every planted fault: seed by seed, fault by fault.

    python tools/certify_rounds.py --plugin refchip --seeds 5 --torch-python /opt/torch/bin/python --out rounds

At the scale "sample" it records a reference pack for every seed, certifies the training of level I with it, and
certifies pretraining with each fault of tests/faults/training_faults.py planted, against the pack that comes with the
release. All of it is done by `adapter-conform`, as a user does it. What is done already is not done again: after an
interruption the same command goes on. The tables that it prints are also in tables.md of the folder. Exit code: 0 when
every seed is conformant, every healthy run passes and every fault is found; 1 otherwise; 2 where a step could not be
done.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults"
SCALE = ("--scale", "sample")
TASKS = ("pretrain", "sft", "lora", "prefix", "dpo")
PRECISIONS = "float32,bfloat16"
VARIANTS = "base,sdpa,ulp"
CONFORMANT, NOT_CONFORMANT, USAGE_ERROR, INCONCLUSIVE = range(4)
OPEN = "inconclusive: "
"""Begins the note of a figure that failed for want of proof."""


@dataclass(frozen=True)
class Round:
    """One certification of a pretraining in float32."""

    fault: str = ""
    """Of training_faults.py; empty for none."""
    model: str = "llama1-13b"
    level: str = "I"
    cards: int = 1

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
)


def conform(*arguments: str, fault: str = "") -> int:
    """Runs ``adapter-conform`` with a fault in each of its workers; what it writes goes to the terminal."""
    environment = dict(os.environ)
    if fault:
        environment["ADAPTER_CONFORM_PRELOAD"] = f"training_faults:plant_{fault}"
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "adapter_conform", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def recorded(pack: Path, seed: int, torch_python: str) -> None:
    """A pack of ``seed``. Ends the program where the recorder failed."""
    done = pack.with_suffix(".recorded")
    if done.exists():
        return
    request = ["--device", "cpu", *SCALE, "--level", "I", "--out", str(pack), "--torch-python", torch_python]
    resume = ["--resume"] * (pack / "pack.json").exists()
    further = ["--seed", str(seed), "--variants", VARIANTS, "--precisions", PRECISIONS, "--leave-out-drawn"]
    further += ["--task", ",".join(TASKS)]
    code = conform("record", *request, *resume, "--", *further)
    if code != CONFORMANT:
        stop(f"the pack of seed {seed} could not be recorded (exit code {code})")
    done.touch()


def certified(out: Path, request: Sequence[str], fault: str = "") -> int:
    """Exit code of a certification into ``out``. Ends the program where there is no verdict."""
    # Beside the bundle, which holds nothing that is not its own; only a certification that came to its end has one.
    kept = out.with_suffix(".code")
    if not kept.exists():
        going_on = (out / "plan.json").exists()
        code = conform("certify", *(["--resume", str(out)] if going_on else [*request, "--out", str(out)]), fault=fault)
        if code not in (CONFORMANT, NOT_CONFORMANT, INCONCLUSIVE):
            stop(f"{out}: no verdict (exit code {code})")
        kept.write_text(str(code), encoding="utf-8")
    return int(kept.read_text(encoding="utf-8"))


def stop(why: str) -> None:
    print(f"{why}; the same command goes on", file=sys.stderr)
    sys.exit(USAGE_ERROR)


def certificate_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    return found


def seed_rows(options: argparse.Namespace, seed: int) -> tuple[list[str], bool]:
    """The row of one seed, what kept it from being conformant below it, and whether nothing did."""
    pack, out = options.out / f"pack-{seed}", options.out / f"seed-{seed}"
    recorded(pack, seed, options.torch_python)
    request = ["--plugin", options.plugin, "--level", "I", "--task", ",".join(TASKS), *SCALE]
    request += ["--seed", str(seed), "--reference", str(pack)]
    code = certified(out, request)
    certificate = certificate_of(out)
    tasks = {task["task"]: task for task in certificate["tasks"]}
    words = " | ".join(tasks[name]["verdict"] for name in TASKS)
    rows = [f"| {seed} | {words} | {certificate['verdict']} |"]
    reasons = [f"{name}: {reason}" for name in TASKS for reason in tasks[name]["reasons"]]
    return [*rows, *(f"| {seed} | {reason} |" for reason in reasons)], code == CONFORMANT


def fault_row(options: argparse.Namespace, planned: Round) -> tuple[str, bool]:
    """The row of one fault, and whether certification says what it must."""
    out = options.out / "faults" / planned.name
    request = ["--plugin", options.plugin, "--level", planned.level, "--task", "pretrain", *SCALE]
    request += ["-k", planned.case, *(["--cards", str(planned.cards)] if planned.cards > 1 else [])]
    code = certified(out, request, planned.fault)
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    (record,) = (found for found in map(json.loads, lines) if found["id"] == planned.case)
    wrong = [one for one in record["errors"] if not one["passed"] and not one["note"].startswith(OPEN)]
    gates = ", ".join(dict.fromkeys(one["gate"] for one in wrong))
    # Pretraining alone is never a whole level: without a fault the case passes and the level stays open.
    wanted = (NOT_CONFORMANT, "failed") if planned.fault else (INCONCLUSIVE, "passed")
    fault = planned.fault.replace("_", " ") or "none"
    row = f"| {fault} | {planned.model} | {planned.cards} | {record['state']} | {code} | {gates} |"
    return row, (code, record["state"]) == wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N-1 [5]")
    parser.add_argument("--torch-python", required=True, metavar="PATH", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    (options.out / "faults").mkdir(parents=True, exist_ok=True)
    seeds = [seed_rows(options, seed) for seed in range(options.seeds)]
    faults = [fault_row(options, planned) for planned in ROUNDS]
    table = ["| Seed | Pretraining | SFT | LoRA | Prefix | DPO | Level I |", "|" + " --- |" * 7]
    table += [rows[0] for rows, _ in seeds]
    reasons = [row for rows, _ in seeds for row in rows[1:]]
    if reasons:
        table += ["", "| Seed | Why not |", "|" + " --- |" * 2, *reasons]
    table += ["", "| Fault | Model | Cards | Case | Exit code | Found by |", "|" + " --- |" * 6]
    table += [row for row, _ in faults]
    text = "\n".join(table) + "\n"
    print(f"\n{text}", end="")
    (options.out / "tables.md").write_text(text, encoding="utf-8")
    return CONFORMANT if all(right for _, right in [*seeds, *faults]) else NOT_CONFORMANT


if __name__ == "__main__":
    sys.exit(main())
