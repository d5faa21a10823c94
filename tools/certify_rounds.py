"""Whether certification passes a healthy device and finds every planted fault: seed by seed, fault by fault.

    python tools/certify_rounds.py --plugin refchip --seeds 5 --torch-python /opt/torch/bin/python --out rounds

At the scale "sample" it records a reference pack for every seed, certifies level I with it, and then trains with each
fault of tests/faults/training_faults.py, and of diffusion_faults.py on Stable Diffusion's SFT. What is done already is
not done again: after an interruption the same command goes on. The tables in docs/certifying-training.md are what it
prints. Exit code: 0 when every seed is conformant and every fault is found, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAULTS_FOLDER = ROOT / "tests" / "faults"
ROUNDS = ROOT / "tests" / "certification" / "fault_rounds.py"
sys.path.insert(0, str(FAULTS_FOLDER))

from diffusion_faults import OF_NETWORKS, OF_TRAINING  # noqa: E402
from training_faults import ON_ONE_CARD  # noqa: E402

LLAMA, MIXTURE = "llama1-13b/pretrain", "qwen2-57b-a14b/pretrain"
FAULTS = (
    (LLAMA, 1, ("healthy", *ON_ONE_CARD)),
    (LLAMA, 2, ("healthy", "lost_second_card")),
    (MIXTURE, 1, ("healthy",)),
    (MIXTURE, 1, ("unmended_router",)),
    ("sd/sft", 1, ("healthy", *OF_NETWORKS, *OF_TRAINING)),
)
"""Recipe, cards, faults of one process. The router's has to be planted before any mixture is built."""
PRECISIONS = "float32,bfloat16"
VARIANTS = "base,sdpa,ulp"


def conform(*arguments: str) -> int:
    """Runs ``adapter-conform``; what it writes goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "adapter_conform", *arguments], check=False).returncode


def recorded(pack: Path, seed: int, torch_python: str) -> None:
    """Raises SystemExit where the recorder failed."""
    if (pack / "finished").exists():
        return
    further = ["--seed", str(seed), "--variants", VARIANTS, "--precisions", PRECISIONS, "--leave-out-drawn"]
    resume = ["--resume"] if (pack / "pack" / "pack.json").exists() else []
    request = ["--device", "cpu", "--scale", "sample", "--level", "I", "--out", str(pack / "pack"), *resume]
    pack.mkdir(parents=True, exist_ok=True)
    if conform("record", *request, "--torch-python", torch_python, "--", *further) != 0:
        sys.exit(f"the pack of seed {seed} could not be recorded; the same command goes on")
    (pack / "finished").touch()


def certified(plugin: str, pack: Path, seed: int, out: Path) -> None:
    if (out / "plan.json").exists():
        if not (out / "certificate.json").exists():
            conform("certify", "--resume", str(out))
        return
    request = ["--plugin", plugin, "--level", "I", "--scale", "sample", "--seed", str(seed)]
    conform("certify", *request, "--reference", str(pack / "pack"), "--out", str(out))


def seed_row(seed: int, out: Path) -> tuple[str, bool]:
    certificate = json.loads((out / "certificate.json").read_text())
    verdicts = {task["task"]: task["verdict"] for task in certificate["tasks"]}
    words = " | ".join(verdicts[task] for task in ("pretrain", "sft", "lora", "prefix", "dpo"))
    return f"| {seed} | {words} | {certificate['verdict']} |", certificate["verdict"] == "conformant"


def faults_found(
    plugin: str, pack: Path, recipe: str, cards: int, names: Sequence[str], kept: Path
) -> dict[str, tuple[str, list[str]]]:
    """Fault -> state, gates that failed."""
    if not kept.exists():
        command = [sys.executable, str(ROUNDS), str(pack), recipe, "sample", "0", *names]
        command += ["--cards", str(cards), "--plugin", plugin]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        kept.write_text(done.stdout.splitlines()[-1])
    found: dict[str, tuple[str, list[str]]] = json.loads(kept.read_text())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N-1 [5]")
    parser.add_argument("--torch-python", required=True, metavar="PATH", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FAULTS_FOLDER), os.environ.get("PYTHONPATH", "")])
    rows, sound = [], True
    for seed in range(options.seeds):
        pack, out = options.out / f"pack-{seed}", options.out / f"seed-{seed}"
        recorded(pack, seed, options.torch_python)
        certified(options.plugin, pack, seed, out)
        row, conformant = seed_row(seed, out)
        rows.append(row)
        sound &= conformant
    print("\n| Seed | Pretraining | SFT | LoRA | Prefix | DPO | Level I |\n|" + " --- |" * 7)
    print("\n".join(rows))
    print("\n| Fault | Recipe | Cards | State | Found by |\n|" + " --- |" * 5)
    from adapter_conform.certification.packs import builtin

    for number, (recipe, cards, names) in enumerate(FAULTS):
        kept = options.out / f"faults-{number}.json"
        for name, (state, gates) in faults_found(options.plugin, builtin("sample"), recipe, cards, names, kept).items():
            print(f"| {name.replace('_', ' ')} | {recipe} | {cards} | {state} | {', '.join(gates)} |")
            sound &= state == ("passed" if name == "healthy" else "failed")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
