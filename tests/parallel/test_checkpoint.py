"""Checkpoints: whole or not there, wherever the writing was cut off."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from adapter_conform.parallel import checkpoint
from adapter_conform.parallel.checkpoint import latest, prune, read_part, write_part

ARRAYS = {"weight": np.arange(50_000, dtype=np.float32), "step": np.array(3, np.int64)}
RANKS = 2


class Cut(Exception):
    """Stands for the death of the process."""


def save(root: Path, step: int) -> None:
    for rank in range(RANKS):
        write_part(root, step, rank, RANKS, ARRAYS)


def newest(root: Path) -> int | None:
    found = latest(root, RANKS)
    return None if found is None else found.step


def test_what_was_written_is_read(tmp_path: Path) -> None:
    save(tmp_path, 7)
    found = latest(tmp_path, RANKS)
    assert found is not None
    assert found.step == 7
    part = read_part(found.folder, 1)
    assert {name: array.tobytes() for name, array in part.items()} == {n: a.tobytes() for n, a in ARRAYS.items()}


def test_none_is_whole_before_all_ranks_have_written(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    save(tmp_path, 1)
    write_part(tmp_path, 2, 0, RANKS, ARRAYS)
    assert newest(tmp_path) == 1
    write_part(tmp_path, 2, 1, RANKS, ARRAYS)
    assert newest(tmp_path) == 2
    assert latest(tmp_path, 3) is None, "a checkpoint of two ranks is none for three"


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("which", range(4))
def test_a_death_between_any_two_steps_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, which: int
) -> None:
    save(tmp_path, 1)
    write_part(tmp_path, 2, 0, RANKS, ARRAYS)
    count = 0
    real = getattr(os, call)

    def dying(*arguments: object) -> None:
        nonlocal count
        count += 1
        if count > which:
            raise Cut
        real(*arguments)

    monkeypatch.setattr(checkpoint.os, call, dying)
    try:
        write_part(tmp_path, 2, 1, RANKS, ARRAYS)
        finished = True
    except Cut:
        finished = False
    monkeypatch.undo()
    assert newest(tmp_path) in ((1, 2) if call == "fsync" and which == 3 else (2,) if finished else (1,))


def test_a_death_while_bytes_are_written_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    save(tmp_path, 1)
    write_part(tmp_path, 2, 0, RANKS, ARRAYS)

    def die(written: int, size: int) -> None:
        if written * 2 > size:
            raise Cut

    with pytest.raises(Cut):
        write_part(tmp_path, 2, 1, RANKS, ARRAYS, die)
    assert newest(tmp_path) == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:100] + b"\x01" + data[101:]])
def test_damage_on_the_disk_is_seen(tmp_path: Path, damage: object) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / "step-00000002" / "rank-1.safetensors"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert newest(tmp_path) == 1
    with pytest.raises(ValueError, match="has changed"):
        read_part(path.parent, 1)


def test_old_ones_go_and_the_newest_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    write_part(tmp_path, 5, 0, RANKS, ARRAYS)
    prune(tmp_path, RANKS, keep=2)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [f"step-{step:08d}" for step in (3, 4, 5)]
    assert newest(tmp_path) == 4
