"""refchip's collectives against Gloo, in one run: turn by turn, size by size.

    REFCHIP_CARDS=4 python benchmarks/collectives.py --ranks 2,4 --json collectives.json
    python benchmarks/collectives.py --torch /path/to/python-with-torch     # PyTorch's Gloo beside Paddle's

A round of refchip and one of each Gloo follow one another, so that a change of the machine's load meets all of them;
the table gives the median of the rounds, the slowest rank counting. busbw as in nccl-tests.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from adapter_conform.collectives.bandwidth import bus_bandwidth
from adapter_conform.collectives.crew import Crew
from machine import describe_machine

OPERATIONS = ("all_reduce", "broadcast", "all_gather")
SIZES = (2**16, 2**20, 2**24, 2**26)
ROUND_SECONDS = 0.3
GLOO = Path(__file__).with_name("collectives_gloo.py")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Gloo:
    """Ranks on Gloo that take the same jobs as a crew."""

    def __init__(self, python: str, arguments: list[str], ranks: int) -> None:
        ports = _free_ports(ranks + 1)
        ends = [f"127.0.0.1:{port}" for port in ports[1:]]
        self._processes = [
            subprocess.Popen(
                [python, str(GLOO), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self._environment(rank, ends, ports[0]),
            )
            for rank in range(ranks)
        ]
        for process in self._processes:
            while process.stdout is not None and process.stdout.readline().strip() != "ready":
                if process.poll() is not None:
                    raise RuntimeError(
                        f"a Gloo rank ended with {process.returncode}; run {GLOO.name} by hand to see why"
                    )

    def _environment(self, rank: int, ends: list[str], port: int) -> dict[str, str]:
        paddle = {
            "PADDLE_TRAINER_ID": str(rank),
            "PADDLE_TRAINERS_NUM": str(len(ends)),
            "PADDLE_TRAINER_ENDPOINTS": ",".join(ends),
            "PADDLE_CURRENT_ENDPOINT": ends[rank],
            "PADDLE_MASTER": f"127.0.0.1:{port}",
            "PADDLE_DISTRI_BACKEND": "gloo",
            "TORCH_METHOD": f"tcp://127.0.0.1:{port}",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        return {**os.environ, **paddle}

    def ask(self, job: dict[str, Any]) -> float:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        answers = []
        for process in self._processes:
            assert process.stdout is not None
            answers.append(max(json.loads(process.stdout.readline())))
        return max(answers)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


class Refchip:
    def __init__(self, ranks: int) -> None:
        self._crew = Crew("refchip", ranks, 0, {**os.environ, "OMP_NUM_THREADS": "1", "REFCHIP_THREADS": "1"})

    def ask(self, job: dict[str, Any]) -> float:
        answers = self._crew.run({"type": "bandwidth", "dtype": "float32", **job}, 300)
        if not all("seconds" in answer for answer in answers.values()):
            raise RuntimeError(f"{job}: {answers}")
        return max(max(answer["seconds"]) for answer in answers.values())

    def close(self) -> None:
        self._crew.dismiss()


def _calls(contestant: Any, job: dict[str, Any]) -> int:
    once = contestant.ask({**job, "rounds": 1, "calls": 1})
    return max(2, min(200, int(ROUND_SECONDS / once)))


def _compare(ranks: int, operations: list[str], rounds: int, torch: str | None) -> list[dict[str, Any]]:
    contestants: dict[str, Any] = {"refchip": Refchip(ranks), "gloo (paddle)": Gloo(sys.executable, [], ranks)}
    if torch is not None:
        contestants["gloo (torch)"] = Gloo(torch, ["torch"], ranks)
    rows = []
    try:
        for operation in operations:
            for size in SIZES:
                job = {"operation": operation, "size": size, "dtype": "float32"}
                calls = {name: _calls(one, job) for name, one in contestants.items()}
                times: dict[str, list[float]] = {name: [] for name in contestants}
                for _ in range(rounds):
                    for name, one in contestants.items():
                        times[name].append(one.ask({**job, "rounds": 1, "calls": calls[name]}))
                busbw = {
                    name: bus_bandwidth(operation, ranks, size, statistics.median(found))[1]
                    for name, found in times.items()
                }
                best = max(value for name, value in busbw.items() if name != "refchip")
                row = {"operation": operation, "ranks": ranks, "bytes": size, "busbw": busbw}
                rows.append({**row, "ratio": busbw["refchip"] / best, "load": os.getloadavg()[0]})
                shown = "  ".join(f"{name} {value:7.3f}" for name, value in busbw.items())
                print(
                    f"{operation:12} {ranks} ranks {size:10} bytes  {shown}  ratio {rows[-1]['ratio']:.2f}", flush=True
                )
    finally:
        for one in contestants.values():
            one.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch", metavar="PYTHON", help="a Python that has PyTorch and adapter_conform's path")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(describe_machine())
    rows = []
    for ranks in map(int, options.ranks.split(",")):
        rows += _compare(ranks, options.operations.split(","), options.rounds, options.torch)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
