"""Memory: what is taken comes back, nothing overlaps, running out is an error like any other."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from itertools import pairwise
from typing import Any

from adapter_conform.runtime.bench import Array, Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.child import run_child
from adapter_conform.runtime.errors import CheckFailed, NotApplicable

__all__: list[str] = []

_MEMORY = ("device_memory_allocate", "device_memory_deallocate")
_SIZES = (1, 511, 4096, 100_003, 1 << 20, 16 << 20)
_MARGIN = 1 << 20


@check(
    "memory/taken_and_returned",
    "Tensors take memory of the device, and when they are gone and the pool is emptied all of it is back.",
    covers=(*_MEMORY, "the table tells the truth"),
)
def taken_and_returned(bench: Bench) -> None:
    _hold(bench)  # once beforehand: a device may set up something for good at its first use
    for _ in range(bench.repetitions):
        start = bench.settled()
        taken = _hold(bench)
        bench.demand(
            taken - start >= sum(_SIZES),
            f"tensors of {sum(_SIZES)} bytes were alive, but the device's allocated_bytes rose by {taken - start} only",
        )
        left = bench.settled()
        bench.demand(left == start, f"{left - start} bytes stayed allocated after all tensors were gone")
    bench.proved("its allocated_bytes followed the tensors")


def _hold(bench: Bench) -> int:
    """Makes tensors, looks at them on the device, and returns what was allocated while they lived."""
    arrays = [bench.bits(size, "uint8") for size in _SIZES]
    tensors = [bench.tensor(array) for array in arrays]
    for array, tensor in zip(arrays, tensors, strict=True):
        bench.stored("a tensor of bytes", array, tensor)
    return bench.allocated()


@check(
    "memory/paddle_statistics",
    "Paddle's statistics rise and fall with the tensors and stay within what the device says it handed out.",
    covers=(*_MEMORY, "device_min_chunk_size", "the table tells the truth"),
)
def paddle_statistics(bench: Bench) -> None:
    bench.settled()
    before = bench.statistic("Allocated")
    array = bench.bits(3 << 20, "uint8")
    tensor = bench.tensor(array)
    bench.stored("a tensor of 3 MiB", array, tensor)
    during, reserved, handed_out = bench.statistic("Allocated"), bench.statistic("Reserved"), bench.allocated()
    bench.demand(during - before >= array.nbytes, f"Allocated rose by {during - before} bytes for {array.nbytes}")
    bench.demand(
        during <= reserved <= handed_out,
        f"Allocated {during}, Reserved {reserved}, and the device's allocated_bytes {handed_out} should not fall",
    )
    peak = bench.core.device_memory_stat_peak_value("Allocated", bench.card)
    bench.demand(peak >= during, f"the peak, {peak} bytes, is below the {during} bytes allocated now")
    del tensor
    bench.settled()
    after = bench.statistic("Allocated")
    bench.demand(after == before, f"Allocated was {before} bytes, and is {after} after the tensor is gone")
    left = bench.statistic("Reserved")
    bench.demand(left <= bench.allocated(), f"Reserved is {left} bytes, more than the device has handed out")


@check(
    "memory/zero_size",
    "Tensors without elements can be made, copied and computed with, and disturb nothing.",
    covers=("device_memory_allocate", "memory_copy_h2d", "memory_copy_d2h"),
    kernels=("add/float32",),
)
def zero_size(bench: Bench) -> None:
    data = bench.counts(100)
    neighbour = bench.tensor(data)
    for shape in ((0,), (0, 3), (2, 0, 4)):
        empty = bench.bits(shape, "float32")
        tensor = bench.tensor(empty)
        copied, added = tensor._copy_to(bench.place(), True), tensor + tensor
        for what, result in (("made", tensor), ("copied", copied), ("added", added)):
            bench.lies_on(result, bench.card)
            bench.holds(f"a tensor of shape {shape}, {what}", empty, result)
    with bench.computing("add/float32"):
        doubled = neighbour + neighbour
    bench.holds("a neighbouring tensor, doubled", data * 2, doubled)


@check(
    "memory/no_overlap",
    "Live tensors never share memory, also not with memory given back and taken anew.",
    covers=_MEMORY,
    repeat=(2, 10, 50),
)
def no_overlap(bench: Bench) -> None:
    held: list[tuple[Array, Any]] = []
    for _ in range(bench.repetitions):
        while len(held) < 64:
            array = bench.bits(int(bench.random.integers(1, 1 << int(bench.random.integers(1, 19)))), "uint8")
            held.append((array, bench.tensor(array)))
        spans = sorted((tensor.data_ptr(), tensor.data_ptr() + array.nbytes) for array, tensor in held)
        for (begin, end), (following, _) in pairwise(spans):
            bench.demand(end <= following, f"tensors at {begin:#x}-{end:#x} and {following:#x} overlap")
        for array, tensor in held:
            bench.stored("a tensor beside 63 others", array, tensor)
        held = [held[index] for index in bench.random.permutation(len(held))[:32]]


@check(
    "memory/out_of_memory",
    "Asking for too much, at once or little by little, raises MemoryError; what lives is unharmed and work goes on.",
    covers=(*_MEMORY, "kernel errors become Python exceptions"),
)
def out_of_memory(bench: Bench) -> None:
    total = bench.library.memory_bytes(bench.card)
    bench.still_works()
    for _ in range(bench.repetitions):
        start = bench.settled()
        data = bench.bits(65537, "uint8")
        survivor = bench.tensor(data)
        _expect_memory_error(bench, "more than the whole card", lambda: [_empty(bench, total + _MARGIN)])
        bench.stored("a tensor that lived through it", data, survivor)
        _expect_memory_error(bench, "sixteenths of the card", lambda: [_empty(bench, total // 16) for _ in range(17)])
        bench.stored("a tensor that lived through it", data, survivor)
        bench.still_works()
        del survivor
        left = bench.settled()
        bench.demand(left == start, f"{left - start} bytes stayed allocated after running out of memory")


@check(
    "memory/idle_is_reclaimed",
    "Memory that Paddle's pool holds idle is given back when a larger piece is asked for.",
    covers=_MEMORY,
)
def idle_is_reclaimed(bench: Bench) -> None:
    total = bench.library.memory_bytes(bench.card)
    free = total - bench.settled()
    for _ in range(bench.repetitions):
        pieces = [_empty(bench, free // 16) for _ in range(8)]
        del pieces
        bench.synchronize()
        idle = bench.allocated()
        try:
            large = _empty(bench, free // 4 * 3)
        except (MemoryError, RuntimeError, OSError) as error:
            raise CheckFailed(
                f"{free // 4 * 3} of {total} bytes could not be had while {idle} bytes lay idle in Paddle's pool: "
                f"{type(error).__name__}: {_gist(error)}"
            ) from error
        bench.lies_on(large, bench.card)
        bench.demand(bench.allocated() >= free // 4 * 3, "the large tensor is not in the device's allocated_bytes")
        bench.proved("its allocated_bytes followed the tensors")
        del large
        bench.settled()
    bench.still_works()


@check(
    "memory/device_functions",
    "The memory functions of paddle.device follow the tensors, and a peak that is reset begins anew.",
    covers=(*_MEMORY, "the table tells the truth"),
)
def device_functions(bench: Bench) -> None:
    device, card = bench.paddle.device, bench.device
    if not hasattr(device, "reset_max_memory_allocated"):
        raise NotApplicable(f"paddle.device of Paddle {bench.paddle.__version__} has no memory functions")
    bench.settled()
    before = device.memory_allocated(card)
    array = bench.bits(5 << 20, "uint8")
    tensor = bench.tensor(array)
    bench.stored("a tensor of 5 MiB", array, tensor)
    allocated, reserved = device.memory_allocated(card), device.memory_reserved(card)
    risen = allocated - before
    bench.demand(risen >= array.nbytes, f"memory_allocated rose by {risen} bytes for {array.nbytes}")
    bench.demand(reserved >= allocated, f"memory_reserved is {reserved}, less than memory_allocated, {allocated}")
    del tensor
    bench.settled()
    after, peak = device.memory_allocated(card), device.max_memory_allocated(card)
    bench.demand(after == before, f"memory_allocated was {before}, and is {after} after the tensor is gone")
    bench.demand(peak >= allocated, f"max_memory_allocated is {peak}, but {allocated} were allocated at once")
    device.reset_max_memory_allocated(card)
    peak = device.max_memory_allocated(card)
    bench.demand(peak == after, f"max_memory_allocated is {peak} after a reset with {after} bytes allocated")


@check(
    "memory/fragmentation",
    "When every other of many pieces is given back, a piece as large as all of them can be had; the rest is unharmed.",
    covers=_MEMORY,
)
def fragmentation(bench: Bench) -> None:
    for _ in range(bench.repetitions):
        start = bench.settled()
        arrays = [bench.bits(int(bench.random.integers(1, 1 << 19)), "uint8") for _ in range(48)]
        tensors = [bench.tensor(array) for array in arrays]
        del tensors[::2]
        holes = sum(array.nbytes for array in arrays[::2])
        large = bench.bits(holes, "uint8")
        filled = bench.tensor(large)
        bench.stored("the large piece", large, filled)
        for array, tensor in zip(arrays[1::2], tensors, strict=True):
            bench.stored("a piece between holes", array, tensor)
        del filled, tensor, tensors
        left = bench.settled()
        bench.demand(left == start, f"{left - start} bytes stayed allocated after all pieces were gone")


@check(
    "memory/no_leak",
    "Thousands of tensors made, used and dropped leave nothing behind.",
    covers=_MEMORY,
    kernels=("add/float32",),
    repeat=(2_000, 10_000, 50_000),
    timeout=300.0,
)
def no_leak(bench: Bench) -> None:
    arrays = [bench.counts(size) for size in (1, 33, 1000, 5003)]
    for array in arrays:
        _cycle(bench, array)
    start = bench.settled()
    with bench.computing("add/float32", at_least=bench.repetitions):
        for index in range(bench.repetitions):
            _cycle(bench, arrays[index % len(arrays)])
    peak = bench.allocated()
    left = bench.settled()
    bench.notes["allocated_bytes"] = {"before": start, "in the pool at the end": peak, "after": left}
    bench.demand(left == start, f"{left - start} bytes stayed allocated after {bench.repetitions} cycles")
    bench.demand(peak - start <= 16 << 20, f"the pool grew to {peak - start} bytes for tensors of 20 kB at most")


def _cycle(bench: Bench, array: Array) -> None:
    tensor = bench.paddle.to_tensor(array, place=bench.place())
    tensor = tensor + tensor
    if array.size == 1:
        bench.holds("a number, doubled", array * 2, tensor)


@check(
    "memory/host_gets_no_bytes",
    "The kernel of the host's system refuses to read at any address of a tensor (where the plugin declares so).",
    covers=("host code cannot read device memory",),
)
def host_gets_no_bytes(bench: Bench) -> None:
    _require_unreadable(bench)
    reader, writer = os.pipe()
    try:
        for size in (1, 64, 4097, 1 << 20):
            array = bench.bits(size, "uint8")
            tensor = bench.tensor(array)
            bench.stored(f"{size} bytes", array, tensor)
            for offset in {0, size // 2, size - 1}:
                _expect_refusal(writer, tensor.data_ptr() + offset, f"byte {offset} of a tensor of {size} bytes")
    finally:
        os.close(reader)
        os.close(writer)


@check(
    "memory/host_read_dies",
    "Host code that reads at a tensor's address dies by SIGSEGV (where the plugin declares so).",
    covers=("host code cannot read device memory",),
    timeout=120.0,
)
def host_read_dies(bench: Bench) -> None:
    _require_unreadable(bench)
    child = run_child(bench, "read_device_memory")
    expected = (-signal.SIGSEGV, -signal.SIGBUS)
    bench.demand(
        child.status in expected and "read" not in child.reported,
        f"reading a tensor's address should kill the process, but it {child.ending} "
        f"and reported {child.reported.get('read', 'nothing')!r}",
    )
    bench.demand(child.reported["place"] == bench.device, f"the tensor lay on {child.reported['place']}")
    bench.proved("a process of its own found its data by the device's own copy and died reading it directly")


def _require_unreadable(bench: Bench) -> None:
    if "host_unreadable" not in bench.library.features:
        raise NotApplicable(f"plugin {bench.session.plugin.name!r} does not declare the feature host_unreadable")


def _expect_refusal(pipe: int, address: int, what: str) -> None:
    """Lets the system read one byte for us: unlike a read of our own, that one survives."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    libc.write.restype = ctypes.c_ssize_t
    written = libc.write(pipe, address, 1)
    if written >= 0 or ctypes.get_errno() != errno.EFAULT:
        raise CheckFailed(f"the host could read {what}, at {address:#x}, although the plugin declares host_unreadable")


def _expect_memory_error(bench: Bench, what: str, attempt: Any) -> None:
    try:
        got = attempt()
    except MemoryError:
        return
    except Exception as error:
        message = f"asking for {what} raised {type(error).__name__}, not MemoryError: {_gist(error)}"
        raise CheckFailed(message) from error
    raise CheckFailed(f"asking for {what} raised nothing: {len(got)} tensors came back on {got[0].place}")


def _empty(bench: Bench, size: int) -> Any:
    """A tensor of ``size`` bytes that nothing has been written to."""
    return bench.paddle.empty([size], dtype="uint8")


def _gist(error: BaseException) -> str:
    return " ".join(str(error).split())[-300:]
