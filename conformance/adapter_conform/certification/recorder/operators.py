"""Records how far a reference device is off, operator by operator: the pack that gate ``ratio_*`` reads.

A program, and a module of the recorder. It needs PyTorch and NumPy, nothing of ours:

    python operators.py CASES.npz --device cuda --out operators.json

CASES.npz comes from ``python -m adapter_conform.certification.recorder.operator_cases``: of each case the digest by
which :mod:`adapter_conform.reference` finds it, the inputs, and what the float64 oracle says. Of each output three
figures of the error are kept. Cases of operators that the table lacks, or that PyTorch refuses, are counted and named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["OPERATORS", "main", "record_operators"]

Call = Callable[[list[Any], dict[str, Any]], Any]


class _Late:
    """A module that is imported when it is used: the table's names can be read without PyTorch."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


torch, F = _Late("torch"), _Late("torch.nn.functional")


def _dims(a: dict[str, Any], x: Any) -> Any:
    axis = a["axis"]
    if axis is None or axis == []:
        return tuple(range(x.ndim))
    return tuple([axis] if isinstance(axis, int) else axis)


def _matmul(t: list[Any], a: dict[str, Any]) -> Any:
    left = t[0].transpose(-1, -2) if a["transpose_x"] and t[0].ndim > 1 else t[0]
    right = t[1].transpose(-1, -2) if a["transpose_y"] and t[1].ndim > 1 else t[1]
    return left @ right


def _plain(name: str) -> Call:
    """``torch.<name>`` of the tensors alone."""
    return lambda t, a: getattr(torch, name)(*t)


def _swiglu(t: list[Any], a: dict[str, Any]) -> Any:
    left, right = t if len(t) == 2 else t[0].chunk(2, -1)
    return F.silu(left) * right


def _single(value: float) -> float:
    """As a C float, which is what Paddle's attributes are."""
    return float(np.float32(value))


def _embedding(t: list[Any], a: dict[str, Any]) -> Any:
    index, table = (t[0], t[1]) if t[0].dtype in (torch.int64, torch.int32) else (t[1], t[0])
    rows = F.embedding(index, table)
    padding = a.get("padding_idx")  # Paddle's rows of it are zero, and so is their gradient
    return rows if padding is None else torch.where((index == padding)[..., None], 0.0, rows)


def _layer_norm(t: list[Any], a: dict[str, Any]) -> Any:
    return F.layer_norm(t[0], a["normalized_shape"], t[1], t[2], _single(a["epsilon"]))


def _rms_norm(t: list[Any], a: dict[str, Any]) -> Any:
    return F.rms_norm(t[0], a["normalized_shape"], t[1], _single(a["epsilon"]))


def _attention(t: list[Any], a: dict[str, Any]) -> Any:
    q, k, v = (item.transpose(1, 2) for item in t[:3])
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    rows, columns = q.shape[2], k.shape[2]
    mask = torch.ones(rows, columns, dtype=torch.bool, device=q.device)
    if a["causal"]:
        mask = mask.tril(columns - rows)
    scale = _single(t[0].shape[-1] ** -0.5)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)


def _cross_entropy(t: list[Any], a: dict[str, Any]) -> Any:
    labels = t[1].reshape(t[0].shape[:-1])
    flat = F.cross_entropy(t[0].flatten(0, -2), labels.flatten(), reduction="none", ignore_index=a["ignore_index"])
    return flat.mean() if a["reduction"] == "mean" else flat.reshape(t[1].shape)


def _folded(function: str) -> Call:
    return lambda t, a: getattr(torch, function)(t[0], dim=_dims(a, t[0]), keepdim=a["keepdim"])


OPERATORS: Mapping[str, Call] = {
    **{name: _plain(name) for name in ("exp", "log", "sqrt", "rsqrt", "square", "sin", "cos", "atan", "tanh", "abs")},
    **{name: _plain(name) for name in ("sigmoid", "floor", "ceil", "reciprocal", "relu", "maximum", "minimum", "bmm")},
    **{name: _plain(name) for name in ("add", "subtract", "multiply", "divide", "fmax", "fmin", "where")},
    "elementwise_pow": _plain("pow"),
    "remainder_float": _plain("remainder"),
    "silu": lambda t, a: F.silu(t[0]),
    "logsigmoid": lambda t, a: F.logsigmoid(t[0]),
    "leaky_relu": lambda t, a: F.leaky_relu(t[0], a["slope"]),
    "pow": lambda t, a: torch.pow(t[0], a["y"]),
    "clip": lambda t, a: torch.clip(t[0], a["min"], a["max"]),
    "sum": _folded("sum"),
    "mean": _folded("mean"),
    "logsumexp": _folded("logsumexp"),
    "max": _folded("amax"),
    "min": _folded("amin"),
    "softmax": lambda t, a: torch.softmax(t[0], a["axis"]),
    "log_softmax": lambda t, a: torch.log_softmax(t[0], a["axis"]),
    "cumsum": lambda t, a: torch.cumsum(t[0], a["axis"]),
    "cumprod": lambda t, a: torch.cumprod(t[0], a["axis"]),
    "matmul": _matmul,
    "addmm": lambda t, a: torch.addmm(t[0], t[1], t[2], beta=a["beta"], alpha=a["alpha"]),
    "einsum": lambda t, a: torch.einsum(a["equation"], *t),
    "swiglu": _swiglu,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "flash_attn": _attention,
    "cross_entropy_with_softmax": _cross_entropy,
    "embedding": _embedding,
    "gather": lambda t, a: torch.index_select(t[0], a["axis"], t[1]),
    "sort": lambda t, a: torch.sort(t[0], dim=a["axis"], descending=a["descending"], stable=True)[0],
    "transpose": lambda t, a: t[0].permute(a["perm"]),
    "tril": lambda t, a: torch.tril(t[0], a["diagonal"]),
    "triu": lambda t, a: torch.triu(t[0], a["diagonal"]),
}
"""The catalogue's entries as PyTorch calls: tensors and attributes in, a tensor or a list out."""


