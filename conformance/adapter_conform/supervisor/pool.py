"""The supervisor: hands cases to workers, keeps the clock, and replaces workers that die."""

from __future__ import annotations

import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adapter_conform.cases import Outcome
from adapter_conform.plan import PlannedCase
from adapter_conform.states import BAD, State
from adapter_conform.supervisor.health import Footprint, Limits, large_at_once, oom_kills, ran_out_of_memory
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE, named_preload
from adapter_conform.supervisor.process import Assignment, WorkerProcess, worker_environment
from adapter_conform.supervisor.protocol import Message, outcome_from_json
from adapter_conform.supervisor.records import Sink, put_off, record_of, strict
from adapter_sdk._probe import describe_exit

__all__ = ["Note", "PoolEnd", "Supervisor"]

_MAX_STARTUP_DEATHS = 3
_MAX_SICK_STARTS = 2
"""Fresh processes in a row that find the device sick: it is not the process, then."""
_PROBE_SECONDS = 60.0
"""A probe takes a millisecond; a busy machine may make much more of it."""
_TICK_SECONDS = 0.1
_STOP_SECONDS = 5.0
_MIN_STARTUP_SECONDS = 180.0
"""Importing Paddle and opening a device on a busy machine takes long; a hang there must still end."""


class Note(Protocol):
    """Writes an event of the run down; see :mod:`adapter_conform.journal`."""

    def __call__(self, event: str, /, **facts: object) -> None: ...


@dataclass
class PoolEnd:
    """How it ended, beside the records and the journal."""

    stopped: str | None = None
    """Why the run ended before its last case; ``None`` when it did not."""
    quarantined: bool = False
    """It was stopped because the device was found sick."""


