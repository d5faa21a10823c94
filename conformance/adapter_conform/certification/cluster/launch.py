"""Scripts that start a planned training: Paddle's launcher, and Slurm."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from adapter_conform.certification.cluster.search import Planned
from adapter_conform.certification.cluster.strategy import CARDS_A_NODE
from adapter_conform.certification.cluster.timing import nodes
from adapter_conform.errors import UsageProblem

__all__ = ["trainer_arguments", "write_scripts"]

_PROGRAMS = {"pretrain": "run_pretrain.py", "dpo": "alignment/dpo/run_dpo.py"}
"""In PaddleNLP's folder ``llm``; everything else is run_finetune.py."""
_MOST_HOURS = 14 * 24


def trainer_arguments(planned: Planned, device: str) -> dict[str, Any]:
    """For PaddleNLP's trainer, by its names."""
    schedule, strategy, recipe = planned.recipe.schedule, planned.strategy, planned.recipe
    arguments: dict[str, Any] = {
        "device": device,
        "max_steps": schedule.steps,
        "per_device_train_batch_size": strategy.micro,
        "gradient_accumulation_steps": schedule.rows // (strategy.replicas * strategy.micro),
        "learning_rate": schedule.learning_rate,
        "min_learning_rate": schedule.learning_rate * schedule.floor,
        "lr_scheduler_type": "cosine",
        "warmup_steps": schedule.warmup,
        "adam_beta1": schedule.beta1,
        "adam_beta2": schedule.beta2,
        "adam_epsilon": schedule.epsilon,
        "weight_decay": schedule.weight_decay,
        "max_grad_norm": schedule.clip_norm,
        "seed": recipe.seed,
        "bf16": True,
        "fp16_opt_level": "O2",
        "tensor_parallel_degree": strategy.tp,
        "pipeline_parallel_degree": strategy.pp,
        "sep_parallel_degree": strategy.sep,
        "sharding_parallel_degree": strategy.sharding,
        "sharding": f"stage{strategy.stage}" if strategy.stage else "",
        "recompute": strategy.recompute,
        "use_flash_attention": True,
        "unified_checkpoint": True,
        "save_total_limit": 3,
    }
    if strategy.ep > 1:
        arguments["expert_parallel_degree"] = strategy.ep
    arguments["max_seq_length" if recipe.task == "pretrain" else "max_length"] = schedule.length
    if recipe.task == "lora":
        arguments.update(lora=True, lora_rank=int(recipe.option("rank")), lora_alpha=int(recipe.option("alpha")))
    if recipe.task == "prefix":
        arguments.update(prefix_tuning=True, num_prefix_tokens=int(recipe.option("tokens")))
    return arguments


def write_scripts(planned: Planned, device: str, folder: Path) -> list[Path]:
    """``<recipe>.json`` for the trainer, ``<recipe>.launch.sh`` and ``<recipe>.slurm``.

    Raises:
        UsageProblem: the folder cannot be written.
    """
    name = planned.recipe.id.replace("/", ".")
    texts = {
        f"{name}.json": json.dumps(trainer_arguments(planned, device), indent=1) + "\n",
        f"{name}.launch.sh": _launch(planned, name),
        f"{name}.slurm": _slurm(planned, name),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
            (folder / file).chmod(0o644 if file.endswith(".json") else 0o755)
    except OSError as error:
        raise UsageProblem(f"--out {folder}: cannot be written: {error.strerror or error}") from error
    return [folder / file for file in texts]


def _head(planned: Planned) -> str:
    need, strategy = planned.memory.total / 2**30, planned.strategy
    return (
        f"# {planned.recipe.id}: {strategy.words()}, {strategy.cards} cards, {need:.1f} GiB a card estimated.\n"
        "# Set LLM to PaddleNLP's folder llm, MODEL and DATA to the folders of initial weights and data, OUTPUT to\n"
        "# one that all nodes share.\n"
        "set -euo pipefail\n"
        f'HERE=$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)\n'
        ': "${LLM:?}" "${MODEL:?}" "${DATA:?}" "${OUTPUT:?}"\n'
    )


def _command(planned: Planned, name: str) -> str:
    program = _PROGRAMS.get(planned.recipe.task, "run_finetune.py")
    data = "--input_dir" if planned.recipe.task == "pretrain" else "--dataset_name_or_path"
    return (
        f'"$LLM/{program}" "$HERE/{name}.json" \\\n'
        f'  --model_name_or_path "$MODEL" {data} "$DATA" --output_dir "$OUTPUT"\n'
    )


def _launch(planned: Planned, name: str) -> str:
    count = nodes(planned.strategy)
    devices = ",".join(map(str, range(min(planned.strategy.cards, CARDS_A_NODE))))
    master = '--master "${MASTER:?host:port of the first node}" ' if count > 1 else ""
    return (
        f"#!/usr/bin/env bash\n{_head(planned)}"
        f"# Start this on each of {count} node{'s' if count > 1 else ''}.\n"
        f"python -m paddle.distributed.launch {master}--nnodes {count} --devices {devices} "
        '--log_dir "$OUTPUT/logs" \\\n'
        f"  {_command(planned, name)}"
    )


def _slurm(planned: Planned, name: str) -> str:
    count = nodes(planned.strategy)
    hours = min(_MOST_HOURS, max(1, round(1.5 * planned.cost.seconds / 3600 + 0.5)))
    cards = min(planned.strategy.cards, CARDS_A_NODE)
    devices = ",".join(map(str, range(cards)))
    inner = (
        f'python -m paddle.distributed.launch --master "$MASTER" --nnodes {count} --devices {devices} '
        f'--log_dir "$OUTPUT/logs" {_command(planned, name).strip()}'
    )
    return (
        f"#!/usr/bin/env bash\n#SBATCH --job-name={name}\n#SBATCH --nodes={count}\n#SBATCH --ntasks-per-node=1\n"
        f"#SBATCH --gres=gpu:{cards}\n#SBATCH --time={hours}:00:00\n#SBATCH --exclusive\n"
        f"# --gres: name the resource as your cluster does. --time: half as much again as estimated.\n{_head(planned)}"
        "HERE=${SLURM_SUBMIT_DIR:-$HERE}\n"
        'export HERE MASTER="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):8090"\n'
        f"srun bash -c {shlex.quote(inner)}\n"
    )
