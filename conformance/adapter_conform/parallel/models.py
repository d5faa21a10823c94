"""The models of the parallel suite, small and without dropout, and their weights, which travel to the ranks in a file.

Equal seeds do not give equal weights on ranks that hold different parts, so NumPy draws the weights of the whole model,
and every rank takes its part out of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.architectures import ARCHITECTURES, Architecture
from adapter_conform.models.paddlenlp_adapter import build_model
from adapter_conform.models.weights import write_weights
from adapter_conform.models.workloads import drawn_weights

__all__ = ["LENGTH", "MODELS", "load_part", "part_of", "whole_weights"]

LENGTH = 32
"""Of a row."""

MODELS: dict[str, Architecture] = {
    "llama": ARCHITECTURES["llama_gqa"],
    # Eight layers: four stages with two chunks each.
    "llama_deep": ARCHITECTURES["llama_gqa"].having({"num_hidden_layers": 8, "hidden_size": 32}),
    "qwen2_moe": ARCHITECTURES["qwen2_moe"],
}


def whole_weights(paddle: ModuleType, model: str, seed: int, path: Path) -> None:
    """Draws the weights of the whole model and writes them to ``path``, all at once.

    The model is built for its names and shapes alone, on Paddle's current device.
    """
    aside = path.with_name(f".{path.name}")
    write_weights(aside, drawn_weights(build_model(paddle, MODELS[model]), seed))
    aside.replace(path)


def main() -> None:
    """``python -m adapter_conform.parallel.models MODEL SEED PATH``: the weights, where no plugin is mounted."""
    import paddle

    paddle.set_device("cpu")
    whole_weights(paddle, sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.flush()
    os._exit(0)


def part_of(whole: NDArray[Any], shape: tuple[int, ...], rank: int, name: str) -> tuple[NDArray[Any], str]:
    """The part of ``whole`` that a rank with a parameter of ``shape`` holds, and its name, e.g. ``"1/2 of axis 0"``.

    Megatron's layout, which PaddleNLP follows: a parameter is cut along one axis into equal blocks, in the order of the
    ranks of the tensor-parallel group.

    Raises:
        ValueError: the shapes do not fit.
    """
    if whole.shape == shape:
        return whole, "whole"
    axes = [axis for axis, (full, own) in enumerate(zip(whole.shape, shape, strict=True)) if full != own]
    if len(axes) != 1 or whole.shape[axes[0]] % shape[axes[0]]:
        raise ValueError(f"{name}: a part of shape {shape} does not fit the whole, {whole.shape}")
    (axis,) = axes
    parts = whole.shape[axis] // shape[axis]
    return np.split(whole, parts, axis=axis)[rank], f"{rank}/{parts} of axis {axis}"


def load_part(model: Any, weights: Mapping[str, NDArray[Any]], rank: int) -> dict[str, str]:
    """Copies into ``model`` what it holds of ``weights``; ``rank`` is that in the tensor-parallel group.

    Returns:
        name of each parameter -> which part of it this is.

    Raises:
        ValueError: a parameter has no counterpart, or its shape does not fit.
    """
    parts = {}
    for name, tensor in model.state_dict().items():
        if name not in weights:
            raise ValueError(f"{name} is in the model and not in the weights")
        array, parts[name] = part_of(weights[name], tuple(tensor.shape), rank, name)
        tensor.set_value(np.ascontiguousarray(array))
    return parts


if __name__ == "__main__":
    main()
