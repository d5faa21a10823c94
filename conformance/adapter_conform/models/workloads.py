"""What users do with language models, small enough for a test: each workload runs on any device from given weights.

A workload is one entry of :data:`WORKLOADS`; what it does is one function, by task.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.architectures import ARCHITECTURES
from adapter_conform.models.data import markov_batches
from adapter_conform.models.diffusion import build_diffusion, noise_loss, sampled_image, why_no_diffusion
from adapter_conform.models.paddlenlp_adapter import (
    build_model,
    dpo_criterion,
    forward_logits,
    forward_loss,
    greedy_tokens,
    why_unavailable,
    with_lora,
)
from adapter_conform.models.training import Precision, autocast, decorated, lies_on, loss_scaler

__all__ = ["WORKLOADS", "Results", "Workload", "drawn_weights", "run_workload"]

ROWS, LENGTH = 4, 32
NEW_TOKENS = 12
IGNORED_LABEL = -100


@dataclass(frozen=True)
class Workload:
    name: str
    architecture: str
    task: str
    """pretrain, sft, lora, dpo, generate, predict; of Stable Diffusion: denoise, sample"""
    kernels: tuple[str, ...]
    """Kernels ("operator/dtype") that the work is done by: each must run at least once a step."""
    fused: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the model on the device alone: fused operators, while the reference does without."""
    fused_kernels: tuple[str, ...] = ()
    """Kernels that these settings call; a device that lacks one does not support the workload."""

    @property
    def trains(self) -> bool:
        return self.task in _LOSSES or self.task == "denoise"

    @property
    def diffuses(self) -> bool:
        return self.task in ("denoise", "sample")

    def why_unavailable(self) -> str | None:
        """Why it cannot run here, and what to install; ``None`` where it can."""
        return why_unavailable() or (why_no_diffusion() if self.diffuses else None)


@dataclass
class Results:
    """What a run on one device gave."""

    values: list[NDArray[Any]]
    """Losses, one 0-D array a step; or tokens; or logits."""
    off_device: list[str]
    """Parameters and gradients that lay elsewhere."""
    tensors_checked: int


_TRAINING = ("matmul/float32", "matmul_grad/float32", "adamw/float32", "embedding/float32")
_DECODING = ("matmul/float32", "embedding/float32", "softmax/float32")

_DIFFUSING = ("conv2d/float32", "group_norm/float32", "matmul/float32", "nearest_interp/float32")

_FUSED = {"use_flash_attention": True, "use_fused_rope": True}
_FUSED_KERNELS = tuple(
    f"{name}{direction}/float32"
    for name in ("flash_attn", "fused_rotary_position_embedding")
    for direction in ("", "_grad")
)

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("llama_pretrain", "llama_gqa", "pretrain", _TRAINING),
        Workload("llama_mha_pretrain", "llama_mha", "pretrain", _TRAINING),
        Workload("qwen2_pretrain", "qwen2", "pretrain", _TRAINING),
        Workload("qwen2_moe_pretrain", "qwen2_moe", "pretrain", (*_TRAINING, "topk/float32")),
        Workload("gpt3_pretrain", "gpt3", "pretrain", (*_TRAINING, "layer_norm/float32", "gelu/float32")),
        Workload("llama_fused_pretrain", "llama_gqa", "pretrain", _TRAINING, _FUSED, _FUSED_KERNELS),
        Workload("llama_sft", "llama_gqa", "sft", _TRAINING),
        Workload("llama_lora", "llama_gqa", "lora", _TRAINING),
        Workload("llama_dpo", "llama_gqa", "dpo", _TRAINING),
        Workload("llama_generate", "llama_gqa", "generate", _DECODING),
        Workload("gpt3_generate", "gpt3", "generate", _DECODING),
        Workload("qwen2_moe_generate", "qwen2_moe", "generate", (*_DECODING, "topk/float32")),
        Workload("llama_predict", "llama_gqa", "predict", ("matmul/float32", "softmax/float32")),
        Workload("sd_unet_train", "stable_diffusion", "denoise", (*_DIFFUSING, "conv2d_grad/float32", "adamw/float32")),
        Workload("sd_sample", "stable_diffusion", "sample", _DIFFUSING),
    )
}


Inputs = NDArray[np.int64]
Loss = Callable[[int], Any]
"""Step -> the loss, a scalar tensor."""


