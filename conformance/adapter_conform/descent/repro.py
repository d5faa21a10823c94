"""A failure that fits into two files: a program of Paddle, NumPy and the plugin alone, and the call's inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from adapter_conform.descent.examine import Examined, examine_forward
from adapter_conform.replay.parser import parse_line
from adapter_conform.replay.syntax import DtypeArg, SliceArg, TensorArg, Value
from adapter_conform.states import State

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["parts_of", "write_repro"]

Array = NDArray[Any]

_PROGRAM = '''\
"""Shows one call alone on {device}, beside the CPU in float64. Needs paddle, numpy and the plugin.

{call}

What was found: {message}
"""

import os
import sys

import numpy as np
import paddle

paddle.set_flags({{"FLAGS_enable_api_kernel_fallback": False}})
stored = np.load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "{inputs}"))


def run(device, wide):
    paddle.set_device(device)
    tensors = []
    for index in range({count}):
        array, kind = stored[f"in{{index}}"], str(stored[f"dtype{{index}}"])
        tensor = paddle.to_tensor(array)
        floating = kind in ("float16", "bfloat16", "float32", "float64")
        tensor = tensor.astype("float64" if wide else kind) if floating else tensor
        tensor.stop_gradient = not (floating and {backward})
        tensors.append(tensor)
    result = {expression}
    results = [item for item in (result if isinstance(result, (list, tuple)) else [result]) if item is not None]
    if {backward}:
        flowing = [item for item in results if not item.stop_gradient]
        draws = [np.random.default_rng(1000 + i).standard_normal(tuple(o.shape)) for i, o in enumerate(flowing)]
        flows = [paddle.to_tensor(d.astype("float32")).astype(o.dtype) for d, o in zip(draws, flowing)]
        wanted = [tensor for tensor in tensors if not tensor.stop_gradient]
        results = [item for item in paddle.grad(flowing, wanted, flows, allow_unused=True) if item is not None]
    return [item.astype("float64").numpy() for item in results]


found, right = run("{device}", False), run("cpu", True)
for index, (f, r) in enumerate(zip(found, right)):
    error = np.abs(f - r)
    worst, largest = (item.max() if item.size else 0.0 for item in (error, np.abs(r)))
    print(f"result {{index}}: largest error {{worst:.6g}}, largest element {{largest:.6g}}")
    print("device", f.reshape(-1)[:8])
    print("cpu   ", r.reshape(-1)[:8])
sys.stdout.flush()
os._exit(0)
'''


def write_repro(
    folder: Path, session: Session, text: str, direction: str, arrays: Sequence[Array], seen: Examined
) -> Path:
    """Writes ``repro.py`` and ``repro_inputs.npz`` in ``folder``; of a backward call ``repro_backward.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = "repro" if direction == "forward" else "repro_backward"
    values: dict[str, Array] = {}
    for index, array in enumerate(arrays):
        half = array.dtype in (np.float16, ml_dtypes.bfloat16)
        values[f"in{index}"] = array.astype(np.float32) if half else array  # NumPy's file format has no bfloat16
        values[f"dtype{index}"] = np.asarray(array.dtype.name)
    np.savez(folder / f"{stem}_inputs.npz", **values)
    program = _PROGRAM.format(
        device=session.device,
        call=text.replace("\\", "\\\\").replace('"""', "'''"),
        message=re.sub(r"\s+", " ", seen.message).replace("\\", "/").replace('"""', "'''")[:500],
        inputs=f"{stem}_inputs.npz",
        count=len(arrays),
        expression=_expression(text),
        backward=direction == "backward",
    )
    path = folder / f"{stem}.py"
    path.write_text(program, encoding="utf-8")
    return path


def _expression(text: str) -> str:
    call = parse_line(text)
    places = iter(range(len(call.tensors)))

    def word(value: Value) -> str:
        if isinstance(value, TensorArg):
            return f"tensors[{next(places)}]"
        if isinstance(value, DtypeArg):
            return repr(value.name)
        if isinstance(value, SliceArg):
            return f"slice({word(value.start)}, {word(value.stop)}, {word(value.step)})"
        if isinstance(value, list):
            return "[" + ", ".join(word(item) for item in value) + "]"
        if isinstance(value, tuple):
            return "(" + "".join(word(item) + ", " for item in value) + ")"
        if isinstance(value, float) and not np.isfinite(value):
            return f'float("{value}")'
        return "..." if value is Ellipsis else repr(value)

    words = [word(value) for value in call.args] + [f"{name}={word(value)}" for name, value in call.kwargs]
    return f"{call.api}({', '.join(words)})"


def parts_of(session: Session, text: str, arrays: Sequence[Array]) -> list[str]:
    """The operators of a call of several that leave their own bounds, each on inputs that the ones before it should
    have given. Known are linear layers: a product and a sum."""
    if not text.startswith("paddle.nn.functional.linear(") or len(arrays) != 3:
        return []
    x, weight, bias = arrays
    product = (x.astype(np.float64) @ weight.astype(np.float64)).astype(x.dtype)
    paddle: Any = session.paddle
    wrong = []
    for name, operands in (("matmul", (x, weight)), ("add", (product, bias))):
        words = "".join(f'Tensor({list(item.shape)},"{item.dtype.name}"), ' for item in operands)
        seen = examine_forward(session, f"paddle.{name}({words})", getattr(paddle, name), operands)
        if seen.state is State.FAILED:
            wrong.append(name)
    return wrong
