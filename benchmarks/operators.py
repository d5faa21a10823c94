"""Plain operators of a device: bandwidth, share of STREAM, and ratio to Paddle's CPU and to PyTorch.

    python benchmarks/operators.py --plugin refchip [--torch-python PATH] [--out docs/benchmarks-operators.md]

One run measures all sides in turn, case by case. "share" is the operator's bandwidth over the better of STREAM's copy
and triad, measured in the same run with as many threads. "x CPU" and "x PyTorch" say how many times faster the device
is. Calls follow each other with the allocators warm: the cost of fresh pages is not in them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from machine import describe_machine
from operator_cases import Case, Operand, cases
from operator_timing import seconds_per_call, values

import adapter_sdk

SHAPES = ((128, 512), (512, 1024), (2048, 4096))
"""Tokens and hidden size."""
DTYPES = ("float32", "bfloat16")
_HERE = Path(__file__).resolve().parent
_STREAM_FLOATS = 1 << 24


@dataclass(frozen=True)
class Row:
    """One case as measured; seconds are None where a side lacks the operator."""

    case: Case
    shape: tuple[int, int]
    dtype: str
    device: float
    cpu: float | None
    torch: float | None

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.case.traffic(4 if self.dtype == "float32" else 2) / self.device


class TorchSide:
    """The interpreter that has PyTorch; without one every answer is None."""

    def __init__(self, python: str | None, threads: int, cases_module: str = "operator_cases") -> None:
        self._module = cases_module
        self._process: subprocess.Popen[str] | None = None
        if python is not None:
            command = [python, str(_HERE / "operators_torch.py"), str(threads)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> TorchSide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    def seconds(self, case: Case, shape: tuple[int, int], dtype: str, budget: float) -> float | None:
        """Of one call. Raises RuntimeError when the interpreter has ended."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return None
        of_shape = {"set": self._module, "tokens": shape[0], "hidden": shape[1], "case": case.name}
        request = {**of_shape, "dtype": dtype, "seconds": budget}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the PyTorch side has ended; its message stands above")
        answer = json.loads(line)
        if answer["error"] is not None:
            print(f"PyTorch: {case.name}: {answer['error'].splitlines()[0]}", file=sys.stderr)
        return None if answer["seconds"] is None else float(answer["seconds"])


def main() -> int:
    """Measures, prints the table, and writes it where --out says. Returns 0."""
    options = arguments(__doc__ or "", 0.1).parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    mounted = adapter_sdk.mount(options.plugin)
    import paddle

    mounted.confirm_mounted()
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    place = f"{mounted.device.device_type}:0"
    stream = _stream(options.threads)
    rows = []
    with TorchSide(options.torch_python, options.threads) as torch_side, paddle.no_grad():
        for shape in SHAPES:
            for dtype in DTYPES:
                for case in cases(*shape):
                    if options.only is None or options.only in case.name:
                        rows.append(measure(paddle, place, case, shape, dtype, torch_side, options.seconds))
    report = _report(rows, stream, options)
    print(report)
    if options.out is not None:
        options.out.write_text(report + "\n")
    return 0


def arguments(description: str, seconds: float) -> argparse.ArgumentParser:
    """What every benchmark that measures cases on all sides is told; ``seconds`` by default for a case and side."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--plugin", required=True, metavar="NAME")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch, to compare with")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables there, as Markdown")
    parser.add_argument("--seconds", type=float, default=seconds, metavar="S", help="for each case and side")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="of the CPUs")
    parser.add_argument("--only", metavar="TEXT", help="cases with this in their name")
    return parser


def _stream(threads: int) -> float:
    """Bytes per second, the better of copy and triad."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "stream"
        command = [os.environ.get("CC", "gcc"), "-O3", "-march=native", "-fopenmp", str(_HERE / "plain_c/stream.c")]
        subprocess.run([*command, "-o", str(program)], check=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(
            [str(program), str(_STREAM_FLOATS)], check=True, capture_output=True, text=True, env=environment
        )
    return max(float(word) for word in done.stdout.split())


def measure(
    paddle: ModuleType,
    place: str,
    case: Case,
    shape: tuple[int, int],
    dtype: str,
    torch_side: TorchSide,
    budget: float,
) -> Row:
    device = _paddle_seconds(paddle, place, case.paddle, case, dtype, budget)
    cpu = None
    if dtype == "float32":  # Paddle's CPU has hardly a kernel for bfloat16
        cpu = _paddle_seconds(paddle, "cpu", case.cpu or case.paddle, case, dtype, budget)
    return Row(case, shape, dtype, device, cpu, torch_side.seconds(case, shape, dtype, budget))


def _paddle_seconds(
    paddle: ModuleType, place: str, spelled: Callable[..., Any], case: Case, dtype: str, budget: float
) -> float:
    paddle.set_device(place)
    operands = [_tensor(paddle, operand, dtype, i) for i, operand in enumerate(case.operands)]
    call = spelled(paddle, *operands) if case.setup else lambda: spelled(paddle, *operands)
    synchronize = (lambda: None) if place == "cpu" else (lambda: paddle.device.synchronize(place))
    return seconds_per_call(call, synchronize, budget)


def _tensor(paddle: ModuleType, operand: Operand, dtype: str, number: int) -> Any:
    tensor = paddle.to_tensor(values(operand, number))
    return tensor.astype(dtype) if operand.kind == "normal" else tensor


def _report(rows: list[Row], stream: float, options: argparse.Namespace) -> str:
    command = f"python benchmarks/operators.py --plugin {options.plugin}"
    lines = [
        "# Plain operators",
        "",
        f"Made by `{command}`. A ratio above 1 means that {options.plugin} is faster. GB/s counts what",
        "an operator has to read and write; share is of STREAM's bandwidth in the same run. Allocators are warm.",
        "",
        "```",
        describe_machine(),
        f"STREAM   {stream / 1e9:.1f} GB/s, {options.threads} threads, arrays of {_STREAM_FLOATS * 4 >> 20} MiB",
        "```",
        "",
        "| operator | tokens x hidden | dtype | us | GB/s | share | x CPU | x PyTorch |",
        "|---|---|---|---:|---:|---:|---:|---:|",
        *(_line(row, stream) for row in rows),
        "",
        f"Geometric mean: {geometric_mean([r.cpu / r.device for r in rows if r.cpu])} x Paddle's CPU (float32), "
        + ", ".join(f"{_torch_mean(rows, dtype)} x PyTorch ({dtype})" for dtype in DTYPES)
        + ".",
    ]
    return "\n".join(lines)


def _line(row: Row, stream: float) -> str:
    ratios = (f"{side / row.device:.2f}" if side else "" for side in (row.cpu, row.torch))
    return (
        f"| {row.case.name} | {row.shape[0]} x {row.shape[1]} | {row.dtype} | {row.device * 1e6:.0f} | "
        f"{row.bandwidth / 1e9:.1f} | {row.bandwidth / stream:.0%} | {' | '.join(ratios)} |"
    )


def _torch_mean(rows: list[Row], dtype: str) -> str:
    return geometric_mean([r.torch / r.device for r in rows if r.torch and r.dtype == dtype])


def geometric_mean(ratios: list[float]) -> str:
    return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}" if ratios else "no"


if __name__ == "__main__":
    sys.exit(main())
