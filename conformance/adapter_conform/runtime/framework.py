"""Paddle on top of the runtime: threads, errors, static graphs, files, data loaders, and the end of the process."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adapter_conform.declarations import declared_kernels
from adapter_conform.runtime.bench import Array, Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.child import run_child
from adapter_conform.runtime.copies import DTYPES
from adapter_conform.runtime.errors import CheckFailed, NotApplicable, RanElsewhere

__all__: list[str] = []

_ADD = "add/float32"
_RARE = ("lgamma", "digamma", "erfinv", "i0e", "i1e", "logit", "atanh", "asinh", "acosh", "trunc", "cosh", "tan")
"""Operators of one tensor that few devices have all of; each is also the name of its kernel."""
_THREADS = 4


@check(
    "framework/threads",
    "Several threads that compute at once all get right results.",
    covers=("calls from several threads", "set_device", "device_memory_allocate", "device_memory_deallocate"),
    kernels=(_ADD,),
    repeat=(150, 1000, 10_000),
)
def threads(bench: Bench) -> None:
    inputs = [bench.counts(2000 + 17 * index, limit=100) for index in range(_THREADS)]
    results: dict[int, Array] = {}
    failures: list[str] = []

    def work(index: int) -> None:
        try:
            bench.paddle.set_device(bench.device)
            results[index] = _sum_in_thread(bench, inputs[index])
        except Exception as error:  # told apart below; an exception must not get lost with its thread
            failures.append(f"thread {index}: {type(error).__name__}: {error}")

    running = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(_THREADS)]
    with bench.computing(_ADD, at_least=_THREADS * bench.repetitions):
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    bench.demand(not failures, "; ".join(failures))
    for index, data in enumerate(inputs):
        bench.same(f"thread {index} of {_THREADS}", data + np.float32(bench.repetitions), results[index])


def _sum_in_thread(bench: Bench, data: Array) -> Array:
    value = bench.tensor(data)
    one = bench.tensor(np.ones(data.shape, np.float32))
    for step in range(bench.repetitions):
        value = value + one
        if step % 50 == 49:
            bench.holds("in mid-work", data + np.float32(step + 1), value)
    return np.asarray(value.numpy())


@check(
    "framework/wrong_shapes",
    "A call with shapes that do not fit raises ValueError, and work goes on.",
    covers=("kernel errors become Python exceptions",),
    kernels=(_ADD,),
)
def wrong_shapes(bench: Bench) -> None:
    left, right = bench.tensor(bench.counts((2, 3))), bench.tensor(bench.counts(4))
    # Not left + right: Paddle 3.1.0 turns whatever that raises into a TypeError.
    _expect(bench, ValueError, "adding shapes (2, 3) and (4,)", lambda: bench.paddle.add(left, right))
    _adds(bench)


@check(
    "framework/error_within_kernel",
    "A kernel that gets no memory for its output raises MemoryError in Python, and work goes on.",
    covers=("kernel errors become Python exceptions", "device_memory_allocate"),
    kernels=(_ADD,),
)
def error_within_kernel(bench: Bench) -> None:
    side = math.isqrt(bench.library.memory_bytes(bench.card) // 4) + 1024
    column, row = bench.tensor(np.zeros((side, 1), np.float32)), bench.tensor(np.zeros((1, side), np.float32))
    for _ in range(bench.repetitions):
        _expect(bench, MemoryError, f"adding ({side}, 1) and (1, {side})", lambda: bench.paddle.add(column, row))
        _adds(bench)


@check(
    "framework/missing_kernel",
    "With CPU fallback off, an operator that the plugin does not have is an error and not a silent run on the CPU.",
    covers=("no fallback to the CPU",),
    kernels=(_ADD,),
)
def missing_kernel(bench: Bench) -> None:
    declared = declared_kernels(bench.session.plugin)
    missing = [
        name for name in _RARE if (name, "float32") not in declared and not bench.session.is_registered(name, "float32")
    ]
    if not missing:
        raise NotApplicable(f"the plugin has a kernel for each of {', '.join(_RARE)}")
    tensor = bench.tensor(np.full(10, 0.5, np.float32))
    for name in missing:
        try:
            result = getattr(bench.paddle, name)(tensor)
        except (RuntimeError, NotImplementedError) as error:
            bench.demand(f"`{name}`" in str(error), f"the error does not name the kernel {name}: {error}")
            continue
        raise RanElsewhere(f"{name}/float32 is no kernel of the plugin, yet a result came, on {result.place}")
    bench.notes["refused"] = missing
    _adds(bench)


@check(
    "framework/static_graph",
    "A function under paddle.jit.to_static runs the plugin's kernels in static mode, with the same result.",
    covers=("static graph execution", "kernels run on their stream"),
    kernels=(_ADD,),
    repeat=(5, 50, 500),
)
def static_graph(bench: Bench) -> None:
    compiled = bench.paddle.jit.to_static(_three_additions, full_graph=True)
    data = [bench.counts((3, 1000)), bench.counts((3, 1000))]
    left, right = bench.tensor(data[0]), bench.tensor(data[1])
    with bench.computing(_ADD, at_least=3 * bench.repetitions, static=True):
        results = [compiled(left, right) for _ in range(bench.repetitions)]
    wanted = ((data[0] + data[1]) + data[0]) + data[1]
    for result in results:
        bench.stored("a result of the static graph", wanted, result)


def _three_additions(left: Any, right: Any) -> Any:
    return left + right + left + right


@check(
    "framework/save_and_load",
    "Tensors of the device survive paddle.save and paddle.load with every bit and return to the device.",
    covers=("memory_copy_d2h", "memory_copy_h2d"),
)
def save_and_load(bench: Bench) -> None:
    arrays = {dtype: bench.bits((5, 7), dtype) for dtype in DTYPES}
    arrays["large"] = bench.bits(3 << 20, "float32")
    saved = {name: bench.tensor(array) for name, array in arrays.items()}
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        path = str(Path(folder) / "tensors.pdparams")
        bench.paddle.save(saved, path)
        loaded = bench.paddle.load(path)
    for name, array in arrays.items():
        bench.stored(f"{name}, loaded", array, loaded[name])
        bench.holds(f"{name}, loaded", array, loaded[name])


class _Numbers:
    """Samples ``index -> 32 numbers``, made in the loader's worker processes without Paddle's help."""

    def __getitem__(self, index: int) -> Array:
        return np.arange(32, dtype=np.float32) + np.float32(100 * index)

    def __len__(self) -> int:
        return 24


@check(
    "framework/data_loader",
    "A DataLoader with two worker processes, forked while the device is in use, delivers its batches to the device.",
    covers=("forked workers do no harm", "memory_copy_h2d"),
    kernels=(_ADD,),
    timeout=90.0,
)
def data_loader(bench: Bench) -> None:
    _adds(bench)  # the device is in use when the workers are forked
    dataset = _Numbers()
    loader = bench.paddle.io.DataLoader(dataset, batch_size=4, shuffle=False, num_workers=2, timeout=60)
    wanted = np.stack([dataset[index] for index in range(len(dataset))]).reshape(6, 4, 32)
    for _ in range(bench.repetitions):
        batches = list(loader)
        bench.demand(len(batches) == 6, f"6 batches were asked for, {len(batches)} came")
        for number, batch in enumerate(batches):
            tensor = batch[0] if isinstance(batch, list | tuple) else batch
            bench.stored(f"batch {number}", wanted[number], tensor)
            with bench.computing(_ADD):
                doubled = tensor + tensor
            bench.holds(f"batch {number}, doubled", wanted[number] * 2, doubled)


@check(
    "framework/clean_exit",
    "A process that ends with kernels in flight and tensors alive ends at once, with exit code 0.",
    covers=("the process ends cleanly", "finalize", "deinit_device"),
    kernels=(_ADD,),
    timeout=120.0,
)
def clean_exit(bench: Bench) -> None:
    child = run_child(bench, "leave_busy")
    bench.demand(child.status == 0, f"the process {child.ending} after it had used the device: {child.log[-500:]}")
    if not child.reported["calls"]:
        raise RanElsewhere(f"the process made no call of the plugin's {_ADD}")
    bench.notes["busy_at_the_end"] = child.reported["busy"]
    bench.proved(f"its kernel {_ADD} was called in a process of its own")


@check(
    "framework/fork",
    "A process forked while the device is in use ends cleanly, gets an error or right results, and harms its parent in "
    "nothing.",
    covers=("forked workers do no harm", "the process ends cleanly"),
    kernels=(_ADD,),
    timeout=150.0,
)
def fork(bench: Bench) -> None:
    child = run_child(bench, "fork_in_use")
    bench.demand(child.status == 0, f"the process that forked {child.ending}: {child.log[-500:]}")
    said = child.reported
    bench.demand(said["idle"] == "ended with exit code 0", f"a fork that left the device alone {said['idle']}")
    bench.demand(
        said["using"] in ("was refused", "computed right"),
        f"a fork that used the device {said['using']}; it should be refused, or compute right",
    )
    bench.demand(bool(said["parent"]), "the parent's results were wrong after its forks had ended")
    if not said["calls"]:
        raise RanElsewhere(f"the process made no call of the plugin's {_ADD}")
    bench.notes["fork_that_used_the_device"] = said["using"]
    bench.proved(f"its kernel {_ADD} was called in a process that forked")


def _adds(bench: Bench) -> None:
    """Demands that the device computes."""
    data = bench.counts(1000)
    tensor = bench.tensor(data)
    with bench.computing(_ADD):
        doubled = tensor + tensor
    bench.holds("a sum computed afterwards", data * 2, doubled)


def _expect(bench: Bench, kind: type[Exception], what: str, attempt: Callable[[], Any]) -> None:
    try:
        result = attempt()
        bench.synchronize()
    except kind:
        return
    except Exception as error:
        message = " ".join(str(error).split())[-300:]
        raise CheckFailed(f"{what} raised {type(error).__name__}, not {kind.__name__}: {message}") from error
    raise CheckFailed(f"{what} raised nothing; shape {tuple(result.shape)} came back on {result.place}")
