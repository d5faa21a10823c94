"""Broken promises of a runtime: streams and events that do not wait, copies cut short, memory that never comes back.

Each stands between Paddle and the check of the runtime suite that has to notice it.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from adapter_conform.runtime.callbacks import Callbacks

from adapter_faults.table import wrapped

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__: list[str] = []

Plant = TypeVar("Plant", bound=Callable[..., Iterator[None]])


def _at(check: str, sees: str = "check") -> Callable[[Plant], Plant]:
    return wrapped("runtime", check, sees=sees)


def _instead_of(callback: str, function: Any) -> AbstractContextManager[Any]:
    """``function`` in place of one of the device's own callbacks."""
    return mock.patch.object(Callbacks, callback, function)


@_at("streams/wait_event")
def wait_for_event_does_nothing(session: Session) -> Iterator[None]:
    """A stream does not wait for an event: the kernel reads what is not there yet."""
    with mock.patch.object(session.paddle.device.Stream, "wait_event", return_value=None):
        yield


@_at("streams/wait_stream")
def wait_for_stream_does_nothing(session: Session) -> Iterator[None]:
    """A stream does not wait for another: the kernel reads stale data."""
    with mock.patch.object(session.paddle.device.Stream, "wait_stream", return_value=None):
        yield


@_at("streams/event_query")
def event_is_always_ready(session: Session) -> Iterator[None]:
    """An event says that it has happened before it has."""
    with mock.patch.object(session.paddle.device.Event, "query", return_value=True):
        yield


@_at("streams/stream_query")
def stream_is_always_ready(session: Session) -> Iterator[None]:
    """A stream says that it is done before it is."""
    with mock.patch.object(session.paddle.device.Stream, "query", return_value=True):
        yield


@_at("streams/synchronize_event")
def synchronizing_an_event_does_nothing(session: Session) -> Iterator[None]:
    """To wait for an event on the host returns at once."""
    with mock.patch.object(session.paddle.device.Event, "synchronize", return_value=None):
        yield


@_at("streams/synchronize_stream")
def synchronizing_a_stream_does_nothing(session: Session) -> Iterator[None]:
    """To wait for a stream on the host returns at once."""
    with mock.patch.object(session.paddle.device.Stream, "synchronize", return_value=None):
        yield


@_at("streams/synchronize_device")
def synchronizing_the_device_does_nothing(session: Session) -> Iterator[None]:
    """To wait for the device on the host returns at once."""
    with mock.patch.object(session.paddle.device, "synchronize", return_value=None):
        yield


@_at("memory/taken_and_returned")
def memory_statistics_stand_still(session: Session) -> Iterator[None]:
    """The memory statistics always say the same."""
    with mock.patch.object(session.library, "allocated_bytes", return_value=12345):
        yield


@_at("memory/no_leak")
def slow_leak(session: Session) -> Iterator[None]:
    """A slow leak: the memory of one tensor in fifty is never given back."""
    real, kept, made = session.paddle.to_tensor, [], iter(range(1 << 62))

    def leaking(*arguments: Any, **named: Any) -> Any:
        tensor = real(*arguments, **named)
        if next(made) % 50 == 0:
            kept.append(tensor)
        return tensor

    with mock.patch.object(session.paddle, "to_tensor", leaking):
        yield


@_at("copies/misaligned")
def copies_are_one_byte_short(session: Session) -> Iterator[None]:
    """Small copies leave out their last byte."""
    real = session.library.copy

    def short(card: int, kind: Any, destination: int, source: int, size: int) -> None:
        real(card, kind, destination, source, size - 1 if 1 < size < 4096 else size)

    with mock.patch.object(session.library, "copy", short):
        yield


@_at("copies/round_trip")
def host_copies_lose_a_bit(session: Session) -> Iterator[None]:
    """A copy to the host turns over one bit of its last byte."""
    real = session.paddle.Tensor.numpy

    def damaged(self: Any) -> Any:
        array = real(self).copy()
        array.reshape(-1)[-1:].view("uint8")[-1:] ^= 0x10
        return array

    with mock.patch.object(session.paddle.Tensor, "numpy", damaged):
        yield


@_at("memory/device_functions")
def peak_is_never_reset(session: Session) -> Iterator[None]:
    """The peak of the memory statistics cannot be reset."""
    with mock.patch.object(session.paddle.device, "reset_max_memory_allocated", return_value=None):
        yield


