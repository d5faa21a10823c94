"""Scripts that start a planned training: Paddle's launcher, and Slurm."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from adapter_conform.certification.cluster.programs import Program, program_of
from adapter_conform.certification.cluster.search import Planned
from adapter_conform.certification.cluster.strategy import CARDS_A_NODE
from adapter_conform.certification.cluster.timing import nodes
from adapter_conform.errors import UsageProblem

__all__ = ["write_scripts"]

_MOST_HOURS = 14 * 24


def write_scripts(planned: Planned, device: str, folder: Path) -> list[Path]:
    """``<recipe>.launch.sh`` and ``<recipe>.slurm``, and ``<recipe>.json`` for a program that reads one.

    Raises:
        UsageProblem: the folder cannot be written.
    """
    name, program = planned.recipe.id.replace("/", "."), program_of(planned, device)
    texts = {f"{name}.launch.sh": _launch(planned, program, name), f"{name}.slurm": _slurm(planned, program, name)}
    if program.from_file:
        texts[f"{name}.json"] = json.dumps(program.arguments, indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
            (folder / file).chmod(0o644 if file.endswith(".json") else 0o755)
    except OSError as error:
        raise UsageProblem(f"--out {folder}: cannot be written: {error.strerror or error}") from error
    return [folder / file for file in texts]


def _head(planned: Planned, program: Program) -> str:
    need, strategy = planned.memory.total / 2**30, planned.strategy
    notes = "".join(f"# {line}\n" for line in program.notes)
    return (
        f"# {planned.recipe.id}: {strategy.words()}, {strategy.cards} cards, {need:.1f} GiB a card estimated.\n{notes}"
        "set -euo pipefail\n"
        'HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
        f': "${{{program.home}:?}}" "${{MODEL:?}}" "${{DATA:?}}" "${{OUTPUT:?}}"\n'
    )


def _command(program: Program, name: str) -> str:
    if program.from_file:
        given = f'"$HERE/{name}.json"'
    else:
        given = " \\\n  ".join(f"--{key} {shlex.quote(str(value))}" for key, value in program.arguments.items())
    return f'"${program.home}/{program.file}" {given} \\\n  {program.folders}\n'


def _launch(planned: Planned, program: Program, name: str) -> str:
    count = nodes(planned.strategy)
    devices = ",".join(map(str, range(min(planned.strategy.cards, CARDS_A_NODE))))
    master = '--master "${MASTER:?host:port of the first node}" ' if count > 1 else ""
    return (
        f"#!/usr/bin/env bash\n{_head(planned, program)}"
        f"# Start this on each of {count} node{'s' if count > 1 else ''}.\n"
        f"python -m paddle.distributed.launch {master}--nnodes {count} --devices {devices} "
        '--log_dir "$OUTPUT/logs" \\\n'
        f"  {_command(program, name)}"
    )


def _slurm(planned: Planned, program: Program, name: str) -> str:
    count = nodes(planned.strategy)
    hours = min(_MOST_HOURS, max(1, round(1.5 * planned.cost.seconds / 3600 + 0.5)))
    cards = min(planned.strategy.cards, CARDS_A_NODE)
    devices = ",".join(map(str, range(cards)))
    inner = (
        f'python -m paddle.distributed.launch --master "$MASTER" --nnodes {count} --devices {devices} '
        f'--log_dir "$OUTPUT/logs" {_command(program, name).strip()}'
    )
    return (
        f"#!/usr/bin/env bash\n#SBATCH --job-name={name}\n#SBATCH --nodes={count}\n#SBATCH --ntasks-per-node=1\n"
        f"#SBATCH --gres=gpu:{cards}\n#SBATCH --time={hours}:00:00\n#SBATCH --exclusive\n"
        "# --gres: name the resource as your cluster does. --time: half as much again as estimated.\n"
        f"{_head(planned, program)}"
        "HERE=${SLURM_SUBMIT_DIR:-$HERE}\n"
        'export HERE MASTER="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):8090"\n'
        f"srun bash -c {shlex.quote(inner)}\n"
    )
