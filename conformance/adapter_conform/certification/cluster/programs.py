"""Training programs of PaddleNLP and PaddleMIX, and their arguments.

Language models: PaddleNLP's folder ``llm``, which reads its arguments from a JSON file. Stable Diffusion: PaddleMIX's
``ppdiffusers/examples/stable_diffusion/train_txt2img_laion400m_trainer.py``, which takes them on its command line; its
own names are those of ``sd/sd_args.py`` beside it, all others are of PaddleNLP's ``TrainingArguments``, which it
extends (https://github.com/PaddlePaddle/PaddleMIX, README.md of that folder).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from adapter_conform.certification.cluster.search import Planned
from adapter_conform.certification.cluster.workloads import DiffusionWorkload, LanguageWorkload, Workload

__all__ = ["Program", "program_of"]

_LANGUAGE_PROGRAMS = {"pretrain": "run_pretrain.py", "dpo": "alignment/dpo/run_dpo.py"}
"""Everything else is run_finetune.py."""


@dataclass(frozen=True)
class Program:
    home: str
    """Variable that names its folder."""
    file: str
    """In that folder."""
    arguments: Mapping[str, Any]
    folders: str
    """Further arguments, as a shell has them: what is on the cluster."""
    notes: tuple[str, ...]
    """For the head of a script."""
    from_file: bool
    """It reads ``arguments`` from a JSON file, which is its first argument."""


def program_of(planned: Planned, device: str) -> Program:
    return _program(planned.workload, planned, device)


@singledispatch
def _program(workload: Workload, _planned: Planned, _device: str) -> Program:
    raise TypeError(f"no program trains a {type(workload).__name__}")


def _common(planned: Planned, device: str) -> dict[str, Any]:
    schedule, strategy = planned.recipe.schedule, planned.strategy
    return {
        "device": device,
        "max_steps": schedule.steps,
        "per_device_train_batch_size": strategy.micro,
        "gradient_accumulation_steps": schedule.rows // (strategy.replicas * strategy.micro),
        "learning_rate": schedule.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": schedule.warmup,
        "adam_beta1": schedule.beta1,
        "adam_beta2": schedule.beta2,
        "adam_epsilon": schedule.epsilon,
        "weight_decay": schedule.weight_decay,
        "max_grad_norm": schedule.clip_norm,
        "seed": planned.recipe.seed,
        "bf16": True,
        "fp16_opt_level": "O2",
        "recompute": strategy.recompute,
        "save_total_limit": 3,
    }


@_program.register
def _(workload: LanguageWorkload, planned: Planned, device: str) -> Program:
    recipe, strategy = workload.recipe, planned.strategy
    schedule = recipe.schedule
    arguments = {
        **_common(planned, device),
        "min_learning_rate": schedule.learning_rate * schedule.floor,
        "tensor_parallel_degree": strategy.tp,
        "pipeline_parallel_degree": strategy.pp,
        "sep_parallel_degree": strategy.sep,
        "sharding_parallel_degree": strategy.sharding,
        "sharding": f"stage{strategy.stage}" if strategy.stage else "",
        "use_flash_attention": True,
        "unified_checkpoint": True,
    }
    if strategy.ep > 1:
        arguments["expert_parallel_degree"] = strategy.ep
    arguments["max_seq_length" if recipe.task == "pretrain" else "max_length"] = schedule.length
    if recipe.task == "lora":
        arguments.update(lora=True, lora_rank=int(recipe.option("rank")), lora_alpha=int(recipe.option("alpha")))
    if recipe.task == "prefix":
        arguments.update(prefix_tuning=True, num_prefix_tokens=int(recipe.option("tokens")))
    data = "--input_dir" if recipe.task == "pretrain" else "--dataset_name_or_path"
    return Program(
        "LLM",
        _LANGUAGE_PROGRAMS.get(recipe.task, "run_finetune.py"),
        arguments,
        f'--model_name_or_path "$MODEL" {data} "$DATA" --output_dir "$OUTPUT"',
        (
            "Set LLM to PaddleNLP's folder llm, MODEL and DATA to the folders of initial weights and data, OUTPUT to",
            "one that all nodes share.",
        ),
        from_file=True,
    )


@_program.register
def _(workload: DiffusionWorkload, planned: Planned, device: str) -> Program:
    recipe, strategy, model = workload.recipe, planned.strategy, workload.model
    arguments = {
        "do_train": True,
        **_common(planned, device),
        "resolution": model.side,
        "model_max_length": model.words,
        "prediction_type": "epsilon",
        "train_text_encoder": recipe.task == "pretrain",
        "enable_xformers_memory_efficient_attention": True,
        "image_logging_steps": -1,
    }
    if strategy.stage:
        arguments.update(sharding=f"stage{strategy.stage}", sharding_parallel_degree=strategy.sharding)
    return Program(
        "SD",
        "train_txt2img_laion400m_trainer.py",
        arguments,
        '--pretrained_model_name_or_path "$MODEL" --file_list "$DATA" --output_dir "$OUTPUT"',
        (
            "Set SD to PaddleMIX's folder ppdiffusers/examples/stable_diffusion, MODEL to the folder of the initial",
            "weights (unet, vae, text_encoder, tokenizer), DATA to the list of data files, OUTPUT to a folder.",
            "Assumed, not run: level O2 and sharding, which this program has from PaddleNLP's trainer (its authors",
            "show data parallelism and level O1); flash attention by enable_xformers_memory_efficient_attention.",
            f"Its cosine ends at 0, the recipe's at {recipe.schedule.floor:g} of the learning rate; it draws latent",
            "numbers, noise and times itself.",
        ),
        from_file=False,
    )
