"""The supervisor: hands cases to workers, keeps the clock, and replaces workers that die."""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.cases import Outcome
from adapter_conform.plan import PlannedCase
from adapter_conform.states import State
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE, named_preload
from adapter_conform.supervisor.process import Assignment, WorkerProcess, worker_environment
from adapter_conform.supervisor.protocol import Message, outcome_from_json
from adapter_conform.supervisor.records import Sink, record_of, strict
from adapter_sdk._probe import describe_exit

__all__ = ["PoolEnd", "Supervisor"]

_MAX_STARTUP_DEATHS = 3
_TICK_SECONDS = 0.1
_STOP_SECONDS = 5.0
_MIN_STARTUP_SECONDS = 180.0
"""Importing Paddle and opening a device on a busy machine takes long; a hang there must still end."""


@dataclass
class PoolEnd:
    """What came of the workers, beside the records."""

    stopped: str | None = None
    """Why the run ended before its last case; ``None`` when it did not."""
    plugin_failure: str | None = None
    """Why the plugin could not be opened in any worker."""
    suspicions: list[str] = field(default_factory=list)
    """Things that belong to no case and yet forbid to call the plugin conformant."""
    kernels: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)


class Supervisor:
    """Runs ``cases`` on up to ``jobs`` workers. Every case ends in exactly one record, given to ``sink``.

    ``case_timeout`` is in seconds. ``interrupted`` is asked often; a text stops the run and says why.
    ``progress`` is called about ten times a second.
    """

    def __init__(
        self,
        cases: Sequence[PlannedCase],
        sink: Sink,
        *,
        plugin: str,
        seed: int,
        session_suite: str | None,
        jobs: int,
        case_timeout: float,
        log_folder: Path,
        interrupted: Callable[[], str | None],
        progress: Callable[[], None],
    ) -> None:
        self._sink = sink
        self._hello = {"type": "hello", "plugin": plugin, "seed": seed, "session_suite": session_suite}
        self._jobs = jobs
        self._case_timeout = case_timeout
        self._log_folder = log_folder
        self._interrupted = interrupted
        self._progress = progress
        self._env = worker_environment(jobs)
        self._cases = cases
        self._waiting: deque[PlannedCase] = deque()
        self._workers: list[WorkerProcess] = []
        self._selector = selectors.DefaultSelector()
        self._started = 0
        self._startup_deaths = 0
        self._ever_ready = False
        self._end = PoolEnd()
        if (tool := named_preload(self._env)) is not None:
            self._end.suspicions.append(
                f"{PRELOAD_VARIABLE}={tool}: a tool was around the kernels, which proves nothing"
            )

    def run(self) -> PoolEnd:
        """Runs until every case has its record. Returns normally also when interrupted."""
        for planned in self._cases:
            if planned.case.not_run is not None:
                self._sink(planned, record_of(planned, Outcome(State.NOT_RUN, message=planned.case.not_run), 0.0))
            else:
                self._waiting.append(planned)
        try:
            self._loop()
        finally:
            self._kill_all()
            self._selector.close()
        return self._end

    def _loop(self) -> None:
        while self._waiting or self._workers:
            reason = self._interrupted()
            if reason is not None:
                self._stop(reason)
            if self._end.stopped is not None:
                self._abandon()
                return
            self._hire()
            for key, _ in self._selector.select(_TICK_SECONDS):
                self._listen(key.data)
            self._check_clocks()
            self._progress()

    def _stop(self, reason: str) -> None:
        self._end.stopped = self._end.stopped or reason

    def _abandon(self) -> None:
        """Gives every case that has no record yet the state not_run."""
        held = [worker.release() for worker in self._workers if worker.assignment is not None]
        self._kill_all()
        for assignment in held:
            message = f"started, but had not ended when the run was stopped: {self._end.stopped}"
            self._close_case(assignment, Outcome(State.NOT_RUN, message=message), self._elapsed(assignment))
        for planned in self._waiting:
            outcome = Outcome(State.NOT_RUN, message=f"the run was stopped before this case: {self._end.stopped}")
            self._sink(planned, record_of(planned, outcome, 0.0))
        self._waiting.clear()

    # -- workers come and go

    def _hire(self) -> None:
        """Starts workers until there is one for every waiting case or ``jobs`` of them."""
        free = sum(worker.assignment is None for worker in self._workers)
        while len(self._workers) < self._jobs and free < len(self._waiting):
            self._started += 1
            log_path = self._log_folder / f"worker-{self._started:04d}.log"
            limit = max(_MIN_STARTUP_SECONDS, self._case_timeout)
            worker = WorkerProcess(self._started, self._hello, log_path, self._env, limit)
            self._workers.append(worker)
            self._selector.register(worker, selectors.EVENT_READ, worker)
            free += 1

    def _dismiss(self, worker: WorkerProcess) -> int:
        """Ends a worker for good; returns its exit status."""
        self._selector.unregister(worker)
        self._workers.remove(worker)
        status = worker.kill()
        worker.close()
        return status

    def _kill_all(self) -> None:
        for worker in list(self._workers):
            self._dismiss(worker)

    # -- what workers say

    def _listen(self, worker: WorkerProcess) -> None:
        try:
            messages = worker.reader.read_some()
        except ValueError as error:
            self._bury(worker, f"sent something that is no message: {error}")
            return
        for message in messages:
            self._answer(worker, message)
        if worker.reader.at_end and worker in self._workers:
            self._bury(worker)

    def _answer(self, worker: WorkerProcess, message: Message) -> None:
        if message["type"] == "ready":
            worker.ready = True
            self._startup_deaths = 0
            if not self._ever_ready:
                self._ever_ready = True
                self._end.kernels, self._end.environment = message["kernels"], message["environment"]
        elif message["type"] == "failed":
            worker.failure = message["message"]
            return  # it leaves by itself; its death is handled when the pipe ends
        elif message["type"] == "done":
            outcome = strict(outcome_from_json(message["outcome"]))
            retire = bool(outcome.details.pop("retire_worker", False))
            self._close_case(worker.release(), outcome, message["seconds"])
            if retire:
                self._send_home(worker)
                return
        self._give_work(worker)

    def _give_work(self, worker: WorkerProcess) -> None:
        if not self._waiting:
            self._send_home(worker)
            return
        planned = self._waiting.popleft()
        timeout = planned.case.timeout if planned.case.timeout is not None else self._case_timeout
        worker.assign(planned, timeout)

    def _send_home(self, worker: WorkerProcess) -> None:
        """Lets an idle worker leave in order. A death now belongs to no case, but it is not forgotten."""
        worker.send({"type": "stop"})
        deadline = time.monotonic() + _STOP_SECONDS
        while not worker.has_died() and time.monotonic() < deadline:
            time.sleep(0.01)
        left_in_time = worker.has_died()
        status = self._dismiss(worker)
        if left_in_time and status != 0:
            self._suspect(worker, f"died of {describe_exit(status)}")

    def _suspect(self, worker: WorkerProcess, what: str) -> None:
        self._end.suspicions.append(
            f"worker {worker.number} {what} while it ran no case; its last one was {worker.last_case!r}. "
            f"See {worker.log_path}"
        )

    # -- what befalls workers

    def _check_clocks(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.has_died():  # also when a process that it left behind keeps the pipe open
                self._listen_to_the_end(worker)
            elif worker.assignment is not None and now > worker.assignment.deadline:
                self._end_hang(worker)
            elif not worker.ready and now > worker.startup_deadline:
                worker.dump_stacks()
                self._bury(worker, "did not become ready in time")

    def _listen_to_the_end(self, worker: WorkerProcess) -> None:
        while worker in self._workers and self._has_input(worker):
            self._listen(worker)
        if worker in self._workers:
            self._bury(worker)

    def _has_input(self, worker: WorkerProcess) -> bool:
        return any(key.data is worker for key, _ in self._selector.select(0))

    def _end_hang(self, worker: WorkerProcess) -> None:
        worker.dump_stacks()
        assignment = worker.release()
        limit = assignment.deadline - assignment.started
        self._dismiss(worker)
        details = {"log": _log_name(worker), "log_tail": worker.log_tail()}
        message = f"no answer within {limit:g} s; the worker was killed"
        self._close_case(assignment, Outcome(State.HUNG, message=message, details=details), self._elapsed(assignment))

    def _bury(self, worker: WorkerProcess, why: str | None = None) -> None:
        """Draws the consequences of a worker's unexpected death, or puts it to death because of ``why``."""
        status = self._dismiss(worker)
        how = why or f"died of {describe_exit(status)}"
        if worker.assignment is not None:
            self._blame_case(worker, status, how)
        elif worker.ready:
            self._suspect(worker, how)
        else:
            self._count_startup_death(worker, how)

    def _blame_case(self, worker: WorkerProcess, status: int, how: str) -> None:
        previous = worker.last_case
        assignment = worker.release()
        message = f"the worker process {how}"
        if previous is not None:
            message += f" (the case before it in the same process was {previous!r})"
        details = {"signal": describe_exit(status), "log": _log_name(worker), "log_tail": worker.log_tail()}
        self._close_case(
            assignment, Outcome(State.CRASHED, message=message, details=details), self._elapsed(assignment)
        )

    def _count_startup_death(self, worker: WorkerProcess, how: str) -> None:
        self._startup_deaths += 1
        if worker.failure is not None and not self._ever_ready:
            self._end.plugin_failure = worker.failure
            self._stop(f"the plugin could not be opened: {worker.failure}")
        elif self._startup_deaths >= _MAX_STARTUP_DEATHS:
            tail = worker.failure or worker.log_tail() or "its log is empty"
            self._stop(
                f"{self._startup_deaths} workers in a row ended before they were ready; the last one {how}.\n"
                f"The end of {worker.log_path}:\n{tail}\n"
                "Opening the plugin kills the process: see whether `import paddle` works with it installed."
            )
            if not self._ever_ready:
                self._end.plugin_failure = self._end.stopped

    # -- records

    def _close_case(self, assignment: Assignment, outcome: Outcome, seconds: float) -> None:
        self._sink(assignment.planned, record_of(assignment.planned, outcome, seconds))

    @staticmethod
    def _elapsed(assignment: Assignment) -> float:
        return time.monotonic() - assignment.started


def _log_name(worker: WorkerProcess) -> str:
    return f"{worker.log_path.parent.name}/{worker.log_path.name}"
