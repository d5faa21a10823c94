"""Test only: judges the lines of a replay file on Paddle's CPU kernels and prints {line number: [state, message]}.

Usage: cpu_replay.py FILE [--spoil | --copy]. With --spoil every result is changed after the call, so that none may
pass; with --copy it is replaced by a copy of the call's first tensor, as if all kernels were one that copies.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "catalogue"))

import paddle
from adapter_conform.judge import judge_call
from adapter_conform.replay.lines import inputs_of, prepare, spec_of
from adapter_conform.replay.parser import parse_file
from adapter_conform.replay.planning import Budget, choose
from cpu_session import CpuSession


def spoiled(result: Any) -> Any:
    """``result`` with every element a little off; bools flipped."""
    if isinstance(result, (list, tuple)):
        return [spoiled(item) for item in result]
    if result.dtype == paddle.bool:
        return paddle.logical_not(result)
    return result + 1 if "int" in str(result.dtype) else result * 1.01 + 0.01


def broken(call: Any, option: str) -> Any:
    """``call`` with its result spoiled after the kernels ran, so that they are counted all the same."""

    def called(module: Any, tensors: Any, attributes: Any) -> Any:
        result = call(module, tensors, attributes)
        if option == "--spoil":
            return spoiled(result)
        return tensors[0].clone() if len(tensors) else spoiled(result)

    return called


def main() -> None:
    path, options = Path(sys.argv[1]), sys.argv[2:]
    paddle.set_device("cpu")
    session = CpuSession(paddle)
    # Paddle calls one kernel by another name in its log than in its registry; its half types are left out, since a CPU
    # has no kernels for most of them.
    everything = [*session._registry, *(("arange", dtype) for dtype in ("int32", "int64", "float32"))]
    everything = [(name, dtype) for name, dtype in everything if "float16" not in dtype]
    choice = choose(parse_file(path), everything, Budget.of("standard"), seed=0)
    states = {}
    for line in choice.chosen:
        spec = spec_of(prepare(line.call))
        for option in options:
            spec = replace(spec, call=broken(spec.call, option))
        outcome = judge_call(session, spec, inputs_of(line, seed=3), {}, dtype=line.dtype, backward=False)  # type: ignore[arg-type]
        states[line.call.line] = [outcome.state.value, outcome.message]
    print(json.dumps(states), flush=True)
    os._exit(0)  # Paddle sometimes aborts or hangs at exit after its log level was changed


if __name__ == "__main__":
    main()
