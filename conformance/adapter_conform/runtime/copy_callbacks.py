"""Copies by each of the device's own callbacks, large ones, several in flight, and such whose ranges overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Array, Bench
from adapter_conform.runtime.check import check

__all__: list[str] = []

_SIZE = 1 << 16
_SYNC = ("memory_copy_h2d", "memory_copy_d2h", "memory_copy_d2d")
_ASYNC = tuple(f"async_{name}" for name in _SYNC)


def _draw(bench: Bench) -> tuple[int, int, int]:
    """How many bytes, from where, to where; any alignment."""
    count = int(bench.random.integers(0, 1 << int(bench.random.integers(1, 15))))
    begin, end = (int(bench.random.integers(0, _SIZE - count)) for _ in range(2))
    return count, begin, end


@check(
    "copies/callbacks",
    "Each copy callback, synchronous or on a stream, copies the bytes asked for, at any address, and none beside them.",
    covers=(*_SYNC, *_ASYNC, "create_stream", "synchronize_stream", "destroy_stream"),
    repeat=(25, 150, 1500),
)
def callbacks(bench: Bench) -> None:
    calls = bench.callbacks()
    stream = calls.create_stream()
    source, target = bench.bits(_SIZE, "uint8"), bench.bits(_SIZE, "uint8")
    on_device, beside = bench.tensor(source), bench.tensor(target)
    try:
        for _ in range(bench.repetitions):
            for slot in (*_SYNC, *_ASYNC):
                count, begin, end = _draw(bench)
                host = bench.bits(_SIZE, "uint8")
                ends: dict[str, tuple[int, Array]] = {
                    "h2d": (host.ctypes.data, host),
                    "d2h": (on_device.data_ptr(), source),
                    "d2d": (on_device.data_ptr(), source),
                }
                origin, data = ends[slot[-3:]]
                wanted, address = (
                    (host.copy(), host.ctypes.data) if slot.endswith("d2h") else (target, beside.data_ptr())
                )
                if slot in _SYNC:
                    calls.copy(slot, address + end, origin + begin, count)
                else:
                    calls.copy_async(slot, stream, address + end, origin + begin, count)
                    calls.synchronize_stream(stream)
                wanted[end : end + count] = data[begin : begin + count]
                what = f"{slot}, {count} bytes from offset {begin} to offset {end}, and everything beside them"
                if slot.endswith("d2h"):
                    bench.same(what, wanted, host)
                else:
                    bench.stored(what, wanted, beside)
        bench.stored("the source of all copies", source, on_device)
    finally:
        calls.destroy_stream(stream)


@check(
    "copies/between_cards_callbacks",
    "Both callbacks that copy from card to card copy the bytes asked for and none beside them.",
    covers=("memory_copy_p2p", "async_memory_copy_p2p"),
    cards=2,
    repeat=(20, 100, 1000),
)
def between_cards_callbacks(bench: Bench) -> None:
    here, there = bench.card, bench.other_card()
    calls = bench.callbacks(there)
    stream = calls.create_stream()
    source, target = bench.bits(_SIZE, "uint8"), bench.bits(_SIZE, "uint8")
    sent, received = bench.tensor(source), bench.tensor(target, there)
    try:
        for turn in range(bench.repetitions):
            count, begin, end = _draw(bench)
            to, origin = received.data_ptr() + end, sent.data_ptr() + begin
            if turn % 2:
                calls.copy_peer_async(here, stream, to, origin, count)
                calls.synchronize_stream(stream)
            else:
                calls.copy_peer(here, to, origin, count)
            target[end : end + count] = source[begin : begin + count]
            bench.stored(f"{count} bytes from card {here} to card {there}", target, received, there)
    finally:
        calls.destroy_stream(stream)


@check(
    "copies/large",
    "One copy of many MiB arrives whole, there, on the device and back.",
    covers=("memory_copy_h2d", "memory_copy_d2h", "async_memory_copy_d2d"),
    repeat=(40, 257, 2049),
    timeout=300.0,
)
def large(bench: Bench) -> None:
    room = bench.library.memory_bytes(bench.card) - bench.settled()
    size = min(bench.repetitions << 20, room // 3) + 3 - 16
    bench.notes["bytes"] = size
    block = bench.bits(min(size, 1 << 20), "uint8")
    data = np.resize(block, size)
    data[:: 1 << 20] = np.arange(data[:: 1 << 20].size, dtype=np.uint64).astype(np.uint8)  # no two MiB are alike
    tensor = bench.tensor(data)
    bench.holds(f"{size} bytes, there and back", data, tensor)
    copied = tensor._copy_to(bench.place(), True)
    del tensor
    bench.stored(f"{size} bytes, copied on the device", data, copied)


@check(
    "copies/in_flight",
    "Copies in flight on several streams at once do not disturb each other.",
    covers=("async_memory_copy_d2d", "async_memory_copy_h2d", "create_stream"),
    repeat=(4, 20, 200),
)
def in_flight(bench: Bench) -> None:
    calls = bench.callbacks()
    streams = [calls.create_stream() for _ in range(4)]
    try:
        for _ in range(bench.repetitions):
            arrays = [bench.bits(int(bench.random.integers(1, 1 << 19)), "uint8") for _ in range(16)]
            there = [bench.tensor(np.zeros(array.size, np.uint8)) for array in arrays]
            copies = [bench.tensor(np.zeros(array.size, np.uint8)) for array in arrays]
            for index, array in enumerate(arrays):
                stream = streams[index % len(streams)]
                to, size = there[index].data_ptr(), array.nbytes
                calls.copy_async("async_memory_copy_h2d", stream, to, array.ctypes.data, size)
                calls.copy_async("async_memory_copy_d2d", stream, copies[index].data_ptr(), to, size)
            for stream in streams:
                calls.synchronize_stream(stream)
            for array, first, second in zip(arrays, there, copies, strict=True):
                bench.stored("one of 16 copies from the host on four streams", array, first)
                bench.stored("one of 16 copies on the device on four streams", array, second)
    finally:
        for stream in streams:
            calls.destroy_stream(stream)


@check(
    "copies/overlapping",
    "A copy on the device between ranges that overlap touches nothing beside its target.",
    covers=("memory_copy_d2d", "async_memory_copy_d2d"),
    repeat=(10, 60, 600),
)
def overlapping(bench: Bench) -> None:
    """What the target holds then is nobody's promise: it is noted, and judged only where the ranges are the same."""
    calls = bench.callbacks()
    stream = calls.create_stream()
    wanted = bench.bits(_SIZE, "uint8")
    tensor = bench.tensor(wanted)
    as_memmove = tried = 0
    try:
        for turn in range(bench.repetitions):
            count = int(bench.random.integers(2, _SIZE // 2))
            begin = int(bench.random.integers(count, _SIZE - 2 * count)) if count * 3 < _SIZE else 0
            shift = 0 if turn % 5 == 0 else int(bench.random.integers(1, count))
            end = begin - shift if shift <= begin and turn % 2 else begin + shift
            copy = _on_stream(calls, stream) if turn % 3 == 0 else calls.copy
            copy("memory_copy_d2d", tensor.data_ptr() + end, tensor.data_ptr() + begin, count)
            found = bench.peek(tensor.data_ptr(), _SIZE)
            outside = np.ones(_SIZE, bool)
            outside[end : end + count] = False
            bench.same(f"beside {count} bytes moved by {end - begin}", wanted[outside], found[outside])
            moved = wanted[begin : begin + count].copy()
            wanted[end : end + count] = moved
            if shift == 0:
                bench.same(f"{count} bytes copied onto themselves", wanted, found)
            tried += shift != 0
            as_memmove += shift != 0 and bool((found == wanted).all())
            wanted = found
    finally:
        calls.destroy_stream(stream)
    bench.notes["overlapping ranges as by memmove"] = f"{as_memmove} of {tried}"
    bench.stored("the tensor after all moves", wanted, tensor)


def _on_stream(calls: Any, stream: int) -> Callable[[str, int, int, int], None]:
    def copy(slot: str, target: int, source: int, size: int) -> None:
        calls.copy_async(f"async_{slot}", stream, target, source, size)
        calls.synchronize_stream(stream)

    return copy
