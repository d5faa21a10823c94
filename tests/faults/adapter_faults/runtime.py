"""Broken promises of a runtime: streams and events that do not wait, copies cut short, memory that never comes back.

Each stands between Paddle and the check of the runtime suite that has to notice it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

from adapter_faults.table import wrapped

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__: list[str] = []

Plant = TypeVar("Plant", bound=Callable[..., Iterator[None]])


def _at(check: str) -> Callable[[Plant], Plant]:
    return wrapped("runtime", check, sees="check")


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