class Supervisor:
    """Runs ``cases`` on up to ``jobs`` workers. Every case ends in exactly one record, given to ``sink``.

    ``case_timeout`` is in seconds. ``interrupted`` is asked often; a text stops the run and says why.
    ``progress`` is called about ten times a second. ``first_worker`` numbers the workers and their logs.
    """

    def __init__(
        self,
        cases: Sequence[PlannedCase],
        sink: Sink,
        note: Note,
        *,
        plugin: str,
        seed: int,
        session_suite: str | None,
        jobs: int,
        case_timeout: float,
        log_folder: Path,
        interrupted: Callable[[], str | None],
        progress: Callable[[], None],
        first_worker: int = 1,
    ) -> None:
        self._sink = sink
        self._note = note
        self._hello = {"type": "hello", "plugin": plugin, "seed": seed, "session_suite": session_suite}
        self._jobs = jobs
        self._case_timeout = case_timeout
        self._log_folder = log_folder
        self._interrupted = interrupted
        self._progress = progress
        self._env = worker_environment(jobs)
        self._limits = Limits.of_machine(jobs)
        self._cases = cases
        self._waiting: deque[PlannedCase] = deque()
        self._large_at_once = large_at_once()
        self._workers: list[WorkerProcess] = []
        self._selector = selectors.DefaultSelector()
        self._next_number = first_worker
        self._startup_deaths = 0
        self._sick_starts = 0
        self._ever_ready = False
        self._oom_kills = oom_kills()
        self._end = PoolEnd()

    def run(self) -> PoolEnd:
        """Runs until every case has its record. Returns normally also when interrupted."""
        if (tool := named_preload(self._env)) is not None:
            self._note(
                "suspicion", what=f"{PRELOAD_VARIABLE}={tool}: a tool was around the kernels, which proves nothing"
            )
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
            self._employ()
            self._progress()

    def _stop(self, reason: str) -> None:
        self._end.stopped = self._end.stopped or reason

    def _abandon(self) -> None:
        """Gives every case that has no record yet the state not_run."""
        held = [worker.release() for worker in self._workers if worker.assignment is not None]
        self._kill_all()
        for assignment in held:
            message = f"started, but had not ended when the run was stopped: {self._end.stopped}"
            self._close_case(assignment, put_off(message), self._elapsed(assignment))
        for planned in self._waiting:
            message = f"the run was stopped before this case: {self._end.stopped}"
            self._sink(planned, record_of(planned, put_off(message), 0.0))
        self._waiting.clear()

    # -- workers come and go

    def _hire(self) -> None:
        """Starts workers until there is one for every waiting case or ``jobs`` of them."""
        free = sum(worker.assignment is None for worker in self._workers)
        while len(self._workers) < self._jobs and free < len(self._waiting):
            log_path = self._log_folder / f"worker-{self._next_number:04d}.log"
            limit = max(_MIN_STARTUP_SECONDS, self._case_timeout)
            worker = WorkerProcess(self._next_number, self._hello, log_path, self._env, limit)
            self._next_number += 1
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
        kind = message["type"]
        if kind == "ready":
            self._welcome(worker, message)
        elif kind == "failed":
            worker.failure = message["message"]  # it leaves by itself; its death is handled when the pipe ends
        elif kind == "done":
            self._finish(worker, message)
        elif kind == "healthy":
            worker.probe_deadline = None
            self._sick_starts = 0
            self._give_work(worker)
        elif kind == "sick":
            self._end_sick(worker, message["message"])

    def _welcome(self, worker: WorkerProcess, message: Message) -> None:
        worker.ready = True
        worker.footprint = Footprint.from_json(message["footprint"])
        self._startup_deaths = 0
        if not self._ever_ready:
            self._ever_ready = True
            self._note("ready", kernels=message["kernels"], environment=message["environment"])
        self._note("worker", number=worker.number)
        worker.probe(_PROBE_SECONDS)

    def _finish(self, worker: WorkerProcess, message: Message) -> None:
        outcome = strict(outcome_from_json(message["outcome"]))
        retire = bool(outcome.details.pop("retire_worker", False))
        assignment = worker.release()
        unfit = self._unfit(worker, outcome, Footprint.from_json(message["footprint"]))
        # Before the next case: it may take the supervisor down, and the record with it.
        self._close_case(assignment, outcome, message["seconds"])
        if unfit is not None:
            self._replace(worker, unfit)
        elif retire:
            self._send_home(worker)
        elif outcome.state in BAD:
            worker.probe(_PROBE_SECONDS)
        else:
            self._give_work(worker)

    def _unfit(self, worker: WorkerProcess, outcome: Outcome, now: Footprint) -> str | None:
        """Why the worker may run no further case; None when it may."""
        if ran_out_of_memory(outcome):
            return "its last case ran out of memory"
        assert worker.footprint is not None
        return self._limits.exceeded(worker.footprint, now)

    def _give_work(self, worker: WorkerProcess) -> None:
        if not self._waiting:
            self._send_home(worker)
            return
        index = self._next_index()
        if index is None:
            return  # idle until the large case beside it has ended, see _employ()
        planned = self._waiting[index]
        del self._waiting[index]
        timeout = planned.case.timeout if planned.case.timeout is not None else self._case_timeout
        worker.assign(planned, timeout)

    def _next_index(self) -> int | None:
        """Of the first waiting case that may run now; None while only large ones wait and memory has room for none."""
        assignments = [worker.assignment for worker in self._workers]
        if sum(item is not None and item.planned.case.large for item in assignments) < self._large_at_once:
            return 0
        return next((index for index, planned in enumerate(self._waiting) if not planned.case.large), None)

    def _employ(self) -> None:
        """Gives work to those that had to wait for a large case."""
        for worker in list(self._workers):
            if worker.ready and worker.assignment is None and worker.probe_deadline is None:
                self._give_work(worker)

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

    def _replace(self, worker: WorkerProcess, why: str) -> None:
        """Ends a worker that still answers; the next one starts afresh."""
        self._note(
            "replacement",
            what=f"worker {worker.number} was replaced after {worker.cases_done} cases, the last one "
            f"{worker.last_case!r}: {why}",
        )
        self._send_home(worker)

    def _suspect(self, worker: WorkerProcess, what: str) -> None:
        self._note(
            "suspicion",
            what=f"worker {worker.number} {what} while it ran no case; its last one was {worker.last_case!r}. "
            f"See {_log_name(worker)}",
        )

    # -- what befalls workers

    def _check_clocks(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.has_died():  # also when a process that it left behind keeps the pipe open
                self._listen_to_the_end(worker)
            elif worker.assignment is not None and now > worker.assignment.deadline:
                self._end_hang(worker)
            elif worker.probe_deadline is not None and now > worker.probe_deadline:
                worker.dump_stacks()
                self._end_sick(worker, f"it did not answer within {_PROBE_SECONDS:g} s")
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
        elif worker.probe_deadline is not None:
            self._count_sick(worker, f"the process {how}")
        elif worker.ready:
            self._suspect(worker, how)
        else:
            self._count_startup_death(worker, how)

    def _end_sick(self, worker: WorkerProcess, why: str) -> None:
        self._dismiss(worker)
        self._count_sick(worker, why)

    def _count_sick(self, worker: WorkerProcess, why: str) -> None:
        """A sick device may be well again for a fresh process; one that is not is given no further case."""
        last = f"after case {worker.last_case!r}" if worker.last_case else "before its first case"
        self._note("replacement", what=f"worker {worker.number} found the device sick {last}: {why}")
        if worker.last_case is not None:
            return
        self._sick_starts += 1
        if self._sick_starts >= _MAX_SICK_STARTS:
            self._end.quarantined = True
            self._stop(
                f"the device is in quarantine: {self._sick_starts} fresh processes in a row could not copy to it and "
                f"back; the last one: {why}\nReset the device, then go on with --resume."
            )

    def _blame_case(self, worker: WorkerProcess, status: int, how: str) -> None:
        previous = worker.last_case
        assignment = worker.release()
        message = f"the worker process {how}"
        if status == -signal.SIGKILL and (kills := oom_kills()) > self._oom_kills:
            self._oom_kills = kills
            message += "; the system killed a process for want of memory meanwhile"
        if previous is not None:
            message += f" (the case before it in the same process was {previous!r})"
        details = {"signal": describe_exit(status), "log": _log_name(worker), "log_tail": worker.log_tail()}
        self._close_case(
            assignment, Outcome(State.CRASHED, message=message, details=details), self._elapsed(assignment)
        )

    def _count_startup_death(self, worker: WorkerProcess, how: str) -> None:
        self._startup_deaths += 1
        if worker.failure is not None and not self._ever_ready:
            self._stop(f"the plugin could not be opened: {worker.failure}")
        elif self._startup_deaths >= _MAX_STARTUP_DEATHS:
            tail = worker.failure or worker.log_tail() or "its log is empty"
            self._stop(
                f"{self._startup_deaths} workers in a row ended before they were ready; the last one {how}.\n"
                f"The end of {worker.log_path}:\n{tail}\n"
                "Opening the plugin kills the process: see whether `import paddle` works with it installed."
            )

    # -- records

    def _close_case(self, assignment: Assignment, outcome: Outcome, seconds: float) -> None:
        self._sink(assignment.planned, record_of(assignment.planned, outcome, seconds))

    @staticmethod
    def _elapsed(assignment: Assignment) -> float:
        return time.monotonic() - assignment.started


def _log_name(worker: WorkerProcess) -> str:
    return f"{worker.log_path.parent.name}/{worker.log_path.name}"
