"""Computes catalogue entries with PyTorch in float64. A program; needs torch and NumPy, nothing of ours.

    python torch_reference.py EXAMPLES.npz

EXAMPLES.npz holds ``index``, JSON: a list of {"operator", "attributes", "inputs", "cotangents"}, where the last two
count arrays ``<number>/in<i>`` and ``<number>/d<i>``. Results go to EXAMPLES.npz.out.npz as ``<number>/out<i>`` and
``<number>/grad<i>``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

Call = Callable[[list[Any], dict[str, Any]], Any]


def dims(a: dict[str, Any], x: Any) -> Any:
    axis = a["axis"]
    if axis is None or axis == []:
        return tuple(range(x.ndim))
    return tuple([axis] if isinstance(axis, int) else axis)


def matmul(t: list[Any], a: dict[str, Any]) -> Any:
    left = t[0].transpose(-1, -2) if a["transpose_x"] and t[0].ndim > 1 else t[0]
    right = t[1].transpose(-1, -2) if a["transpose_y"] and t[1].ndim > 1 else t[1]
    return left @ right


def unary(function: Callable[[Any], Any]) -> Call:
    return lambda t, a: function(t[0])


def binary(function: Callable[[Any, Any], Any]) -> Call:
    return lambda t, a: function(t[0], t[1])


def swiglu(t: list[Any], a: dict[str, Any]) -> Any:
    left, right = t if len(t) == 2 else t[0].chunk(2, -1)
    return F.silu(left) * right


def single(value: float) -> float:
    """As a C float, which is what Paddle's attributes are."""
    return float(np.float32(value))


def embedding(t: list[Any], a: dict[str, Any]) -> Any:
    index, table = (t[0], t[1]) if t[0].dtype in (torch.int64, torch.int32) else (t[1], t[0])
    rows = F.embedding(index, table)
    padding = a.get("padding_idx")  # Paddle's rows of it are zero, and so is their gradient
    return rows if padding is None else torch.where((index == padding)[..., None], 0.0, rows)


def layer_norm(t: list[Any], a: dict[str, Any]) -> Any:
    return F.layer_norm(t[0], a["normalized_shape"], t[1], t[2], single(a["epsilon"]))


def rms_norm(t: list[Any], a: dict[str, Any]) -> Any:
    return F.rms_norm(t[0], a["normalized_shape"], t[1], single(a["epsilon"]))


def attention(t: list[Any], a: dict[str, Any]) -> Any:
    q, k, v = (item.transpose(1, 2) for item in t[:3])
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    rows, columns = q.shape[2], k.shape[2]
    mask = torch.ones(rows, columns, dtype=torch.bool)
    if a["causal"]:
        mask = mask.tril(columns - rows)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=single(t[0].shape[-1] ** -0.5)).transpose(1, 2)


def cross_entropy(t: list[Any], a: dict[str, Any]) -> Any:
    labels = t[1].reshape(t[0].shape[:-1])
    flat = F.cross_entropy(t[0].flatten(0, -2), labels.flatten(), reduction="none", ignore_index=a["ignore_index"])
    return flat.mean() if a["reduction"] == "mean" else flat.reshape(t[1].shape)


def folded(function: str) -> Call:
    return lambda t, a: getattr(torch, function)(t[0], dim=dims(a, t[0]), keepdim=a["keepdim"])


OPERATORS: dict[str, Call] = {
    **{name: unary(getattr(torch, name)) for name in ("exp", "log", "sqrt", "rsqrt", "square", "sin", "cos", "atan")},
    **{name: unary(getattr(torch, name)) for name in ("tanh", "sigmoid", "abs", "floor", "ceil", "reciprocal", "relu")},
    **{name: binary(getattr(torch, name)) for name in ("add", "subtract", "multiply", "divide", "fmax", "fmin")},
    "maximum": binary(torch.maximum),
    "minimum": binary(torch.minimum),
    "elementwise_pow": binary(torch.pow),
    "remainder_float": binary(torch.remainder),
    "silu": unary(F.silu),
    "logsigmoid": unary(F.logsigmoid),
    "leaky_relu": lambda t, a: F.leaky_relu(t[0], a["slope"]),
    "pow": lambda t, a: torch.pow(t[0], a["y"]),
    "clip": lambda t, a: torch.clip(t[0], a["min"], a["max"]),
    "sum": folded("sum"),
    "mean": folded("mean"),
    "logsumexp": folded("logsumexp"),
    "max": folded("amax"),
    "min": folded("amin"),
    "softmax": lambda t, a: torch.softmax(t[0], a["axis"]),
    "log_softmax": lambda t, a: torch.log_softmax(t[0], a["axis"]),
    "cumsum": lambda t, a: torch.cumsum(t[0], a["axis"]),
    "cumprod": lambda t, a: torch.cumprod(t[0], a["axis"]),
    "matmul": matmul,
    "bmm": binary(torch.bmm),
    "addmm": lambda t, a: torch.addmm(t[0], t[1], t[2], beta=a["beta"], alpha=a["alpha"]),
    "einsum": lambda t, a: torch.einsum(a["equation"], *t),
    "swiglu": swiglu,
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "flash_attn": attention,
    "cross_entropy_with_softmax": cross_entropy,
    "embedding": embedding,
    "gather": lambda t, a: torch.index_select(t[0], a["axis"], t[1]),
    "sort": lambda t, a: torch.sort(t[0], dim=a["axis"], descending=a["descending"], stable=True)[0],
    "transpose": lambda t, a: t[0].permute(a["perm"]),
    "tril": lambda t, a: torch.tril(t[0], a["diagonal"]),
    "triu": lambda t, a: torch.triu(t[0], a["diagonal"]),
    "where": lambda t, a: torch.where(t[0], t[1], t[2]),
}


def main(path: str) -> None:
    with np.load(path) as archive:
        index = json.loads(str(archive["index"]))
        results: dict[str, Any] = {}
        for number, example in enumerate(index):
            tensors = [torch.from_numpy(archive[f"{number}/in{i}"]) for i in range(example["inputs"])]
            for tensor in tensors:
                tensor.requires_grad_(tensor.is_floating_point())
            found = OPERATORS[example["operator"]](tensors, example["attributes"])
            outputs = list(found) if isinstance(found, tuple | list) else [found]
            results.update({f"{number}/out{i}": item.detach().numpy() for i, item in enumerate(outputs)})
            flowing = [torch.from_numpy(archive[f"{number}/d{i}"]) for i in range(example["cotangents"])]
            wanted = [(i, item) for i, item in enumerate(tensors) if item.requires_grad]
            if flowing and wanted:
                gradients = torch.autograd.grad(outputs[: len(flowing)], [item for _, item in wanted], flowing)
                results.update(
                    {f"{number}/grad{i}": item.numpy() for (i, _), item in zip(wanted, gradients, strict=True)}
                )
    np.savez(path + ".out.npz", **results)


if __name__ == "__main__":
    if sys.argv[1] == "--operators":
        print(json.dumps(sorted(OPERATORS)))
    else:
        main(sys.argv[1])
