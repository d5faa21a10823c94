"""Copies: every bit arrives, whatever the dtype, size, alignment or direction, and in the right order."""

from __future__ import annotations

import ctypes

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import check
from adapter_sdk.native import CopyKind

__all__: list[str] = []

DTYPES = (
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
"""What Paddle can hold. Copies need no kernel, so no dtype is beyond a device here."""

_SHAPES = ((), (1,), (2,), (3,), (7,), (31,), (64,), (65,), (1023,), (4097,), (3, 5, 7), (1, 1, 1, 1))
_LARGE = 16 << 20


@check(
    "copies/round_trip",
    "Data goes to the device, is copied there, and comes back with every bit, from a single element to 16 MiB.",
    covers=("memory_copy_h2d", "memory_copy_d2h", "async_memory_copy_d2h", "async_memory_copy_d2d"),
    dtypes=DTYPES,
)
def round_trip(bench: Bench) -> None:
    size = bench.bits(1, bench.dtype).itemsize
    for _ in range(bench.repetitions):
        for shape in (*_SHAPES, (_LARGE // size,)):
            array = bench.bits(shape, bench.dtype)
            tensor = bench.tensor(array)
            bench.stored(f"shape {shape}, host to device", array, tensor)
            bench.holds(f"shape {shape}, device to host", array, tensor)
            bench.holds(f"shape {shape}, moved to the CPU", array, tensor.cpu())
            twin = tensor._copy_to(bench.place(), True)
            bench.demand(twin.data_ptr() != tensor.data_ptr(), "a copy on the device has the address of its source")
            bench.stored(f"shape {shape}, device to device", array, twin)
            bench.holds(f"shape {shape}, device to device", array, twin)


@check(
    "copies/misaligned",
    "The device copies any number of bytes from and to any address, and touches not one byte beside them.",
    covers=("memory_copy_h2d", "memory_copy_d2h", "memory_copy_d2d", "the table tells the truth"),
    repeat=(60, 300, 3000),
)
def misaligned(bench: Bench) -> None:
    size = 1 << 16
    first, second = bench.bits(size, "uint8"), bench.bits(size, "uint8")
    source, target = bench.tensor(first), bench.tensor(second)
    for _ in range(bench.repetitions):
        count = int(bench.random.integers(1, 1 << int(bench.random.integers(1, 15))))
        begin, end = (int(bench.random.integers(0, size - count)) for _ in range(2))
        what = f"{count} bytes from offset {begin} to offset {end}"
        found = bench.peek(source.data_ptr() + begin, count)
        bench.same(f"device to host, {what}", first[begin : begin + count], found)
        fresh = bench.bits(count, "uint8")
        bench.poke(source.data_ptr() + begin, fresh)
        first[begin : begin + count] = fresh
        bench.library.copy(
            bench.card, CopyKind.DEVICE_TO_DEVICE, target.data_ptr() + end, source.data_ptr() + begin, count
        )
        second[end : end + count] = fresh
        bench.holds(f"host to device, {what}, and everything beside them", first, source)
        bench.holds(f"device to device, {what}, and everything beside them", second, target)
    bench.stored("the target of all copies", second, target)


@check(
    "copies/slices",
    "Parts of a tensor that start anywhere in it come back right.",
    covers=("memory_copy_d2h", "async_memory_copy_d2h", "async_memory_copy_d2d"),
    dtypes=("uint8", "float32", "int64"),
    kernels=("contiguous/{}",),
)
def slices(bench: Bench) -> None:
    array = bench.bits(1031, bench.dtype)
    tensor = bench.tensor(array)
    bench.stored("a whole tensor", array, tensor)
    for _ in range(bench.repetitions):
        for begin, end in ((1, 1031), (3, 100), (7, 8), (1000, 1031), (513, 770)):
            part = tensor[begin:end]
            bench.lies_on(part, bench.card)
            bench.holds(f"elements {begin} to {end}", array[begin:end], part)
            bench.holds(f"elements {begin} to {end}, on the CPU", array[begin:end], part.cpu())
            bench.holds(f"elements {begin} to {end}, copied", array[begin:end], part._copy_to(bench.place(), True))


@check(
    "copies/not_contiguous",
    "Transposed and strided views come back right, laid out anew on the device or not; so do such views on the host.",
    covers=("memory_copy_d2h", "memory_copy_h2d", "kernels run on their stream"),
    dtypes=("uint8", "float32", "int64"),
    kernels=("contiguous/{}",),
)
def not_contiguous(bench: Bench) -> None:
    for rows, columns in ((4, 6), (17, 33), (257, 129)):
        array = bench.bits((rows, columns), bench.dtype)
        tensor = bench.tensor(array)
        bench.stored("the tensor viewed", array, tensor)
        views = {
            "a transposed view": (array.T, tensor.transpose([1, 0])),
            "two columns": (array[:, 1:3], tensor[:, 1:3]),
            "every other row": (array[::2], tensor[::2]),
        }
        for what, (part, view) in views.items():
            wanted = np.ascontiguousarray(part)
            bench.holds(f"{what}, read as it is", wanted, view)
            bench.holds(f"{what}, moved to the CPU", wanted, view.cpu())
            with bench.computing(f"contiguous/{bench.dtype}"):
                laid_out = view.contiguous()
            bench.stored(f"{what}, laid out anew", wanted, laid_out)
        bench.stored("a transposed array of the host", np.ascontiguousarray(array.T), bench.tensor(array.T))


@check(
    "copies/host_memory_is_free",
    "The host may overwrite its memory as soon as a copy to the device has returned.",
    covers=("memory_copy_h2d", "async_memory_copy_h2d", "host memory is free again when a copy returns"),
    repeat=(5, 40, 400),
)
def host_memory_is_free(bench: Bench) -> None:
    for _ in range(bench.repetitions):
        for size in (16, 4099, 1 << 20, 9_000_001):
            array = bench.bits(size, "uint8")
            wanted = array.copy()
            tensor = bench.paddle.to_tensor(array, place=bench.place())
            array[:] = 0
            host = bench.paddle.to_tensor(wanted, place=bench.paddle.CPUPlace())
            unwaited = host._copy_to(bench.place(), False)
            ctypes.memset(host.data_ptr(), 0, size)
            bench.stored(f"{size} bytes", wanted, tensor)
            bench.stored(f"{size} bytes, copied without waiting", wanted, unwaited)


@check(
    "copies/in_order_with_kernels",
    "A copy on the device sees what was computed before it and nothing of what is computed after it.",
    covers=("async_memory_copy_d2d", "async_memory_copy_h2d", "kernels run on their stream"),
    kernels=("add/float32",),
    repeat=(3, 20, 200),
)
def in_order_with_kernels(bench: Bench) -> None:
    elements, steps = 1 << 19, 12
    one = bench.tensor(np.ones(elements, np.float32))
    for _ in range(bench.repetitions):
        data = bench.counts(elements)
        total = bench.tensor(data)
        with bench.computing("add/float32", at_least=steps):
            snapshots = []
            for _ in range(steps):
                total.add_(one)
                snapshots.append(total._copy_to(bench.place(), False))
        for step, snapshot in enumerate(snapshots, start=1):
            bench.holds(f"a copy made after step {step} of {steps}", data + np.float32(step), snapshot)
