"""A model's folder, as Hugging Face lays it out: config.json, safetensors, tokenizer. Nothing of Paddle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from adapter_conform.errors import UsageProblem
from adapter_conform.models.weights import Weights
from adapter_conform.textfiles import read_text

__all__ = ["ModelFolder", "find_model", "load_weights", "outlined_weights"]

_DTYPES: dict[str, Any] = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F64": np.float64}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")
_WHAT = "A model's folder holds config.json, model.safetensors (or parts and their index), and a tokenizer."
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


@dataclass(frozen=True)
class ModelFolder:
    path: Path
    settings: Mapping[str, Any]
    """config.json"""
    parts: tuple[Path, ...]
    """The safetensors files."""
    tokenizer: Path | None
    """None: bytes, or characters."""

    @property
    def architecture(self) -> str:
        return str(self.settings.get("model_type"))

    @property
    def fingerprint(self) -> str:
        """Of configuration, tokenizer, and samples from all over the weights: reading all of them may take minutes."""
        digest = sha256(json.dumps(dict(self.settings), sort_keys=True).encode())
        if self.tokenizer is not None:
            digest.update(self.tokenizer.read_bytes())
        for part in self.parts:
            for sample in _samples(part):
                digest.update(sample)
        return digest.hexdigest()[:16]


def find_model(path: Path) -> ModelFolder:
    """What lies in a folder.

    Raises:
        UsageProblem: something is missing, or is not what its name says.
    """
    settings = _json(path / "config.json")
    index = path / "model.safetensors.index.json"
    if (path / "model.safetensors").is_file():
        names = ["model.safetensors"]
    elif index.is_file():
        weights = _json(index).get("weight_map")
        if not isinstance(weights, dict) or not weights:
            raise UsageProblem(f"{index}: there is no weight_map\nFetch the model again.")
        names = sorted({str(name) for name in weights.values()})
    else:
        raise UsageProblem(f"--model {path}: there is no model.safetensors\n{_WHAT}")
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise UsageProblem(f"--model {path}: {', '.join(missing[:3])} is missing\nFetch the model again.")
    tokenizer = next((path / name for name in _TOKENIZERS if (path / name).is_file()), None)
    return ModelFolder(path, settings, tuple(path / name for name in names), tokenizer)


def load_weights(folder: ModelFolder) -> Weights:
    """All weights as float32, the head's where it is that of the embedding, too.

    Raises:
        UsageProblem: a file is damaged, or holds a dtype that no weight has.
    """
    return _complete({name: array for part in folder.parts for name, array in _arrays(part)})


def outlined_weights(folder: ModelFolder) -> Weights:
    """The weights' names and shapes, without reading or keeping any: all are zeros that take no room.

    Raises:
        UsageProblem: a file is damaged.
    """
    return _complete(
        {name: np.broadcast_to(np.float32(0), shape) for part in folder.parts for name, shape in _header(part)}
    )


def _complete(weights: Weights) -> Weights:
    """Without what is computed anew, and with a head."""
    kept = {name: array for name, array in weights.items() if not name.endswith("rotary_emb.inv_freq")}
    if "lm_head.weight" not in kept and "model.embed_tokens.weight" in kept:
        kept["lm_head.weight"] = kept["model.embed_tokens.weight"]
    return kept


def _header(part: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of each tensor: 8 bytes of length, then JSON (the safetensors format)."""
    try:
        with part.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield name, tuple(tensor["shape"])
    except (OSError, ValueError, OverflowError, MemoryError, AttributeError, KeyError, TypeError) as error:
        raise UsageProblem(f"{part}: no safetensors file: {error}\nFetch the model again.") from error


def _arrays(part: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import SafetensorError, deserialize

    try:
        tensors = deserialize(part.read_bytes())  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError) as error:
        raise UsageProblem(f"{part}: no safetensors file: {error}\nFetch the model again.") from error
    for name, tensor in tensors:
        if tensor["dtype"] not in _DTYPES:
            raise UsageProblem(f"{part}: {name} is {tensor['dtype']}; known are {', '.join(_DTYPES)}")
        flat = np.frombuffer(tensor["data"], dtype=_DTYPES[tensor["dtype"]])
        yield name, flat.reshape(tensor["shape"]).astype(np.float32)


def _json(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageProblem(f"--model {path.parent}: there is no {path.name}\n{_WHAT}")
    try:
        data = json.loads(read_text(path, "configuration"))
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{path}: no JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageProblem(f"{path}: a JSON object is expected, not {type(data).__name__}")
    return data


def _samples(part: Path) -> Iterator[bytes]:
    size = part.stat().st_size
    yield str(size).encode()
    with part.open("rb") as file:
        for place in range(_SAMPLES):
            file.seek(place * max(0, size - _SAMPLE_BYTES) // max(1, _SAMPLES - 1))
            yield file.read(_SAMPLE_BYTES)
