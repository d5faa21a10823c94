"""The PyTorch side of operators.py and products.py, in an interpreter that has PyTorch: times one case a line of input.

A line is {"set": module of the cases, "tokens": .., "hidden": .., "case": name, "dtype": name, "seconds": ..}; the
answer is the seconds of one call, or null and the reason.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np
import torch
from operator_cases import Operand
from operator_timing import seconds_per_call, values


def _tensor(operand: Operand, dtype: str, number: int) -> Any:
    tensor = torch.from_numpy(np.ascontiguousarray(values(operand, number)))
    return tensor.to(getattr(torch, dtype)) if operand.kind == "normal" else tensor


def _time(request: dict[str, Any]) -> float:
    cases = importlib.import_module(request["set"]).cases
    case = next(c for c in cases(request["tokens"], request["hidden"]) if c.name == request["case"])
    operands = [_tensor(o, request["dtype"], i) for i, o in enumerate(case.operands)]
    with torch.set_grad_enabled(False):
        call = case.torch(torch, *operands) if case.setup else lambda: case.torch(torch, *operands)
        return seconds_per_call(call, lambda: None, request["seconds"])


def main() -> int:
    """Answers until the input ends."""
    torch.set_num_threads(int(sys.argv[1]))
    for line in sys.stdin:
        try:
            answer = {"seconds": _time(json.loads(line)), "error": None}
        except (RuntimeError, TypeError, NotImplementedError) as error:
            answer = {"seconds": None, "error": str(error)}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
