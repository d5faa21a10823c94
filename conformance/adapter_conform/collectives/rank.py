"""``python -m adapter_conform.collectives.rank SOCKET PLUGIN SEED``: one rank, which does the crew's jobs in turn."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Client
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from adapter_conform.collectives.bandwidth import measure
from adapter_conform.collectives.graphs import GRAPH_ROWS, perform_in_graph
from adapter_conform.collectives.lifeline import die_with_parent
from adapter_conform.collectives.operations import Place, Variation, perform
from adapter_conform.collectives.scenarios import SCENARIOS, Stage
from adapter_conform.parallel.strategies import STRATEGIES

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["main"]

_REFUSALS = {
    "Size of tensor should be greater than 0": "a tensor without elements",
    "has no attribute 'nccl_version'": "an average: it asks for NCCL's version, which a wheel without CUDA lacks",
    "it != red_type.end()": "an average: custom_ccl_tools.cc has no such reduction",
}
"""What Paddle says before it asks the device, and of what."""


class Rank:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.distributed = session.paddle.distributed
        self.distributed.init_parallel_env()
        self.number: int = self.distributed.get_rank()
        self.ranks: int = self.distributed.get_world_size()
        self._enduring: Any = None
        """The training that goes on from job to job."""
        self._groups: dict[tuple[int, ...], Any] = {}

    def do(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a job: what was wrong, by label, an error if one ended it, and the communicator's calls."""
        before = self.session.library.collective_calls()
        answer: dict[str, Any] = {"rank": self.number, "place": self.session.device, "wrong": {}, "refused": {}}
        try:
            if any(item["operation"] in GRAPH_ROWS for item in job.get("variations", ())):
                self._meet()
                before = self.session.library.collective_calls()  # what graphs do counts alone
            if job["type"] == "variations":
                self._variations([Variation.from_json(item) for item in job["variations"]], int(job["seed"]), answer)
            elif job["type"] == "bandwidth":
                answer["seconds"] = measure(self.session.paddle, job, self.ranks)
            elif job["type"] == "parallel":
                with self.session.watch() as kernels:
                    answer["trained"] = self._train(job)
                answer["kernels"] = kernels.total()
            elif job["type"] == "certify":
                answer.update(self._certify(job))
            elif job["type"] == "endure":
                answer.update(self._endure(job))
            else:
                stage = Stage(self.session, self.number, self.ranks, int(job["seed"]), self.group)
                answer["wrong"]["result"] = SCENARIOS[job["scenario"]].act(stage)
        except Exception as error:  # whatever Paddle or the device raises is the answer, and is judged
            answer["error"] = f"{type(error).__name__}: {_last_lines(str(error))}"
            answer["trace"] = "".join(traceback.format_exception(error))[-4000:]
        after = self.session.library.collective_calls()
        answer["calls"] = {name: count - before.get(name, 0) for name, count in after.items()}
        return answer

    def _train(self, job: Mapping[str, Any]) -> dict[str, Any]:
        from adapter_conform.parallel.training import train  # with PaddleNLP, which no other job needs

        strategy = STRATEGIES[job["strategy"]]
        settings = (str(job["dtype"]), int(job["steps"]), int(job["seed"]), Path(job["weights"]))
        return train(self.session.paddle, self.session.device, strategy, *settings).to_json()

    def _certify(self, job: Mapping[str, Any]) -> dict[str, Any]:
        from adapter_conform.certification.tasks.sharing import measure_part

        return measure_part(self.session, job, self.number, self.ranks)

    def _endure(self, job: Mapping[str, Any]) -> dict[str, Any]:
        from adapter_conform.parallel.enduring import Enduring

        if job["do"] == "begin":
            self._enduring = Enduring(self.session, self.number, self.ranks, job)
        done: dict[str, Any] = self._enduring.do(job)
        return done

    def _variations(self, variations: list[Variation], seed: int, answer: dict[str, Any]) -> None:
        for variation in variations:
            group = self.group(variation.members)  # all ranks of the job have to make a group together
            members = variation.members or tuple(range(self.ranks))
            answer["at"] = variation.label()
            if self.number not in members:
                continue
            place = Place(self.session.paddle, members.index(self.number), len(members), members, group, seed)
            try:
                wrong = self._perform(place, variation)
            except (AttributeError, ValueError) as error:
                refused = [of for sign, of in _REFUSALS.items() if sign in str(error)]
                if not refused:
                    raise
                answer["refused"][variation.label()] = f"Paddle itself refuses {refused[0]}"
                continue
            if wrong:
                answer["wrong"][variation.label()] = wrong[:3]
        answer["at"] = ""

    def _perform(self, place: Place, variation: Variation) -> list[str]:
        if variation.operation not in GRAPH_ROWS:
            return perform(place, variation)
        try:
            return perform_in_graph(place, self.session.device, variation)
        finally:
            gc.collect()  # graphs are cyclic garbage; see Session.tidy_up

    def _meet(self) -> None:
        """Has Paddle make the communicator of all ranks: it does with the first collective, but not in every graph."""
        self.distributed.all_reduce(self.session.paddle.to_tensor([1.0]))
        self.session.paddle.device.synchronize()

    def group(self, members: tuple[int, ...], copy: int = 0) -> Any:
        """Paddle's group of these ranks; empty for the default one. ``copy`` gives others of the same ranks."""
        if not members and not copy:
            return None
        key = (*members, -1 - copy)
        if key not in self._groups:
            self._groups[key] = self.distributed.new_group(list(members or range(self.ranks)))
        return self._groups[key]


def _last_lines(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip())[-1200:]


def main() -> NoReturn:
    import adapter_sdk
    from adapter_conform.session import open_session
    from adapter_conform.supervisor.preload import preload

    die_with_parent()
    faulthandler.register(signal.SIGUSR1)  # the crew asks a silent rank where it stands
    address, plugin, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    device_type = adapter_sdk.load(plugin).device.device_type
    session = open_session(plugin, seed, card=int(os.environ[f"FLAGS_selected_{device_type}s"]))
    preload(session)
    rank = Rank(session)
    crew = Client(address, family="AF_UNIX")
    crew.send_bytes(json.dumps({"rank": rank.number, "pid": os.getpid()}).encode())
    while True:
        try:
            job = json.loads(crew.recv_bytes())
        except EOFError:  # the crew is dismissed
            sys.stdout.flush()
            os._exit(0)  # communicators of a lost group would be waited for
        crew.send_bytes(json.dumps(rank.do(job)).encode())


if __name__ == "__main__":
    main()
