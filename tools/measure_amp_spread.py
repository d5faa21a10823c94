"""How far PyTorch's autocast moves a LLaMA's losses from its own float32 run, on the suite's weights and data.

    python tools/measure_amp_spread.py --out conformance/adapter_conform/models/amp_spread.json

Needs torch, numpy and safetensors; neither Paddle nor a device. The figures are what the mixed-precision cases of suite
`training` are judged by: low precision is allowed to cost what it costs PyTorch.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adapter_conform.models.data import markov_batches
from adapter_conform.models.shape import LlamaShape
from adapter_conform.models.weights import llama_weights
from torch.nn import functional

ROWS, STEPS, WINDOW, SEEDS = 8, 100, 5, 5


class Llama:
    """The model of PaddleNLP's LlamaForCausalLM, as formulas; Hugging Face names and layout."""

    def __init__(self, shape: LlamaShape, seed: int) -> None:
        self.shape = shape
        self.weights = {
            name: torch.tensor(array, requires_grad=True) for name, array in llama_weights(shape, seed).items()
        }
        frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_size, 2, dtype=torch.float32) / shape.head_size)
        angles = torch.outer(torch.arange(shape.positions, dtype=torch.float32), frequencies).repeat(1, 2)
        self.cosine, self.sine = angles.cos(), angles.sin()

    def norm(self, x: Any, name: str) -> Any:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.shape.norm_epsilon) * self.weights[name]

    def linear(self, x: Any, name: str) -> Any:
        return functional.linear(x, self.weights[name])

    def rotated(self, x: Any) -> Any:
        left, right = x.float().chunk(2, -1)
        return x * self.cosine + torch.cat([-right, left], -1) * self.sine

    def attention(self, x: Any, prefix: str) -> Any:
        rows, length, _ = x.shape
        shape = self.shape

        def heads(name: str, count: int) -> Any:
            return self.linear(x, f"{prefix}{name}_proj.weight").view(rows, length, count, -1).transpose(1, 2)

        query, key = self.rotated(heads("q", shape.heads)), self.rotated(heads("k", shape.key_value_heads))
        groups = shape.heads // shape.key_value_heads
        key, value = (t.repeat_interleave(groups, 1) for t in (key, heads("v", shape.key_value_heads)))
        scores = query @ key.transpose(-1, -2) / shape.head_size**0.5
        mask = torch.full((length, length), float("-inf")).triu(1)
        mixed = functional.softmax(scores.float() + mask, -1).to(value.dtype) @ value
        return self.linear(mixed.transpose(1, 2).reshape(rows, length, -1), f"{prefix}o_proj.weight")

    def loss(self, inputs: Any, labels: Any) -> Any:
        x = self.weights["model.embed_tokens.weight"][inputs]
        for layer in range(self.shape.layers):
            prefix = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, prefix + "input_layernorm.weight"), prefix + "self_attn.")
            y = self.norm(x, prefix + "post_attention_layernorm.weight")
            gate = functional.silu(self.linear(y, prefix + "mlp.gate_proj.weight"))
            x = x + self.linear(gate * self.linear(y, prefix + "mlp.up_proj.weight"), prefix + "mlp.down_proj.weight")
        logits = self.linear(self.norm(x, "model.norm.weight"), "lm_head.weight")
        return functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten())


def train(seed: int, dtype: torch.dtype | None) -> list[float]:
    """Losses of STEPS steps; autocast to ``dtype``, or plain float32."""
    shape = LlamaShape()
    model = Llama(shape, seed)
    inputs, labels = markov_batches(shape.vocabulary, STEPS, ROWS, shape.positions, seed)
    parameters = list(model.weights.values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01)
    scale = 1024.0 if dtype == torch.float16 else 1.0
    losses = []
    for step in range(STEPS):
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = model.loss(torch.from_numpy(inputs[step]), torch.from_numpy(labels[step]))
        (loss * scale).backward()
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad /= scale
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return losses


def deviation(reference: list[float], losses: list[float]) -> list[float]:
    """Relative difference of the means over WINDOW steps, window by window."""
    left, right = (np.reshape(values, (-1, WINDOW)).mean(axis=1) for values in (reference, losses))
    return [float(value) for value in np.abs(right - left) / left]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    worst: dict[str, list[float]] = {"bfloat16": [], "float16": []}
    for seed in range(SEEDS):
        reference = train(seed, None)
        for name, values in worst.items():
            values.append(max(deviation(reference, train(seed, getattr(torch, name)))))
            print(f"seed {seed}, {name}: {values[-1]:.3g}", flush=True)
    record = {
        "what": f"largest relative difference of {WINDOW}-step mean losses, autocast against float32, by seed",
        "reference": "PyTorch on CPU",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        "model": {**vars(LlamaShape()), "rows": ROWS, "steps": STEPS},
        "window": WINDOW,
        "seeds": list(range(SEEDS)),
        "deviation": worst,
    }
    options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
