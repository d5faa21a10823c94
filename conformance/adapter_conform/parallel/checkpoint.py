"""Checkpoints that are whole or not there: each rank's part is written aside, flushed, and renamed into place.

    FOLDER/step-00000010/rank-0.safetensors   arrays by name
    FOLDER/step-00000010/rank-0.json          step, rank, ranks, bytes and SHA-256 of the above; renamed after it

A checkpoint counts when the part of every rank is there with the digest that it should have.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

__all__ = ["Checkpoint", "latest", "prune", "read_part", "write_part"]

Arrays = dict[str, NDArray[Any]]

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    step: int
    """Steps that had been made."""


def write_part(
    root: Path, step: int, rank: int, ranks: int, arrays: Arrays, written: Callable[[int, int], None] | None = None
) -> Path:
    """Writes one rank's part of the checkpoint after ``step`` steps. ``written`` is told after each piece how many of
    how many bytes are on their way to the disk.

    Raises:
        OSError: the disk is full, or the folder cannot be written; what was there before is untouched.
    """
    folder = root / f"step-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    _put(folder / f"rank-{rank}.safetensors", data, written)
    facts = {"step": step, "rank": rank, "ranks": ranks, "bytes": len(data), "sha256": _digest(data)}
    _put(folder / f"rank-{rank}.json", json.dumps(facts).encode(), None)
    return folder


def latest(root: Path, ranks: int) -> Checkpoint | None:
    """The newest checkpoint that is whole for ``ranks`` ranks; ``None`` where there is none. Reads all it considers."""
    for folder in sorted(root.glob("step-*"), reverse=True):
        if all(_whole(folder, rank, ranks) for rank in range(ranks)):
            return Checkpoint(folder, int(folder.name.removeprefix("step-")))
    return None


def read_part(folder: Path, rank: int) -> Arrays:
    """What :func:`write_part` wrote.

    Raises:
        ValueError: the bytes are not those that were written.
    """
    data = (folder / f"rank-{rank}.safetensors").read_bytes()
    if _digest(data) != json.loads((folder / f"rank-{rank}.json").read_text())["sha256"]:
        raise ValueError(f"{folder}/rank-{rank}.safetensors has changed since it was written")
    arrays: Arrays = load(data)
    return arrays


def prune(root: Path, ranks: int, keep: int = 2) -> None:
    """Removes what is older than the newest ``keep`` whole checkpoints, torn ones included."""
    whole = [
        folder
        for folder in sorted(root.glob("step-*"), reverse=True)
        if all((folder / f"rank-{rank}.json").exists() for rank in range(ranks))
    ]
    if len(whole) > keep:
        for folder in root.glob("step-*"):
            if folder.name < whole[keep - 1].name:
                shutil.rmtree(folder)


def _whole(folder: Path, rank: int, ranks: int) -> bool:
    try:
        facts = json.loads((folder / f"rank-{rank}.json").read_text())
        data = (folder / f"rank-{rank}.safetensors").read_bytes()
    except FileNotFoundError:
        return False
    return bool(facts["ranks"] == ranks and facts["bytes"] == len(data) and facts["sha256"] == _digest(data))


def _put(path: Path, data: bytes, written: Callable[[int, int], None] | None) -> None:
    """Writes a file that has all of ``data`` or does not exist under its name, whenever the machine goes down."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        for begin in range(0, len(data), _CHUNK):
            file.write(data[begin : begin + _CHUNK])
            file.flush()
            if written is not None:
                written(min(begin + _CHUNK, len(data)), len(data))
        os.fsync(file.fileno())
    os.replace(aside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