def record_operators(cases: Path, device: str) -> tuple[dict[str, Any], Counter[str]]:
    """A pack as :class:`adapter_conform.reference.OperatorPack` reads it, and reason -> cases that are not in it.

    Raises:
        OSError, ValueError: ``cases`` cannot be read.
        RuntimeError: PyTorch has no such device.
    """
    entries: dict[str, dict[str, dict[str, float]]] = {}
    left_out: Counter[str] = Counter()
    torch.zeros(1, device=device)
    with np.load(cases) as archive:
        for number, case in enumerate(json.loads(str(archive["index"]))):
            call = OPERATORS.get(case["operator"])
            if call is None:
                left_out[f"{case['operator']}: not in the table"] += 1
                continue
            tensors = [_tensor(archive[f"{number}/in{i}"], name, device) for i, name in enumerate(case["inputs"])]
            try:
                found = call(tensors, case["attributes"])
            except RuntimeError as error:
                left_out[
                    f"{case['operator']}/{case['dtype']}: PyTorch refuses: {str(error).splitlines()[0][:100]}"
                ] += 1
                continue
            outputs = list(found) if isinstance(found, tuple | list) else [found]
            wanted = {name: archive[f"{number}/{name}"] for name in case["outputs"]}
            figures = {name: _figures(value, outputs[int(name[3:])]) for name, value in wanted.items()}
            kept = {name: item for name, item in figures.items() if item is not None}
            if len(kept) < len(figures):
                left_out[f"{case['operator']}/{case['dtype']}: another shape, or no finite result"] += 1
            if kept:
                entries[case["digest"]] = kept
    return {"format": 1, "device": _named(device), "entries": entries}, left_out


def _tensor(array: Any, dtype: str, device: str) -> Any:
    """bfloat16 is stored as its bits."""
    if dtype == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(device)
    return torch.from_numpy(array).to(device)


def _figures(value: Any, output: Any) -> dict[str, float] | None:
    """As :func:`adapter_conform.reference.error_figures`; None where they are no numbers."""
    actual = output.detach().to("cpu", torch.float64).numpy()
    if actual.shape != value.shape:
        return None
    judged = np.isfinite(value)
    error = np.abs(actual - np.where(judged, value, 0.0))[judged]
    size = np.abs(value[judged])
    relative = error[size > 0] / size[size > 0]
    figures = {
        "max_relative": float(np.max(relative, initial=0.0)),
        "mean_relative": float(np.mean(relative)) if relative.size else 0.0,
        "rms": float(np.sqrt(np.mean(error**2))) if error.size else 0.0,
    }
    return figures if all(map(math.isfinite, figures.values())) else None


def _named(device: str) -> str:
    """A CPU says that it is one."""
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    return f"a CPU, which stands for no GPU; PyTorch {torch.__version__}"


def main() -> None:
    """Entry point. Exit codes: 0 recorded, 1 nothing could be recorded, 2 usage error."""
    parser = argparse.ArgumentParser(
        description="Records the errors of operators on a reference device, with PyTorch.",
        epilog="example: python operators.py cases.npz --device cuda --out operators.json",
    )
    parser.add_argument("cases", type=Path, help="from adapter_conform.certification.recorder.operator_cases")
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    try:
        pack, left_out = record_operators(options.cases, options.device)
    except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:  # torch asserts that it has CUDA
        parser.error(f"{options.cases} on {options.device}: {type(error).__name__}: {error}")
    for reason, count in left_out.most_common():
        print(f"left out {count}: {reason}", file=sys.stderr)
    options.out.write_text(json.dumps(pack, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{len(pack['entries'])} cases recorded on {pack['device']}: {options.out}")
    sys.exit(0 if pack["entries"] else 1)


if __name__ == "__main__":
    main()