@_at("memory/fragmentation")
def pieces_between_holes_are_lost(session: Session) -> Iterator[None]:
    """Of each seventh tensor the device never gets the memory back."""
    kept: list[Any] = []
    made = iter(range(10**9))
    real = session.paddle.to_tensor

    def leaking(*arguments: Any, **named: Any) -> Any:
        tensor = real(*arguments, **named)
        if next(made) % 7 == 0:
            kept.append(tensor)
        return tensor

    with mock.patch.object(session.paddle, "to_tensor", leaking):
        yield


@_at("devices/selection")
def every_card_is_the_first(session: Session) -> Iterator[None]:
    """All cards are the first one."""
    real = session.paddle.set_device
    with mock.patch.object(session.paddle, "set_device", lambda name: real(name.split(":")[0] + ":0")):
        yield


@_at("framework/missing_kernel")
def paddle_falls_back_to_the_cpu(session: Session) -> Iterator[None]:
    """What the device lacks is computed on the CPU without a word."""
    session.paddle.set_flags({"FLAGS_enable_api_kernel_fallback": True})
    try:
        yield
    finally:
        session.paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})


@_at("framework/save_and_load")
def loaded_tensors_stay_on_the_cpu(session: Session) -> Iterator[None]:
    """Tensors that are loaded from a file stay on the CPU."""
    real = session.paddle.load
    with mock.patch.object(session.paddle, "load", lambda path: {k: v.cpu() for k, v in real(path).items()}):
        yield


@_at("streams/asynchrony", sees="notice")
def secretly_synchronous(session: Session) -> Iterator[None]:
    """Every launch waits for its kernel, although asynchronous streams are declared. It is allowed, and reported."""
    real = session.paddle.Tensor.add_

    def waiting(self: Any, other: Any) -> Any:
        result = real(self, other)
        session.paddle.device.synchronize(session.device)
        return result

    with mock.patch.object(session.paddle.Tensor, "add_", waiting):
        yield


@_at("streams/callbacks")
def callbacks_out_of_order(session: Session) -> Iterator[None]:
    """Of two callbacks on a stream the second comes first."""
    real = Callbacks.add_callback
    held: list[tuple[Any, ...]] = []

    def swapped(self: Callbacks, *call: Any) -> None:
        held.append(call)
        if len(held) == 2:
            real(self, *held.pop())
            real(self, *held.pop())

    with _instead_of("add_callback", swapped):
        yield


@_at("streams/callbacks")
def callbacks_ahead_of_their_work(session: Session) -> Iterator[None]:
    """Callbacks on a stream are made at once, before the work ahead of them."""

    def at_once(self: Callbacks, stream: int, function: Any, user: int) -> None:
        card, status = ctypes.c_int(self.card), ctypes.c_int()
        function(ctypes.pointer(card), stream, user, ctypes.pointer(status))

    with _instead_of("add_callback", at_once):
        yield


@_at("memory/given_back_while_busy")
def early_free(session: Session) -> Iterator[None]:
    """Memory that is given back goes to the next who asks, while kernels still read it."""
    take, give_back = Callbacks.allocate, Callbacks.deallocate
    free: dict[int, list[int]] = {}

    def early(self: Callbacks, address: int, size: int) -> None:
        free.setdefault(size, []).append(address)

    def again(self: Callbacks, size: int) -> int:
        return free[size].pop() if free.get(size) else take(self, size)

    with _instead_of("allocate", again), _instead_of("deallocate", early):
        yield
    for size, addresses in free.items():
        for address in addresses:
            give_back(Callbacks(session, 0), address, size)


@_at("memory/device_statistics")
def free_memory_never_shrinks(session: Session) -> Iterator[None]:
    """The device's own statistics always call all of its memory free."""
    total = session.library.memory_bytes(0)
    with _instead_of("memory_stats", lambda self: (total, total)):
        yield


@_at("memory/fill")
def fill_is_one_byte_short(session: Session) -> Iterator[None]:
    """Filling memory leaves out the last byte."""
    real = Callbacks.fill
    with _instead_of("fill", lambda self, address, value, size: real(self, address, value, size - 1)):
        yield


@_at("memory/host")
def host_memory_twice(session: Session) -> Iterator[None]:
    """The same host memory is handed out twice."""
    real = Callbacks.allocate_host
    whole = real(Callbacks(session, 0), 4 << 20)
    with (
        _instead_of("allocate_host", lambda self, size: whole),
        _instead_of("deallocate_host", lambda self, *piece: None),
    ):
        yield
    Callbacks(session, 0).deallocate_host(whole, 4 << 20)


