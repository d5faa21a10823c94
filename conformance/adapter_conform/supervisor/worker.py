"""The worker process: opens the plugin once, then runs cases one at a time until told to stop.

Started as ``python -m adapter_conform.supervisor.worker COMMANDS_FD RESULTS_FD``. It leaves through ``os._exit``:
device plugins often abort while the interpreter tears down, which would look like a crash of the last case.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from adapter_conform.cases import Case, Outcome
from adapter_conform.errors import ConformError
from adapter_conform.states import State
from adapter_conform.suites import load_suite
from adapter_conform.suites.base import SessionProvider
from adapter_conform.supervisor.describe import describe_environment, describe_kernels
from adapter_conform.supervisor.health import Footprint
from adapter_conform.supervisor.preload import preload
from adapter_conform.supervisor.protocol import (
    LineReader,
    Message,
    case_from_json,
    outcome_to_json,
    write_message,
)

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> NoReturn:
    commands_fd, results_fd = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (commands_fd, results_fd):
        os.set_inheritable(descriptor, False)
    _watch_for_faults()
    _die_with_supervisor()
    commands = _start_reader(commands_fd)
    session = _open(commands.get(), results_fd)
    tidy_up = getattr(session, "tidy_up", None)
    gc.collect()
    gc.freeze()  # what the imports made stays: collecting then takes 3 ms instead of 100
    while True:
        command = commands.get()
        if command["type"] == "stop":
            _leave()
        elif command["type"] == "probe":
            write_message(results_fd, _probe(session))
        else:
            done = _run(command["suite"], case_from_json(command["case"]), session)
            if tidy_up is not None:
                tidy_up()
            write_message(results_fd, {**done, "footprint": Footprint.of_this_process().to_json()})


def _open(hello: Message, results_fd: int) -> Any:
    try:
        session = _session_opener(hello["session_suite"])(hello["plugin"], hello["seed"])
        preload(session)
        ready = {
            "type": "ready",
            "kernels": describe_kernels(session),
            "environment": describe_environment(session),
            "footprint": Footprint.of_this_process().to_json(),
        }
    except BaseException as error:  # also SystemExit from a plugin: the supervisor must learn why
        write_message(
            results_fd,
            {"type": "failed", "message": explain(error), "trace": "".join(traceback.format_exception(error))},
        )
        _leave()
    _watch_for_faults()  # once more: Paddle installs handlers of its own on import
    write_message(results_fd, ready)
    return session


def _session_opener(spec: str | None) -> Any:
    if spec is not None:
        suite = load_suite(spec)
        if isinstance(suite, SessionProvider):
            return suite.open_session
    from adapter_conform.session import open_session

    return open_session


def _run(spec: str, case: Case, session: Any) -> Message:
    start = time.perf_counter()
    try:
        outcome = load_suite(spec).run(case, session)
        seconds = time.perf_counter() - start
        return {"type": "done", "outcome": outcome_to_json(outcome), "seconds": seconds}
    except BaseException as error:  # a SystemExit or KeyboardInterrupt raised by a case is that case's failure
        outcome = Outcome(State.FAILED, message=explain(error), details={"trace": _trace(error)})
        return {"type": "done", "outcome": outcome_to_json(outcome), "seconds": time.perf_counter() - start}


def _probe(session: Any) -> Message:
    """Whether the device still does the simplest thing. A session that has no probe of its own counts as healthy."""
    check = getattr(session, "check_health", None)
    try:
        if check is not None:
            check()
    except BaseException as error:  # whatever a sick device makes of it
        return {"type": "sick", "message": explain(error)}
    return {"type": "healthy"}


def explain(error: BaseException) -> str:
    """The message of errors that are written for users, class and message of all others."""
    if isinstance(error, ConformError) or any(kind.__name__ == "AdapterError" for kind in type(error).__mro__):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-8000:]


def _start_reader(descriptor: int) -> queue.SimpleQueue[Message]:
    """Reads commands in a thread, so that the end of the pipe, i.e. of the supervisor, is noticed during a case too."""
    commands: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def read() -> None:
        reader = LineReader(descriptor)
        while not reader.at_end:
            for message in reader.read_some():
                commands.put(message)
        _leave()

    threading.Thread(target=read, name="commands", daemon=True).start()
    return commands


def _watch_for_faults() -> None:
    """A crash, or SIGUSR1 from the supervisor ahead of a kill, writes the Python stacks to the log."""
    faulthandler.enable(all_threads=True)
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _die_with_supervisor() -> None:
    """Asks Linux for SIGKILL when the supervisor dies: a case that hangs in C code never lets the reader thread run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _leave() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
