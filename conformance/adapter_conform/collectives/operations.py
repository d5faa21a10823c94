"""The collectives as Paddle offers them: a variation says with what, a function calls it and compares every element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from adapter_conform.collectives.values import Array, exact_part, movable_part, numpy_dtype, reduced
from adapter_sdk.versions import matches

__all__ = ["OPERATIONS", "ROWS", "Place", "Variation", "compare", "perform"]

ROWS: dict[str, tuple[str, ...]] = {
    "all_reduce": ("all_reduce",),
    "broadcast": ("broadcast",),
    "reduce": ("reduce",),
    "all_gather": ("all_gather",),
    "reduce_scatter": ("reduce_scatter",),
    "alltoall": ("all_to_all", "send", "recv"),
    "alltoall_split": ("all_to_all", "send", "recv"),
    "scatter": ("broadcast", "send", "recv"),
    "gather": ("all_gather", "send", "recv"),
    "send_recv": ("send", "recv"),
    "batch_p2p": ("send", "recv"),
}
"""Operation -> rows of the device's table, one of which has to count it. Paddle builds some out of others."""

OPERATIONS = tuple(ROWS)


@dataclass(frozen=True)
class Variation:
    """One call, or several of the same."""

    operation: str
    dtype: str
    count: int
    """Elements of one rank's part."""
    reduction: str = ""
    """For the operations that reduce."""
    misaligned: bool = False
    """The tensors begin one element behind an aligned address."""
    asynchronous: bool = False
    """``sync_op=False`` and ``wait()``."""
    members: tuple[int, ...] = ()
    """Ranks of a sub-group; empty for all."""
    repeat: int = 1
    in_place: bool = False
    """In a graph: the operator that writes into its input, where there are two; for send and receive, that the shape
    travels too."""

    def label(self) -> str:
        words = [
            f"{self.operation} {self.dtype}",
            self.reduction,
            str(self.count),
            "misaligned" if self.misaligned else "",
        ]
        words += ["in place" if self.in_place else ""]
        words += ["async" if self.asynchronous else "", f"repeated {self.repeat}" if self.repeat > 1 else ""]
        words += ["group " + "+".join(map(str, self.members)) if self.members else ""]
        return ", ".join(word for word in words if word)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Variation:
        return cls(**{**data, "members": tuple(data["members"])})


@dataclass
class Place:
    """Where a rank stands, and its Paddle."""

    paddle: Any
    rank: int
    """Within the group."""
    ranks: int
    members: tuple[int, ...]
    """Ranks of the whole job, in the order of the group."""
    group: Any
    seed: int

    def tensor(self, array: Array, misaligned: bool) -> tuple[Any, Any]:
        """The array on the device, and the tensor that holds it: one longer in front where it is misaligned."""
        if not misaligned:
            tensor = self.paddle.to_tensor(array) if array.dtype != numpy_dtype("bfloat16") else self._bfloat16(array)
            return tensor, tensor
        base, _ = self.tensor(np.concatenate([array[:1], array]), False)
        return base[1:], base

    def _bfloat16(self, array: Array) -> Any:
        """Paddle takes no bfloat16 from NumPy; its bits travel as uint16, which Paddle reads as bfloat16."""
        return self.paddle.to_tensor(array.view(np.uint16), dtype="bfloat16")

    def blank(self, count: int, variation: Variation) -> tuple[Any, Any]:
        """Room for a result: filled with what no result is likely to be."""
        return self.tensor(movable_part(self.seed + 77, 1000 + self.rank, count, variation.dtype), variation.misaligned)


Wanted = tuple[Array, Any]
"""What is right, and the tensor that should hold it."""


def perform(place: Place, variation: Variation) -> list[str]:
    """Calls the operation and compares every element of every result. Returns what is wrong, in words."""
    wrong: list[str] = []
    function = _CALLS[variation.operation]
    for turn in range(variation.repeat):
        for index, (array, tensor) in enumerate(function(replace(place, seed=place.seed + 1000 * turn), variation)):
            fault = compare(array, _to_numpy(tensor, variation.dtype))
            if fault:
                wrong.append(f"rank {place.members[place.rank]}, turn {turn}, result {index}: {fault}")
    return wrong


def _to_numpy(tensor: Any, dtype: str) -> Array:
    array: Array = tensor.numpy()
    return array.view(numpy_dtype(dtype)) if dtype == "bfloat16" and array.dtype == np.uint16 else array


