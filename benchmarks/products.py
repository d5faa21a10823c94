"""Matrix products and attention of a device: GFLOP/s, and ratios to Paddle's CPU and to PyTorch.

    python benchmarks/products.py --plugin refchip [--torch-python PATH] [--out docs/benchmarks-products.md]

One run measures all sides in turn, case by case; "x CPU" and "x PyTorch" say how many times faster the device is.
Attention is causal; its operations count the half that is not masked. Paddle's CPU has no fused attention: there the
whole matrix of probabilities is made. The last table is the memory that one call of attention takes at its peak,
measured in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from machine import describe_machine
from operators import Row, TorchSide, arguments, geometric_mean, measure
from product_cases import cases

import adapter_sdk
from adapter_sdk import compat

SHAPES = ((128, 512), (512, 1024), (2048, 512), (512, 4096), (2048, 2048))
"""Tokens and hidden size."""
DTYPES = ("float32", "bfloat16")
LENGTHS = (1024, 2048, 4096, 8192)


def main() -> int:
    """Measures, prints the tables, and writes them where --out says. Returns 0."""
    options = _options()
    if options.memory_of is not None:
        return _print_memory(options.plugin, *options.memory_of)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    mounted = adapter_sdk.mount(options.plugin)
    import paddle

    mounted.confirm_mounted()
    compat.apply(mounted)
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    place = f"{mounted.device.device_type}:0"
    rows = []
    with TorchSide(options.torch_python, options.threads, "product_cases") as torch_side, paddle.no_grad():
        for shape in SHAPES:
            for dtype in DTYPES:
                for case in cases(*shape):
                    if options.only is None or options.only in case.name:
                        rows.append(measure(paddle, place, case, shape, dtype, torch_side, options.seconds))
                        print(_line(rows[-1]), file=sys.stderr, flush=True)
    report = _report(rows, options)
    print(report)
    if options.out is not None:
        options.out.write_text(report + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = arguments(__doc__ or "", 0.5)
    parser.add_argument("--memory-of", nargs=2, metavar=("FORM", "LENGTH"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _report(rows: list[Row], options: argparse.Namespace) -> str:
    lines = [
        "# Products and attention",
        "",
        f"Made by `python benchmarks/products.py --plugin {options.plugin}`. A ratio above 1 means that",
        f"{options.plugin} is faster.",
        "",
        "```",
        describe_machine(),
        f"threads  {options.threads}",
        "```",
        "",
        "| operator | tokens x hidden | dtype | us | GFLOP/s | x CPU | x PyTorch |",
        "|---|---|---|---:|---:|---:|---:|",
        *map(_line, rows),
        "",
    ]
    for kind in ("matmul", "attention"):
        for dtype in DTYPES:
            own = [row for row in rows if row.case.name.startswith(kind) and row.dtype == dtype]
            cpu = geometric_mean([row.cpu / row.device for row in own if row.cpu])
            torch = geometric_mean([row.torch / row.device for row in own if row.torch])
            beside_cpu = f", {cpu} x CPU" if any(row.cpu for row in own) else ""
            lines.append(f"- {kind}, {dtype}, geometric mean: {torch} x PyTorch{beside_cpu}")
    return "\n".join([*lines, "", *_memory_table(options)])


def _line(row: Row) -> str:
    ratios = (f"{side / row.device:.2f}" if side else "" for side in (row.cpu, row.torch))
    return (
        f"| {row.case.name} | {row.shape[0]} x {row.shape[1]} | {row.dtype} | {row.device * 1e6:.0f} | "
        f"{row.case.flops / row.device / 1e9:.0f} | {' | '.join(ratios)} |"
    )


def _memory_table(options: argparse.Namespace) -> list[str]:
    lines = ["| MiB of one attention call, 4 heads of 64, bfloat16 | " + " | ".join(map(str, LENGTHS)) + " |"]
    lines.append("|---|" + "---:|" * len(LENGTHS))
    for form in ("fused", "unfused"):
        found = []
        for length in LENGTHS:
            command = [sys.executable, __file__, "--plugin", options.plugin, "--memory-of", form, str(length)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(done.stdout.split()[-1])
        lines.append(f"| {form} | " + " | ".join(found) + " |")
    return lines


def _print_memory(plugin: str, form: str, length: str) -> int:
    mounted = adapter_sdk.mount(plugin)
    import paddle
    from paddle.nn.attention import SDPBackend, sdpa_kernel

    mounted.confirm_mounted()
    compat.apply(mounted)
    place = f"{mounted.device.device_type}:0"
    paddle.set_device(place)
    backend = SDPBackend.FLASH_ATTENTION if form == "fused" else SDPBackend.MATH

    def attend(rows: int) -> None:
        q = paddle.ones([1, rows, 4, 64], "bfloat16")
        paddle.device.synchronize(place)
        with sdpa_kernel(backend):
            paddle.nn.functional.scaled_dot_product_attention(q, q, q)
        paddle.device.synchronize(place)

    attend(64)  # what is loaded at the first call is not counted
    before = _peak_mib()
    attend(int(length))
    print(_peak_mib() - before, flush=True)
    os._exit(0)  # Paddle's teardown has nothing to add


def _peak_mib() -> int:
    """The largest resident size so far. Not ru_maxrss: that starts at what the parent process held when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


if __name__ == "__main__":
    sys.exit(main())