def drawn_weights(model: Any, seed: int) -> dict[str, NDArray[np.float32]]:
    """A value for every tensor of the model's state: norms near one, all else normal with deviation 0.05.

    The same on every device, since NumPy draws. Nothing is constant: equal router weights would leave the choice of
    experts to the order of ties.
    """
    draw = np.random.RandomState(seed)  # its streams are frozen, those of numpy.random.Generator are not
    weights = {}
    for name, tensor in sorted(model.state_dict().items()):
        noise = draw.standard_normal(tuple(tensor.shape)) * 0.05
        is_scale = "norm" in name and name.endswith("weight")
        weights[name] = np.asarray(noise + 1.0 if is_scale else noise, dtype=np.float32)
    return weights


def run_workload(
    paddle: ModuleType, device: str, workload: Workload, steps: int, seed: int, precision: Precision | None = None
) -> Results:
    """Runs ``workload`` on ``device`` ("cpu", "refchip:0"), which is Paddle's current device afterwards.

    ``steps`` and ``precision`` (float32 without it) concern training only.
    """
    paddle.set_device(device)
    if workload.diffuses:
        return _diffuse(paddle, device, workload, steps, seed)
    architecture = ARCHITECTURES[workload.architecture]
    model = build_model(paddle, architecture if device == "cpu" else architecture.having(workload.fused))
    if workload.task == "lora":
        model = with_lora(paddle, model)
    weights = drawn_weights(model, seed)
    for name, tensor in model.state_dict().items():
        tensor.set_value(weights[name])
    if workload.trains:
        return _train(paddle, device, model, workload, steps, seed, precision)
    model.eval()
    values = [_OUTPUTS[workload.task](paddle, device, model, workload, seed)]
    checked = list(model.named_parameters())
    return Results(values, _elsewhere(checked, device), len(checked))


def _tokens(workload: Workload, steps: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return markov_batches(ARCHITECTURES[workload.architecture].vocabulary, steps, ROWS, LENGTH, seed)


def _train(
    paddle: ModuleType,
    device: str,
    model: Any,
    workload: Workload,
    steps: int,
    seed: int,
    precision: Precision | None,
) -> Results:
    model.train()
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if not parameter.stop_gradient]
    model, optimizer = decorated(paddle, model, _adamw(paddle, trainable), precision)
    loss_of = _LOSSES[workload.task](paddle, model, *_tokens(workload, steps, seed))
    return _descend(paddle, device, loss_of, trainable, optimizer, steps, precision)


def _diffuse(paddle: ModuleType, device: str, workload: Workload, steps: int, seed: int) -> Results:
    models = build_diffusion(paddle, seed)
    parameters = list(models.denoiser.named_parameters())
    if workload.task == "sample":
        return Results([sampled_image(paddle, models, seed)], _elsewhere(parameters, device), len(parameters))
    models.denoiser.train()
    optimizer = _adamw(paddle, parameters)
    return _descend(
        paddle, device, lambda step: noise_loss(paddle, models, seed + step), parameters, optimizer, steps, None
    )


def _adamw(paddle: ModuleType, trainable: Sequence[tuple[str, Any]]) -> Any:
    return paddle.optimizer.AdamW(
        learning_rate=1e-3,
        beta2=0.95,
        weight_decay=0.01,
        parameters=[parameter for _, parameter in trainable],
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )


def _descend(
    paddle: ModuleType,
    device: str,
    loss_of: Loss,
    trainable: Sequence[tuple[str, Any]],
    optimizer: Any,
    steps: int,
    precision: Precision | None,
) -> Results:
    scaler = loss_scaler(paddle, precision)
    results = Results([], [], 0)
    for step in range(steps):
        with autocast(paddle, precision):
            loss = loss_of(step)
        (loss if scaler is None else scaler.scale(loss)).backward()
        found = [("loss", loss), *trainable]
        found += [(f"gradient {name}", parameter.grad) for name, parameter in trainable if parameter.grad is not None]
        results.off_device += _elsewhere(found, device)
        results.tensors_checked += len(found)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.clear_grad()
        results.values.append(np.asarray(float(loss)))
    return results


def _elsewhere(tensors: Iterable[tuple[str, Any]], device: str) -> list[str]:
    return [f"{name}: on {tensor.place}" for name, tensor in tensors if not lies_on(tensor, device)]


def _pretrain(paddle: ModuleType, model: Any, inputs: Inputs, labels: Inputs) -> Loss:
    return lambda step: forward_loss(model, paddle.to_tensor(inputs[step]), paddle.to_tensor(labels[step]))


