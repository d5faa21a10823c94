"""Whether certification of inference passes a healthy device and finds every planted fault.

    python tools/inference_rounds.py --plugin refchip --seeds 5 --torch-python /opt/torch/bin/python --out rounds

At the scale "sample" it records a reference pack for every seed, runs every model in every scheme of every level, and
with the pack of seed 0 each fault of tests/faults/inference_faults.py too. What is done already is not done again:
after an interruption the same command goes on, and ``--seconds`` interrupts it between two models. The tables in
docs/certifying-inference.md are what it prints. Exit code: 0 when every healthy run passed and every fault was found,
1 otherwise, 3 when it was interrupted by ``--seconds``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adapter_conform.certification.recipes import Recipe, recipes_of

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = ROOT / "tests" / "certification" / "inference_rounds.py"
QWEN, GROUPED = "qwen2-14b/inference", "llama3-70b/inference"
FAULTS = {
    QWEN: ("int8:wrong_scale_axis",),
    GROUPED: (
        "int4:wrong_scale_axis",
        "int4:nibble_order",
        "a8w8:activations_cut_off",
        "int4:second_row_of_a_batch:static",
        "a8w8:block_reused_too_early:served",
        "a8w8:off_by_one_after_a_hit:served",
        "int4:wrong_mask_of_the_second_sequence:served",
        "a8w8:seed_ignored:served",
    ),
}
"""Recipe -> scheme, fault, ways that run. Checks of the engine are made in a recipe's first scheme."""
SEED = 0
"""Of the pack that faults are planted over."""


class Interrupted(Exception):
    """The time is up; what is done is kept."""


def conform(*arguments: str) -> None:
    """Runs ``adapter-conform``; what it writes goes to the terminal. Raises SystemExit where it fails."""
    if subprocess.run([sys.executable, "-m", "adapter_conform", *arguments], check=False).returncode != 0:
        sys.exit(f"adapter-conform {' '.join(arguments)} failed; the same command goes on")


def recorded(folder: Path, seed: int, torch_python: str) -> Path:
    """The pack of ``seed``: inference, with what fine-tuning taught the models."""
    if (folder / "finished").exists():
        return folder / "pack"
    folder.mkdir(parents=True, exist_ok=True)
    tuned = [one.starts_from for one in asked_for(seed) if one.starts_from]
    steps = (
        ("tuned", "base", [word for recipe in tuned for word in ("--recipe", recipe)]),
        ("pack", "base,sdpa,ulp,ties", ["--task", "inference", "--weights", str(folder.absolute() / "tuned")]),
    )
    for name, variants, further in steps:
        resume = ["--resume"] if (folder / name / "pack.json").exists() else []
        request = ["--device", "cpu", "--scale", "sample", "--out", str(folder / name), *resume]
        told = ["--seed", str(seed), "--variants", variants, "--precisions", "float32", "--leave-out-drawn", *further]
        conform("record", *request, "--torch-python", torch_python, "--", *told)
    (folder / "finished").touch()
    return folder / "pack"


def asked_for(seed: int) -> list[Recipe]:
    return recipes_of("III", ("inference",), "sample", seed)


def ran(plugin: str, pack: Path, seed: int, rounds: Sequence[str], kept: Path) -> dict[str, tuple[str, list[str]]]:
    """Round -> state, gates that failed. All figures are in the log beside ``kept``."""
    if not kept.exists():
        command = [sys.executable, str(ROUNDS), str(pack), "sample", str(seed), *rounds, "--plugin", plugin]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        kept.with_suffix(".log").write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        kept.write_text(done.stdout.splitlines()[-1])
    found: dict[str, tuple[str, list[str]]] = json.loads(kept.read_text())
    for name, (state, gates) in found.items():
        print(f"{kept.stem}: {name}: {state} {', '.join(gates)}", flush=True)
    return found


def everything(options: argparse.Namespace) -> Iterator[tuple[int, dict[str, tuple[str, list[str]]]]]:
    """Seed -> rounds of one model. Raises Interrupted."""
    end = time.monotonic() + options.seconds
    for seed in range(options.seeds):
        if time.monotonic() > end:
            raise Interrupted
        pack = recorded(options.out / f"seed-{seed}", seed, options.torch_python)
        for recipe in asked_for(seed):
            faults = FAULTS.get(recipe.id, ()) if seed == SEED else ()
            for kind, names in (("healthy", [f"{name}:healthy" for name in recipe.precisions]), ("faults", faults)):
                if not names:
                    continue
                if time.monotonic() > end:
                    raise Interrupted
                rounds = [f"{recipe.id}:{name}" for name in names]
                kept = options.out / f"seed-{seed}" / f"{recipe.id.partition('/')[0]}-{kind}.json"
                yield seed, ran(options.plugin, pack, seed, rounds, kept)


def tables(found: Mapping[tuple[int, str], tuple[str, list[str]]]) -> str:
    """In Markdown: healthy runs, a column a seed; and faults."""
    seeds = sorted({seed for seed, _ in found})
    lines = [f"| Model | Scheme | {' | '.join(f'Seed {seed}' for seed in seeds)} |", "|" + " --- |" * (2 + len(seeds))]
    for name in dict.fromkeys(name for _, name in found if name.endswith(":healthy")):
        recipe, scheme, _ = name.split(":")
        states = (found.get((seed, name), ("-",))[0] for seed in seeds)
        lines.append(f"| {recipe.partition('/')[0]} | {scheme} | {' | '.join(states)} |")
    lines += ["", "| Fault | Model | Scheme | Ways | State | Found by |", "|" + " --- |" * 6]
    for (_, name), (state, gates) in found.items():
        recipe, scheme, fault, ways = (*name.split(":"), "all")[:4]
        if fault != "healthy":
            words = (fault.replace("_", " "), recipe.partition("/")[0], scheme, ways, state, ", ".join(gates))
            lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin", required=True)
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="0 to N-1 [5]")
    parser.add_argument("--torch-python", required=True, metavar="PATH", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), metavar="S", help="after these nothing further begins"
    )
    options = parser.parse_args()
    found: dict[tuple[int, str], tuple[str, list[str]]] = {}
    try:
        for seed, rounds in everything(options):
            found |= {(seed, name): result for name, result in rounds.items()}
    except Interrupted:
        print("interrupted; the same command goes on")
        return 3
    print(f"\n{tables(found)}")
    wanted = {key: "passed" if key[1].endswith(":healthy") else "failed" for key in found}
    sound = all(state == wanted[key] for key, (state, _) in found.items())
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
