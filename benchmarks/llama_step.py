"""What a training step of a LLaMA costs on the CPU and on a plugin's device.

    python benchmarks/llama_step.py --plugin refchip [--rounds N] [--steps N]

The model, weights, data and loop are those of the conformance suite `training` (adapter_conform.models): forward, loss,
backward, clipping by global norm, AdamW, and reading the loss. The two devices take turns, starting from the same
weights each time. Losses are compared too: a step that is fast and wrong is no step.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from adapter_conform.models import LlamaShape, llama_weights, markov_batches
from adapter_conform.models.training import AdamWSettings, TrainingRun, train_llama
from adapter_conform.suites.training import LOSS_LIMIT, relative_errors
from machine import describe_machine

import adapter_sdk

ROWS = 8
SEED = 0


def main() -> int:
    """Measures and prints. Returns 0, or 1 when the losses differ or a tensor left the device."""
    options = _options()
    mounted = adapter_sdk.mount(options.plugin, exclusive=True)
    import paddle

    mounted.confirm_mounted()
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    device = f"{mounted.device.device_type}:0"
    shape = LlamaShape()
    weights = llama_weights(shape, SEED)
    inputs, labels = markov_batches(shape.vocabulary, options.steps, ROWS, shape.positions, SEED)
    runs: dict[str, list[TrainingRun]] = {"cpu": [], device: []}
    for _ in range(options.rounds):
        for name, results in runs.items():
            results.append(train_llama(paddle, name, shape, weights, inputs, labels, AdamWSettings()))
    return _report(runs, device, shape, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plugin", required=True, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="trainings that each device gets")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps of one training")
    return parser.parse_args()


def _report(runs: dict[str, list[TrainingRun]], device: str, shape: LlamaShape, options: argparse.Namespace) -> int:
    reference, own = runs["cpu"][0], runs[device][0]
    print(describe_machine())
    print(
        f"method   LLaMA with {own.elements:,} parameters, batch {ROWS} x {shape.positions}, float32; "
        f"{options.rounds} interleaved trainings of {options.steps} steps\n"
    )
    for name, results in runs.items():
        seconds = [run.step_seconds * 1e3 for run in results]
        print(f"{name:<12} {statistics.median(seconds):8.1f} ms per step (fastest training {min(seconds):.1f})")
    ratios = [mine.step_seconds / cpu.step_seconds for mine, cpu in zip(runs[device], runs["cpu"], strict=True)]
    print(f"{device} / cpu: {statistics.median(ratios):.2f} (median over the rounds)")
    worst = max(relative_errors(reference.losses, own.losses))
    stray = own.placement.off_device
    print(f"losses: largest relative difference of a step {worst:.1e}, limit {LOSS_LIMIT:g}")
    print(f"tensors off the device: {len(stray)} of {own.placement.checked} looked at {stray[:5] or ''}")
    return 0 if worst <= LOSS_LIMIT and not stray else 1


if __name__ == "__main__":
    sys.exit(main())
