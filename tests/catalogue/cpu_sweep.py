"""Judges catalogue entries on Paddle's CPU kernels; prints one JSON line per call. A program, run by the tests.

A process of its own, since the log level that the fake session needs is fixed when Paddle is imported.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import paddle
from adapter_conform import catalogue
from adapter_conform.catalogue.draw import draw
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.values import make_inputs
from adapter_conform.judge import judge_call
from cpu_session import CpuSession


def main(count: int, seed: int, static: bool) -> None:
    session: Any = CpuSession(paddle)
    for spec in catalogue.all_specs():
        if static and not spec.static:
            continue
        extra = ("float64",) if "float64" in spec.offered and not static else ()
        for dtype in (*spec.dtypes, *extra):
            if static and spec.view and not session.is_registered(spec.name, dtype):
                continue  # such an entry stands for several kernels; the suite plans it in eager mode only
            for example in draw(spec, dtype, count, seed):
                special = any(item["regime"] == "special" for item in example["inputs"])
                outcome = judge_call(
                    session,
                    spec,
                    make_inputs(example, dtype),
                    example["attributes"],
                    dtype=dtype,
                    backward=is_float(dtype) and not special,
                    static=static,
                    probe=bool(example.get("probe", False)),
                    seed=example["seed"],
                )
                row = {
                    "operator": spec.name,
                    "dtype": dtype,
                    "example": example,
                    "state": outcome.state.value,
                    "message": outcome.message,
                    "failed": [figure.gate for figure in outcome.errors if not figure.passed],
                    "gates": sorted({figure.gate for figure in outcome.errors}),
                    "kernels": outcome.details.get("kernels", {}),
                }
                print(json.dumps(row), flush=True)
    os._exit(0)  # Paddle sometimes aborts at exit after its log level was changed


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "static")
