"""Breaks promises of a runtime on purpose and prints, as JSON, how the runtime suite's checks end.

``python runtime_faults.py PLUGIN`` opens the plugin once. Each fault stands between Paddle and the check that should
notice it, so that the device itself needs no faults; without any, the same checks must pass.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from adapter_conform.cases import Case
from adapter_conform.runtime import CHECKS
from adapter_conform.session import Session, open_session
from adapter_conform.suites.runtime import SUITE

Fault = Callable[[Session], Any]

FAULTS: dict[str, tuple[str, Fault]] = {}
"""Name -> the check that has to notice it, and how to plant it."""


def fault(check: str) -> Callable[[Fault], Fault]:
    def register(plant: Fault) -> Fault:
        FAULTS[plant.__name__] = (check, contextmanager(plant))
        return plant

    return register


@fault("streams/wait_event")
def wait_for_event_does_nothing(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device.Stream, "wait_event", return_value=None):
        yield


@fault("streams/wait_stream")
def wait_for_stream_does_nothing(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device.Stream, "wait_stream", return_value=None):
        yield


@fault("streams/event_query")
def event_is_always_ready(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device.Event, "query", return_value=True):
        yield


@fault("streams/stream_query")
def stream_is_always_ready(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device.Stream, "query", return_value=True):
        yield


@fault("streams/synchronize_event")
def synchronizing_an_event_does_nothing(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device.Event, "synchronize", return_value=None):
        yield


@fault("streams/synchronize_stream")
def synchronizing_a_stream_does_nothing(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device.Stream, "synchronize", return_value=None):
        yield


@fault("streams/synchronize_device")
def synchronizing_the_device_does_nothing(session: Session) -> Iterator[None]:
    with mock.patch.object(session.paddle.device, "synchronize", return_value=None):
        yield


@fault("memory/taken_and_returned")
def memory_statistics_stand_still(session: Session) -> Iterator[None]:
    with mock.patch.object(session.library, "allocated_bytes", return_value=12345):
        yield


@fault("memory/no_leak")
def tensors_are_never_freed(session: Session) -> Iterator[None]:
    real, kept = session.paddle.to_tensor, []

    def leaking(*arguments: Any, **named: Any) -> Any:
        kept.append(real(*arguments, **named))
        return kept[-1]

    with mock.patch.object(session.paddle, "to_tensor", leaking):
        yield


@fault("copies/misaligned")
def copies_are_one_byte_short(session: Session) -> Iterator[None]:
    real = session.library.copy

    def short(card: int, kind: Any, destination: int, source: int, size: int) -> None:
        real(card, kind, destination, source, size - 1 if 1 < size < 4096 else size)

    with mock.patch.object(session.library, "copy", short):
        yield


@fault("copies/round_trip")
def host_copies_lose_a_bit(session: Session) -> Iterator[None]:
    real = session.paddle.Tensor.numpy

    def damaged(self: Any) -> Any:
        array = real(self).copy()
        array.reshape(-1)[-1:].view("uint8")[-1:] ^= 0x10
        return array

    with mock.patch.object(session.paddle.Tensor, "numpy", damaged):
        yield


@fault("devices/selection")
def every_card_is_the_first(session: Session) -> Iterator[None]:
    real = session.paddle.set_device
    with mock.patch.object(session.paddle, "set_device", lambda name: real(name.split(":")[0] + ":0")):
        yield


@fault("framework/missing_kernel")
def paddle_falls_back_to_the_cpu(session: Session) -> Iterator[None]:
    session.paddle.set_flags({"FLAGS_enable_api_kernel_fallback": True})
    try:
        yield
    finally:
        session.paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})


@fault("framework/save_and_load")
def loaded_tensors_stay_on_the_cpu(session: Session) -> Iterator[None]:
    real = session.paddle.load
    with mock.patch.object(session.paddle, "load", lambda path: {k: v.cpu() for k, v in real(path).items()}):
        yield


def judge(session: Session, check_id: str) -> dict[str, str]:
    check = CHECKS[check_id]
    dtype = "float32" if "float32" in check.dtypes else check.dtypes[0]
    payload = {"check": check_id, "repetitions": check.repeat[0], "seed": 1}
    outcome = SUITE.run(Case("x", "runtime", check.group, dtype, payload), session)
    return {"check": check_id, "state": outcome.state.value, "message": outcome.message}


def main(plugin: str) -> None:
    session = open_session(plugin, seed=1)
    found = {}
    for name, (check, plant) in FAULTS.items():
        found[name] = {"sound": judge(session, check)}
        with plant(session):
            found[name]["faulty"] = judge(session, check)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
