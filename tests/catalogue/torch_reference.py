"""Computes catalogue entries with PyTorch in float64. A program; needs torch and NumPy.

    python torch_reference.py OPERATORS.py EXAMPLES.npz

OPERATORS.py is the recorder's table of entries as PyTorch calls.
EXAMPLES.npz holds ``index``, JSON: a list of {"operator", "attributes", "inputs", "cotangents"}, where the last two
count arrays ``<number>/in<i>`` and ``<number>/d<i>``. Results go to EXAMPLES.npz.out.npz as ``<number>/out<i>`` and
``<number>/grad<i>``.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

OPERATORS: Mapping[str, Callable[[list[Any], dict[str, Any]], Any]] = runpy.run_path(sys.argv[1])["OPERATORS"]


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
    if sys.argv[2] == "--operators":
        print(json.dumps(sorted(OPERATORS)))
    else:
        main(sys.argv[2])