def _sft(paddle: ModuleType, model: Any, inputs: Inputs, labels: Inputs) -> Loss:
    """The first half of each row is the prompt, which teaches nothing."""
    answers = labels.copy()
    answers[:, :, : LENGTH // 2] = IGNORED_LABEL
    return _pretrain(paddle, model, inputs, answers)


@dataclass(frozen=True)
class _Packed:
    """One row for a prompt and two answers, as PaddleNLP packs preference data."""

    ids: Inputs
    positions: Inputs
    mask: NDArray[np.bool_]
    chosen: Inputs
    rejected: Inputs
    response: Inputs


def _packed(rows: Inputs) -> _Packed:
    """``prompt[:-1] | last + chosen[:-1] | last + rejected[:-1]``; the rejected answer does not see the chosen one."""
    count, length = rows.shape
    answer = (length - 4) // 2
    prompt = length - 2 * answer
    last, first, second = rows[:, prompt - 1 : prompt], rows[:, prompt : prompt + answer], rows[:, prompt + answer :]
    begin, middle, end = prompt - 1, prompt - 1 + answer, prompt - 1 + 2 * answer
    ids = np.concatenate([rows[:, :begin], last, first[:, :-1], last, second[:, :-1]], axis=1)
    positions = np.concatenate([np.arange(middle), np.arange(begin, middle)])
    mask = np.tril(np.ones((end, end), dtype=np.bool_))
    mask[middle:, begin:middle] = False
    chosen, rejected = np.zeros((count, end), dtype=np.int64), np.zeros((count, end), dtype=np.int64)
    chosen[:, begin:middle], rejected[:, middle:] = first, second
    response = np.array([[row, begin, middle, end] for row in range(count)], dtype=np.int64)
    repeated = np.broadcast_to(positions, ids.shape)
    return _Packed(ids, repeated, np.broadcast_to(mask, (count, 1, end, end)), chosen, rejected, response)


def _dpo(paddle: ModuleType, model: Any, inputs: Inputs, labels: Inputs) -> Loss:
    """The reference policy is the model as it starts."""
    criterion = dpo_criterion(model)
    batches = [
        {name: paddle.to_tensor(np.ascontiguousarray(array)) for name, array in vars(_packed(rows)).items()}
        for rows in inputs
    ]

    def outcome(batch: Mapping[str, Any], reference: Sequence[Any]) -> Any:
        logits = forward_logits(
            model(input_ids=batch["ids"], position_ids=batch["positions"], attention_mask=batch["mask"])
        )
        return criterion(logits, (batch["chosen"], batch["rejected"], batch["response"], *reference))

    with paddle.no_grad():
        references = [[item.detach() for item in outcome(batch, (None, None))] for batch in batches]
    return lambda step: outcome(batches[step], references[step])[-1]


_LOSSES: dict[str, Callable[[ModuleType, Any, Inputs, Inputs], Loss]] = {
    "pretrain": _pretrain,
    "sft": _sft,
    "lora": _pretrain,
    "dpo": _dpo,
}


def _generate(paddle: ModuleType, device: str, model: Any, workload: Workload, seed: int) -> NDArray[Any]:
    ids = _tokens(workload, 1, seed)[0][0][:, : LENGTH // 4]
    return np.asarray(greedy_tokens(paddle, model, paddle.to_tensor(ids), NEW_TOKENS).numpy())


def _predict(paddle: ModuleType, device: str, model: Any, workload: Workload, seed: int) -> NDArray[Any]:
    """Logits of the exported program under Paddle's inference engine; on the CPU, of the model itself."""
    ids = _tokens(workload, 1, seed)[0][0]
    if device == "cpu":
        with paddle.no_grad():
            return np.asarray(forward_logits(model(input_ids=paddle.to_tensor(ids))).numpy())
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        path = str(Path(folder) / "model")
        spec = [paddle.static.InputSpec(shape=[ROWS, LENGTH], dtype="int64", name="input_ids")]
        paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), path)
        config = paddle.inference.Config(path + ".json", path + ".pdiparams")
        config.enable_custom_device(device.split(":")[0], int(device.partition(":")[2] or 0))
        predictor = paddle.inference.create_predictor(config)
        (outputs, *_) = predictor.run([paddle.to_tensor(ids)])
        return np.asarray(outputs.numpy())


_OUTPUTS = {"generate": _generate, "predict": _predict}