@_at("copies/callbacks")
def stream_copies_are_short(session: Session) -> Iterator[None]:
    """Copies on a stream leave out the last byte."""
    real = Callbacks.copy_async

    def short(self: Callbacks, slot: str, stream: int, target: int, source: int, size: int) -> None:
        real(self, slot, stream, target, source, max(0, size - 1))

    with _instead_of("copy_async", short):
        yield


@_at("copies/in_flight")
def stream_copies_are_not_awaited(session: Session) -> Iterator[None]:
    """To wait for a stream does not wait for the copies on it: they are made when the stream is destroyed."""
    real, destroy = Callbacks.copy_async, Callbacks.destroy_stream
    late: list[tuple[Any, ...]] = []

    def later(self: Callbacks, *call: Any) -> None:
        late.append(call)

    def destroyed(self: Callbacks, stream: int) -> None:
        for call in [call for call in late if call[1] == stream]:
            late.remove(call)
            real(self, *call)
        destroy(self, stream)

    with _instead_of("copy_async", later), _instead_of("destroy_stream", destroyed):
        yield


@_at("copies/between_cards_callbacks")
def peer_copies_come_from_home(session: Session) -> Iterator[None]:
    """A copy from another card takes what lies on the target's own."""

    def mixed_up(self: Callbacks, from_card: int, target: int, source: int, size: int) -> None:
        self.copy("memory_copy_d2d", target, target, size)

    with _instead_of("copy_peer", mixed_up):
        yield


@_at("devices/half_types")
def half_types_denied(session: Session) -> Iterator[None]:
    """The device says that it has neither float16 nor bfloat16, and has kernels for both."""
    with _instead_of("flag", lambda self, slot: False):
        yield


@_at("devices/generators")
def seed_is_ignored(session: Session) -> Iterator[None]:
    """Seeding the generators changes nothing."""
    with mock.patch.object(session.paddle, "seed", return_value=None):
        yield


@_at("framework/executor")
def programs_run_on_the_cpu(session: Session) -> Iterator[None]:
    """Static programs are run on the CPU without a word."""
    on_cpu = session.paddle.static.Executor(session.paddle.CPUPlace())
    with mock.patch.object(session.paddle.static, "Executor", return_value=on_cpu):
        yield


def _altered_trace(session: Session, alter: Callable[[list[dict[str, Any]]], None]) -> AbstractContextManager[Any]:
    real = session.paddle.profiler.Profiler.export

    def export(self: Any, path: str, format: str = "json") -> None:
        real(self, path, format)
        trace = json.loads(Path(path).read_text())
        alter([event for event in trace["traceEvents"] if event.get("cat") == "Kernel"])
        trace["traceEvents"] = [event for event in trace["traceEvents"] if event.get("cat") != "lost"]
        Path(path).write_text(json.dumps(trace))

    return mock.patch.object(session.paddle.profiler.Profiler, "export", export)


@_at("framework/profiler")
def profile_loses_a_kernel(session: Session) -> Iterator[None]:
    """One kernel that ran is missing from the profile."""

    def lose(kernels: list[dict[str, Any]]) -> None:
        kernels[len(kernels) // 2]["cat"] = "lost"

    with _altered_trace(session, lose):
        yield


@_at("framework/profiler")
def profile_without_durations(session: Session) -> Iterator[None]:
    """Every kernel in the profile took no time at all."""

    def shrink(kernels: list[dict[str, Any]]) -> None:
        for event in kernels:
            event["dur"] = 0.0

    with _altered_trace(session, shrink):
        yield


@_at("framework/profiler")
def profile_of_another_clock(session: Session) -> Iterator[None]:
    """Kernels stand in the profile by a clock that is an hour slow."""

    def shift(kernels: list[dict[str, Any]]) -> None:
        for event in kernels:
            event["ts"] -= 3_600_000_000

    with _altered_trace(session, shift):
        yield


@_at("framework/profiler")
def profile_under_wrong_names(session: Session) -> Iterator[None]:
    """Every kernel is called "kernel" in the profile."""

    def rename(kernels: list[dict[str, Any]]) -> None:
        for event in kernels:
            event["name"] = "kernel[1 us]"

    with _altered_trace(session, rename):
        yield