def compare(wanted: Array, got: Array) -> str:
    """Where the bits differ, in words; empty where they do not."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    bits = np.dtype(f"u{wanted.dtype.itemsize}")
    same = np.ascontiguousarray(wanted).view(bits) == np.ascontiguousarray(got).view(bits)
    if wanted.dtype.kind not in "biu":
        same |= (wanted == 0) & (got == 0)  # a sum of zeros may have either sign
    wrong = np.flatnonzero(~same)
    if not wrong.size:
        return ""
    first = int(wrong[0])
    return f"{wrong.size} of {wanted.size} elements differ, first [{first}]: {got[first]} instead of {wanted[first]}"


def _wait(task: Any, variation: Variation) -> None:
    if variation.asynchronous and task is not None:
        task.wait()


def _sync(variation: Variation) -> dict[str, Any]:
    return {"sync_op": not variation.asynchronous}


def _op(place: Place, reduction: str) -> Any:
    return getattr(place.paddle.distributed.ReduceOp, reduction.upper())


def _parts(place: Place, variation: Variation, count: int) -> list[Array]:
    return [
        exact_part(place.seed, rank, place.ranks, count, variation.dtype, variation.reduction)
        for rank in range(place.ranks)
    ]


def _intact(place: Place, variation: Variation, array: Array, base: Any) -> list[Wanted]:
    """The element in front of a misaligned tensor, which nobody may touch."""
    return [(array[:1], base[:1])] if variation.misaligned else []


def _all_reduce(place: Place, variation: Variation) -> list[Wanted]:
    parts = _parts(place, variation, variation.count)
    tensor, base = place.tensor(parts[place.rank], variation.misaligned)
    call = place.paddle.distributed.all_reduce
    _wait(call(tensor, op=_op(place, variation.reduction), group=place.group, **_sync(variation)), variation)
    front = _intact(place, variation, parts[place.rank], base)
    return [(reduced(parts, variation.reduction), tensor), *front]


def _reduce(place: Place, variation: Variation) -> list[Wanted]:
    parts = _parts(place, variation, variation.count)
    tensor, base = place.tensor(parts[place.rank], variation.misaligned)
    root = variation.count % place.ranks
    op = _op(place, variation.reduction)
    call = place.paddle.distributed.reduce
    _wait(call(tensor, dst=place.members[root], op=op, group=place.group, **_sync(variation)), variation)
    front = _intact(place, variation, parts[place.rank], base)
    return [(reduced(parts, variation.reduction), tensor), *front] if place.rank == root else front


def _reduce_scatter(place: Place, variation: Variation) -> list[Wanted]:
    parts = _parts(place, variation, variation.count * place.ranks)
    out, base = place.blank(variation.count, variation)
    before = _to_numpy(base, variation.dtype).copy()
    own = np.split(parts[place.rank], place.ranks)
    inputs = [place.tensor(part, variation.misaligned)[0] for part in own]
    op = _op(place, variation.reduction)
    call = place.paddle.distributed.reduce_scatter
    _wait(call(out, inputs, op=op, group=place.group, **_sync(variation)), variation)
    wanted = np.split(reduced(parts, variation.reduction), place.ranks)[place.rank]
    kept = [(part, tensor) for part, tensor in zip(own, inputs, strict=True)]  # inputs are not written to
    return [(wanted, out), *kept, *_intact(place, variation, before, base)]


def _broadcast(place: Place, variation: Variation) -> list[Wanted]:
    root = (variation.count + 1) % place.ranks
    parts = [movable_part(place.seed, rank, variation.count, variation.dtype) for rank in range(place.ranks)]
    tensor, base = place.tensor(parts[place.rank], variation.misaligned)
    call = place.paddle.distributed.broadcast
    _wait(call(tensor, src=place.members[root], group=place.group, **_sync(variation)), variation)
    return [(parts[root], tensor), *_intact(place, variation, parts[place.rank], base)]


def _all_gather(place: Place, variation: Variation) -> list[Wanted]:
    parts = [movable_part(place.seed, rank, variation.count, variation.dtype) for rank in range(place.ranks)]
    tensor, _ = place.tensor(parts[place.rank], variation.misaligned)
    outs: list[Any] = []
    call = place.paddle.distributed.all_gather
    _wait(call(outs, tensor, group=place.group, **_sync(variation)), variation)
    whole, base = place.blank(variation.count * place.ranks, variation)
    before = _to_numpy(base, variation.dtype).copy()
    stream = place.paddle.distributed.stream.all_gather
    _wait(stream(whole, tensor, group=place.group, **_sync(variation)), variation)
    front = _intact(place, variation, before, base)
    return [*zip(parts, outs, strict=True), (np.concatenate(parts), whole), *front]


def _pairs(place: Place, variation: Variation, counts: Callable[[int, int], int]) -> tuple[list[Array], list[Array]]:
    """What this rank sends to each, and what it gets from each."""

    def part(source: int, target: int) -> Array:
        return movable_part(place.seed, source * 64 + target, counts(source, target), variation.dtype)

    return (
        [part(place.rank, other) for other in range(place.ranks)],
        [part(other, place.rank) for other in range(place.ranks)],
    )


def _alltoall(place: Place, variation: Variation) -> list[Wanted]:
    sent, wanted = _pairs(place, variation, lambda _source, _target: variation.count)
    inputs = [place.tensor(part, variation.misaligned)[0] for part in sent]
    outs = [place.blank(variation.count, variation)[0] for _ in sent]
    call = place.paddle.distributed.alltoall
    _wait(call(outs, inputs, group=place.group, **_sync(variation)), variation)
    return list(zip(wanted, outs, strict=True))


def _alltoall_split(place: Place, variation: Variation) -> list[Wanted]:
    """Every pair has a size of its own; some are 0, which Paddle 3.0 itself refuses to cut off."""
    least = 1 if matches(place.paddle.__version__, "<3.1") else 0

    def counts(source: int, target: int) -> int:
        return (least + (source + 2 * target) % 3) * variation.count

    sent, wanted = _pairs(place, variation, counts)
    source, _ = place.tensor(np.concatenate(sent), variation.misaligned)
    out, base = place.blank(sum(map(len, wanted)), variation)
    before = _to_numpy(base, variation.dtype).copy()
    sizes = {"in_split_sizes": [len(part) for part in sent], "out_split_sizes": [len(part) for part in wanted]}
    call = place.paddle.distributed.alltoall_single
    _wait(call(out, source, **sizes, group=place.group, **_sync(variation)), variation)
    return [(np.concatenate(wanted), out), *_intact(place, variation, before, base)]


def _scatter(place: Place, variation: Variation) -> list[Wanted]:
    root = variation.count % place.ranks
    parts = [movable_part(place.seed, rank, variation.count, variation.dtype) for rank in range(place.ranks)]
    inputs = [place.tensor(part, variation.misaligned)[0] for part in parts] if place.rank == root else None
    out, _ = place.blank(variation.count, variation)
    call = place.paddle.distributed.scatter
    _wait(call(out, inputs, src=place.members[root], group=place.group, **_sync(variation)), variation)
    return [(parts[place.rank], out)]


def _gather(place: Place, variation: Variation) -> list[Wanted]:
    root = variation.count % place.ranks
    parts = [movable_part(place.seed, rank, variation.count, variation.dtype) for rank in range(place.ranks)]
    tensor, _ = place.tensor(parts[place.rank], variation.misaligned)
    outs: list[Any] = []
    call = place.paddle.distributed.gather
    _wait(call(tensor, outs, dst=place.members[root], group=place.group, **_sync(variation)), variation)
    return list(zip(parts, outs, strict=True)) if place.rank == root else []


def _send_recv(place: Place, variation: Variation) -> list[Wanted]:
    """Around the ring, one after the other: every rank receives first, except the one that begins."""
    before, behind = (place.rank - 1) % place.ranks, (place.rank + 1) % place.ranks
    own = movable_part(place.seed, place.rank, variation.count, variation.dtype)
    wanted = movable_part(place.seed, before, variation.count, variation.dtype)
    tensor, _ = place.tensor(own, variation.misaligned)
    out, _ = place.blank(variation.count, variation)
    dist = place.paddle.distributed

    def send() -> None:
        _wait(dist.send(tensor, dst=place.members[behind], group=place.group, **_sync(variation)), variation)

    if place.rank == 0:
        send()
    _wait(dist.recv(out, src=place.members[before], group=place.group, **_sync(variation)), variation)
    if place.rank != 0:
        send()
    return [(wanted, out)]


def _batch_p2p(place: Place, variation: Variation) -> list[Wanted]:
    """Everybody sends to everybody at once, which deadlocks unless the group runs together."""
    sent, wanted = _pairs(place, variation, lambda _source, _target: variation.count)
    dist = place.paddle.distributed
    tensors = [place.tensor(part, variation.misaligned)[0] for part in sent]
    outs = [place.blank(variation.count, variation)[0] for _ in sent]
    operations, results = [], []
    for other in range(place.ranks):
        if other == place.rank:
            continue
        operations.append(dist.P2POp(dist.isend, tensors[other], place.members[other], place.group))
        operations.append(dist.P2POp(dist.irecv, outs[other], place.members[other], place.group))
        results.append((wanted[other], outs[other]))
    for task in dist.batch_isend_irecv(operations):
        task.wait()
    return results


_CALLS: dict[str, Callable[[Place, Variation], list[Wanted]]] = {
    "all_reduce": _all_reduce,
    "broadcast": _broadcast,
    "reduce": _reduce,
    "all_gather": _all_gather,
    "reduce_scatter": _reduce_scatter,
    "alltoall": _alltoall,
    "alltoall_split": _alltoall_split,
    "scatter": _scatter,
    "gather": _gather,
    "send_recv": _send_recv,
    "batch_p2p": _batch_p2p,
}
