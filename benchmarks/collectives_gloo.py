"""One rank of the same measurement on Gloo: Paddle's CPU backend, or with ``torch`` as first argument PyTorch's.

Started by collectives.py with PADDLE_TRAINER_ID, PADDLE_TRAINERS_NUM and the rendezvous in the environment; reads jobs
(JSON, a line each) from stdin and answers with a list of seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from adapter_conform.collectives.bandwidth import measure


def _paddle() -> Any:
    import paddle

    paddle.set_device("cpu")
    paddle.distributed.init_parallel_env()
    return paddle


def _torch_measure(job: dict[str, Any], ranks: int) -> list[float]:
    import torch
    import torch.distributed as dist

    count = max(ranks, int(job["size"]) // 4 // ranks * ranks)
    whole, part = torch.ones(count), torch.ones(count // ranks)
    calls = {
        "all_reduce": lambda: dist.all_reduce(whole, op=dist.ReduceOp.MAX),
        "broadcast": lambda: dist.broadcast(whole, src=0),
        "reduce": lambda: dist.reduce(whole, dst=0, op=dist.ReduceOp.MAX),
        "all_gather": lambda: dist.all_gather_into_tensor(whole, part),
    }
    call = calls[job["operation"]]
    call()
    seconds = []
    for _ in range(job["rounds"]):
        dist.barrier()
        begin = time.perf_counter()
        for _ in range(job["calls"]):
            call()
        seconds.append((time.perf_counter() - begin) / job["calls"])
    return seconds


def main() -> None:
    ranks = int(os.environ["PADDLE_TRAINERS_NUM"])
    use_torch = sys.argv[1:] == ["torch"]
    if use_torch:
        import torch.distributed as dist

        dist.init_process_group(
            "gloo", init_method=os.environ["TORCH_METHOD"], rank=int(os.environ["PADDLE_TRAINER_ID"]), world_size=ranks
        )
    else:
        paddle = _paddle()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(_torch_measure(job, ranks) if use_torch else measure(paddle, job, ranks)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
