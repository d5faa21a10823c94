"""What a training step of a LLaMA costs on the CPU and on a plugin's device.

    python benchmarks/llama_step.py --plugin refchip [--size small|10m] [--rounds N] [--steps N]

The model, weights, data and loop are those of the conformance suite `training` (adapter_conform.models): forward, loss,
backward, clipping by global norm, AdamW, and reading the loss. The two devices take turns, starting from the same
weights each time; the device also takes turns with its fused operators on (flash attention). Losses are compared too: a
step that is fast and wrong is no step.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace

from adapter_conform.models import LlamaShape, llama_weights, markov_batches
from adapter_conform.models.training import AdamWSettings, TrainingRun, train_llama
from adapter_conform.suites.training import LOSS_LIMIT, relative_errors
from machine import describe_machine

import adapter_sdk
from adapter_sdk import compat

SEED = 0
SIZES = {
    "small": (LlamaShape(), 8),
    "10m": (LlamaShape(4096, 256, 688, 10, 8, 8, 128), 4),
}
"""Shape and rows of a batch."""


def main() -> int:
    """Measures and prints. Returns 0, or 1 when the losses differ or a tensor left the device."""
    options = _options()
    mounted = adapter_sdk.mount(options.plugin, exclusive=True)
    import paddle

    mounted.confirm_mounted()
    compat.apply(mounted)
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    device = f"{mounted.device.device_type}:0"
    shape, rows = SIZES[options.size]
    weights = llama_weights(shape, SEED)
    inputs, labels = markov_batches(shape.vocabulary, options.steps, rows, shape.positions, SEED)
    turns = {"cpu": ("cpu", shape), device: (device, shape), f"{device}, fused": (device, replace(shape, fused=True))}
    runs: dict[str, list[TrainingRun]] = {name: [] for name in turns}
    for _ in range(options.rounds):
        for name, (place, own_shape) in turns.items():
            runs[name].append(train_llama(paddle, place, own_shape, weights, inputs, labels, AdamWSettings()))
    return _report(runs, device, shape, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plugin", required=True, metavar="NAME")
    parser.add_argument("--size", choices=SIZES, default="small", help="of the model")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="trainings that each device gets")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps of one training")
    return parser.parse_args()


def _report(runs: dict[str, list[TrainingRun]], device: str, shape: LlamaShape, options: argparse.Namespace) -> int:
    reference, failed = runs["cpu"], False
    print(describe_machine())
    rows = SIZES[options.size][1]
    print(
        f"method   LLaMA with {reference[0].elements:,} parameters, batch {rows} x {shape.positions}, float32; "
        f"{options.rounds} interleaved trainings of {options.steps} steps\n"
    )
    for name, results in runs.items():
        seconds = [run.step_seconds * 1e3 for run in results]
        ratios = [mine.step_seconds / cpu.step_seconds for mine, cpu in zip(results, reference, strict=True)]
        worst = max(relative_errors(reference[0].losses, results[0].losses))
        stray = results[0].placement.off_device if name != "cpu" else []
        failed |= worst > LOSS_LIMIT or bool(stray)
        print(
            f"{name:<18} {statistics.median(seconds):8.1f} ms per step (fastest training {min(seconds):.1f}), "
            f"{statistics.median(ratios):.2f} x cpu (median over the rounds); losses differ by {worst:.1e} "
            f"(limit {LOSS_LIMIT:g}); {len(stray)} tensors off the device {stray[:3] or ''}"
        )
    plain, fused = runs[device], runs[f"{device}, fused"]
    ratios = [a.step_seconds / b.step_seconds for a, b in zip(fused, plain, strict=True)]
    print(f"fused / plain: {statistics.median(ratios):.2f} (median over the rounds)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
