"""A rank that trains on from job to job, saves, and leaves in order: what endurance and recovery are made of.

Jobs of type ``endure``, told apart by ``do``:

``begin``   builds the model; from ``checkpoint``, a folder, where one is given
``steps``   makes ``count`` steps. After each, all ranks agree whether to stop: one that got SIGTERM makes all save and
            leave off. In the midst of a step, ``die_at`` has ``victim`` kill itself by SIGKILL, ``terminate_at`` has
            it send itself SIGTERM, and ``fail_at`` has every rank's device refuse something
``save``    writes this rank's part of a checkpoint; ``victim`` kills itself when it is half written
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_conform.parallel.checkpoint import Arrays, read_part, write_part
from adapter_conform.parallel.strategies import Strategy
from adapter_conform.parallel.training import Trainer

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["Enduring", "optimizer_arrays", "restore"]

_BATCHES = 200
"""After so many steps the data comes round again."""

_PARAMETER, _STATE, _MASTER = "parameter/", "state/", "master/"


class Enduring:
    """Serves the jobs of one training; the process has one."""

    def __init__(self, session: Session, rank: int, ranks: int, job: Mapping[str, Any]) -> None:
        self.session, self.rank, self.ranks = session, rank, ranks
        self.root = Path(job["root"])
        strategy = Strategy(**job["strategy"])
        settings = (strategy, str(job["dtype"]), _BATCHES, int(job["seed"]), Path(job["weights"]))
        self.trainer = Trainer(session.paddle, session.device, *settings)
        self.step = 0
        self._stop = False
        signal.signal(signal.SIGTERM, self._terminate)
        if job.get("checkpoint"):
            folder = Path(job["checkpoint"])
            restore(self.trainer, read_part(folder, rank))
            self.step = int(job["step"])

    def _terminate(self, _signal: int, _frame: object) -> None:
        self._stop = True

    def do(self, job: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"step": self.step}
        if job["do"] == "steps":
            answer.update(self._steps(job))
        elif job["do"] == "save":
            answer["saved"] = str(self._save(self._death_in_save(job)))
        return {**answer, "step": self.step, **self._resources()}

    def _steps(self, job: Mapping[str, Any]) -> dict[str, Any]:
        losses: list[float] = []
        started, begun = time.perf_counter(), self.step
        victim = job.get("victim") == self.rank
        for _ in range(int(job["count"])):
            try:
                loss = self.trainer.forward_and_backward(self.step)
                if victim and job.get("die_at") == self.step:
                    os.kill(os.getpid(), signal.SIGKILL)
                if victim and job.get("terminate_at") == self.step:
                    os.kill(os.getpid(), signal.SIGTERM)
                if job.get("fail_at") == self.step:
                    self._let_the_device_fail()
                # What the device has against this step comes out here, while the parameters are the last one's.
                losses.append(float(loss))
                self.session.paddle.device.synchronize(self.session.device)
            except Exception as error:
                del losses[self.step - begun :]
                cause = f"{type(error).__name__}: {str(error)[-300:]}"
                return {"losses": losses, "emergency": str(self._save()), "cause": cause}
            self.trainer.update()
            self.step += 1
            if self._all_stop():
                return {"losses": losses, "emergency": str(self._save()), "cause": "SIGTERM"}
        return {"losses": losses, "seconds": time.perf_counter() - started}

    def _all_stop(self) -> bool:
        """Whether any rank was told to stop; all learn it after the same step, and save the same one."""
        paddle = self.session.paddle
        wish = paddle.to_tensor(np.array([int(self._stop)], np.int32))
        if self.ranks > 1:
            paddle.distributed.all_reduce(wish, op=paddle.distributed.ReduceOp.MAX)
        return bool(wish.numpy()[0])

    def _let_the_device_fail(self) -> None:
        """Asks for more memory than the card has."""
        self.session.paddle.empty([self.session.library.memory_bytes(self.rank) + 1], dtype="uint8")

    def _save(self, written: Callable[[int, int], None] | None = None) -> Path:
        arrays: Arrays = {_PARAMETER + name: tensor.numpy() for name, tensor in self.trainer.named.items()}
        arrays.update(optimizer_arrays(self.trainer))
        return write_part(self.root, self.step, self.rank, self.ranks, arrays, written)

    def _death_in_save(self, job: Mapping[str, Any]) -> Callable[[int, int], None] | None:
        if job.get("victim") != self.rank:
            return None

        def die(written: int, size: int) -> None:
            if written >= size * float(job["die_at_part"]):
                os.kill(os.getpid(), signal.SIGKILL)

        return die

    def _resources(self) -> dict[str, Any]:
        return {
            "device_bytes": self.session.library.allocated_bytes(int(self.session.device.split(":")[1])),
            "host_bytes": _resident_bytes(),
            "handles": len(os.listdir("/proc/self/fd")),
        }


def optimizer_arrays(trainer: Trainer) -> Arrays:
    """The optimizer's state by the names of the whole model: Paddle's own change from process to process."""
    arrays: Arrays = {}
    names = _by_paddle_name(trainer)
    for key, value in trainer.adamw.state_dict().items():
        if key == "master_weights":
            arrays.update({_MASTER + names[own]: tensor.numpy() for own, tensor in value.items()})
        elif hasattr(value, "numpy"):
            own = max((own for own in names if key.startswith(own + "_")), key=len)
            arrays[f"{_STATE}{names[own]}/{key.removeprefix(own + '_')}"] = value.numpy()
    return arrays


def restore(trainer: Trainer, arrays: Arrays) -> None:
    """Gives parameters and optimizer the bits that :func:`optimizer_arrays` and the parameters had."""
    paddle = trainer.paddle
    own_names = {name: own for own, name in _by_paddle_name(trainer).items()}
    state: dict[str, Any] = {}
    masters: dict[str, Any] = {}
    for key, array in arrays.items():
        if key.startswith(_PARAMETER):
            trainer.named[key.removeprefix(_PARAMETER)].set_value(array)
        elif key.startswith(_MASTER):
            masters[own_names[key.removeprefix(_MASTER)]] = paddle.to_tensor(array)
        else:
            name, _, accumulator = key.removeprefix(_STATE).rpartition("/")
            state[f"{own_names[name]}_{accumulator}"] = paddle.to_tensor(array)
    if masters:
        state["master_weights"] = masters
    trainer.adamw.set_state_dict(state)


def _by_paddle_name(trainer: Trainer) -> dict[str, str]:
    return {tensor.name: name for name, tensor in trainer.named.items()}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
