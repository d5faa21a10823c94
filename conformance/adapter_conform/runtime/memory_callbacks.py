"""Memory, asked for and given back by the device's own callbacks, and from several threads at once."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from adapter_conform.runtime.bench import Array, Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.copies import DTYPES
from adapter_conform.runtime.errors import CheckFailed
from adapter_conform.runtime.streams import Chain

__all__: list[str] = []

_TAKE = ("device_memory_allocate", "device_memory_deallocate")
_HOST = ("host_memory_allocate", "host_memory_deallocate")
_LARGEST_ELEMENT = 16
"""Bytes of a complex128."""
_THREADS = 4


@check(
    "memory/alignment",
    "Every address is a multiple of the largest element, and of what the plugin declares.",
    covers=("device_memory_allocate", "the table tells the truth"),
)
def alignment(bench: Bench) -> None:
    wanted = max(_LARGEST_ELEMENT, bench.session.plugin.memory.alignment_bytes or 1)
    addresses = []
    for dtype in DTYPES:
        for count in (1, 3, 17, 1001):
            array = bench.bits(count, dtype)
            tensor = bench.tensor(array)
            bench.stored(f"{count} elements of {dtype}", array, tensor)
            addresses.append(tensor.data_ptr())
    odd = [address for address in addresses if address % wanted]
    bench.notes["alignment_bytes"] = min(address & -address for address in addresses)
    bench.demand(not odd, f"{len(odd)} of {len(addresses)} addresses are no multiple of {wanted}, e.g. {odd[:1]}")


@check(
    "memory/device_statistics",
    "The device's own statistics name the whole card, and what is free falls and rises with what is taken.",
    covers=("device_memory_stats", *_TAKE, "the table tells the truth"),
)
def device_statistics(bench: Bench) -> None:
    callbacks, size = bench.callbacks(), 8 << 20
    total, free = callbacks.memory_stats()
    whole = bench.library.memory_bytes(bench.card)
    bench.demand(total == whole, f"device_memory_stats says {total} bytes in all, the table {whole}")
    bench.demand(0 <= free <= total, f"{free} of {total} bytes are free")
    taken = bench.allocated()
    with _taken(bench, size):
        less, more = free - callbacks.memory_stats()[1], bench.allocated() - taken
        bench.demand(less >= size, f"{size} bytes were taken, and free memory fell by {less}")
        bench.demand(more >= size, f"{size} bytes were taken, and the table's allocated_bytes rose by {more}")
    after = callbacks.memory_stats()
    bench.demand(after == (total, free), f"device_memory_stats said {(total, free)}, and says {after} afterwards")
    bench.proved("its statistics followed what was taken")


@check(
    "memory/fill",
    "Filling memory sets every byte asked for and none beside them, after the work given before.",
    covers=("device_memory_set",),
    repeat=(20, 100, 1000),
)
def fill(bench: Bench) -> None:
    callbacks, size = bench.callbacks(), 1 << 16
    wanted = bench.bits(size, "uint8")
    tensor = bench.tensor(wanted)
    for _ in range(bench.repetitions):
        count = int(bench.random.integers(1, 1 << int(bench.random.integers(1, 15))))
        begin, value = int(bench.random.integers(0, size - count)), int(bench.random.integers(0, 256))
        callbacks.fill(tensor.data_ptr() + begin, value, count)
        wanted[begin : begin + count] = value
        bench.stored(f"{count} bytes from offset {begin} set to {value}, and all beside them", wanted, tensor)


@check(
    "memory/host",
    "Host memory that the device hands out can be written and read, overlaps nothing, and can be copied from and to.",
    covers=(*_HOST, "memory_copy_h2d", "memory_copy_d2h"),
)
def host(bench: Bench) -> None:
    callbacks = bench.callbacks()
    sizes = [1, 511, 4096, 100_003, 1 << 20]
    for _ in range(bench.repetitions):
        pieces = [(callbacks.allocate_host(size), bench.bits(size, "uint8")) for size in sizes]
        try:
            bench.demand(all(address for address, _ in pieces), "host_memory_allocate gave no address")
            spans = sorted((address, address + data.nbytes) for address, data in pieces)
            for (begin, end), (following, _) in pairwise(spans):
                bench.demand(end <= following, f"pieces at {begin:#x}-{end:#x} and {following:#x} overlap")
            for address, data in pieces:
                ctypes.memmove(address, data.ctypes.data, data.nbytes)
            for address, data in pieces:
                found = np.frombuffer(ctypes.string_at(address, data.nbytes), np.uint8)
                bench.same(f"{data.nbytes} bytes in host memory of the device", data, found)
                _there_and_back(bench, address, data)
        finally:
            for address, data in pieces:
                callbacks.deallocate_host(address, data.nbytes)


def _there_and_back(bench: Bench, address: int, data: Array) -> None:
    callbacks, size = bench.callbacks(), data.nbytes
    tensor = bench.tensor(np.zeros(size, np.uint8))
    callbacks.copy("memory_copy_h2d", tensor.data_ptr(), address, size)
    bench.stored(f"{size} bytes from host memory of the device", data, tensor)
    ctypes.memset(address, 0, size)
    callbacks.copy("memory_copy_d2h", address, tensor.data_ptr(), size)
    found = np.frombuffer(ctypes.string_at(address, size), np.uint8)
    bench.same(f"{size} bytes back to host memory of the device", data, found)


@check(
    "memory/given_back_while_busy",
    "Memory given back while work on it is pending is not handed out again before that work is done.",
    covers=(*_TAKE, "memory in use is not given to others", "async_memory_copy_d2d", "async_memory_copy_h2d"),
    kernels=("add/float32",),
    repeat=(3, 20, 200),
)
def given_back_while_busy(bench: Bench) -> None:
    callbacks, device, size = bench.callbacks(), bench.paddle.device, 1 << 20
    chain = Chain.long_enough(bench)
    stream, other = device.Stream(), callbacks.create_stream()
    handle = stream._as_parameter_.value
    reused = 0
    try:
        for _ in range(bench.repetitions):
            data, others = bench.bits(size, "uint8"), bench.bits(size, "uint8")
            target = bench.tensor(np.zeros(size, np.uint8))
            source = callbacks.allocate(size)
            bench.poke(source, data)
            with bench.computing("add/float32"):
                with device.stream_guard(stream):
                    chain.run()
                callbacks.copy_async("async_memory_copy_d2d", handle, target.data_ptr(), source, size)
                callbacks.deallocate(source, size)
                with _taken(bench, size) as taken:
                    reused += taken == source
                    callbacks.copy_async("async_memory_copy_h2d", other, taken, others.ctypes.data, size)
                    callbacks.synchronize_stream(other)
                    stream.synchronize()
            bench.stored("copied on a busy stream out of memory given back right afterwards", data, target)
    finally:
        callbacks.destroy_stream(other)
    bench.notes["address_came_back"] = f"{reused} of {bench.repetitions}"


@check(
    "memory/threads",
    "Several threads that take and give back memory at once never get the same, and all of it is back in the end.",
    covers=(*_TAKE, "calls from several threads"),
    repeat=(150, 1000, 10_000),
)
def threads(bench: Bench) -> None:
    bench.still_works()
    start = bench.settled()
    failures: list[str] = []
    plans = [(bench.random.integers(1, 60_000, bench.repetitions), index + 1) for index in range(_THREADS)]
    running = [threading.Thread(target=_work, args=(bench, *plan, failures), daemon=True) for plan in plans]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    bench.demand(not failures, "; ".join(failures[:3]))
    left = bench.settled()
    bench.demand(left == start, f"{left - start} bytes stayed allocated after {_THREADS} threads had given all back")
    bench.proved(f"{_THREADS} threads found what each had written at its tensors' addresses")


def _work(bench: Bench, sizes: Array, mark: int, failures: list[str]) -> None:
    """Holds eight tensors at a time, each full of the thread's own number."""
    try:
        bench.paddle.set_device(bench.device)
        held = []
        for step, size in enumerate(sizes.tolist()):
            held.append(bench.paddle.to_tensor(np.full(size, mark, np.uint8), place=bench.place()))
            if len(held) > 8:
                tensor = held.pop(step % 8)
                found = bench.peek(tensor.data_ptr(), tensor.shape[0])
                if (found != mark).any():
                    raise CheckFailed(f"a tensor of {found.size} bytes of {mark} holds {found[found != mark][0]}")
    except Exception as error:  # it must not get lost with its thread
        failures.append(f"thread {mark}: {type(error).__name__}: {error}")


@contextmanager
def _taken(bench: Bench, size: int) -> Iterator[int]:
    callbacks = bench.callbacks()
    address = callbacks.allocate(size)
    if not address:
        raise CheckFailed(f"device_memory_allocate gave no address for {size} bytes")
    try:
        yield address
    finally:
        callbacks.deallocate(address, size)
