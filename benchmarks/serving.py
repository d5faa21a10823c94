"""Prefill and decoding of one decoder: a plugin's engine against PaddleNLP on Paddle's CPU and transformers on PyTorch.

    python benchmarks/serving.py --plugin refchip [--size proxy|29m] [--rounds N] [--torch /path/to/python-with-torch]

All get the same weights and prompts and take turns, round by round; figures are medians. Prefill is the first token of
a prompt; decoding is what further tokens take above that, one sequence alone. Then the engine by itself: 8 and 4 bits
for weights against bfloat16, and eight requests together against one after the other. Tokens in float32 are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from adapter_conform.models.architectures import Architecture
from adapter_conform.models.paddlenlp_adapter import build_model, greedy_tokens, load_llama_weights
from adapter_conform.models.weights import write_weights
from adapter_conform.quantization.schemes import linears_of
from adapter_conform.serving.engine import Engine, EngineSettings
from adapter_conform.serving.requests import Request
from adapter_conform.serving.shape import DecoderShape, drawn_weights
from adapter_conform.session import open_session
from machine import describe_machine

SIZES = {
    "proxy": DecoderShape(),
    "29m": DecoderShape(4096, 512, 1376, 8, 8, 8, 512),
}
PROMPT, ANSWER, CLIENTS = 256, 48, 8
TORCH = Path(__file__).with_name("serving_torch.py")

Run = Callable[[int], list[int]]
"""Answers the prompt with so many tokens."""


def main() -> int:
    """Measures and prints. Returns 0, or 1 when tokens differ."""
    options = _options()
    shape = SIZES[options.size]
    weights = drawn_weights(shape, 0)
    prompt = tuple(int(t) for t in np.random.RandomState(1).randint(3, shape.vocabulary, PROMPT))
    session = open_session(options.plugin, 0)
    engines = {
        name: _engine(session.paddle, shape, weights, dtype, scheme)
        for name, dtype, scheme in (
            ("float32", "float32", "none"),
            ("bfloat16", "bfloat16", "none"),
            ("int8 weights, bfloat16", "bfloat16", "int8"),
            ("int4 weights, bfloat16", "bfloat16", "int4"),
            ("int8 x int8, bfloat16", "bfloat16", "a8w8"),
        )
    }
    runs: dict[str, Run] = {f"{session.device} {name}": _alone(e, prompt) for name, e in engines.items()}
    runs["PaddleNLP, CPU float32"] = _paddlenlp(session, shape, weights, prompt)
    with tempfile.TemporaryDirectory() as folder:
        if options.torch:
            write_weights(Path(folder, "weights.safetensors"), weights)
            for dtype in ("float32", "bfloat16"):
                runs[f"transformers, CPU {dtype}"] = _Torch(options.torch, folder, shape, prompt, dtype)
        print(describe_machine())
        same = _same_tokens({name: run for name, run in runs.items() if name.endswith("float32")})
        _compare(runs, options.rounds)
        _batching(engines["float32"], engines["bfloat16"], shape, options.rounds)
    sys.stdout.flush()
    return 0 if same else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plugin", required=True, metavar="NAME")
    parser.add_argument("--size", choices=SIZES, default="proxy", help="of the model")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter with torch and transformers")
    return parser.parse_args()


def _engine(paddle: Any, shape: DecoderShape, weights: Any, dtype: str, scheme: str) -> Engine:
    settings = EngineSettings(dtype, share_prefixes=False)
    return Engine(paddle, shape, weights, settings, linears_of(scheme, paddle, shape, weights, dtype))


def _alone(engine: Engine, prompt: tuple[int, ...]) -> Run:
    def run(count: int) -> list[int]:
        return [output.token or 0 for output in engine.run([Request("x", prompt, count)])["x"]]

    return run


def _paddlenlp(session: Any, shape: DecoderShape, weights: Any, prompt: tuple[int, ...]) -> Run:
    paddle = session.paddle

    def on_cpu(call: Callable[[], Any]) -> Any:
        paddle.set_device("cpu")
        try:
            return call()
        finally:
            paddle.set_device(session.device)

    def build() -> Any:
        settings = {**shape.settings(), "use_cache": True}
        model = build_model(paddle, Architecture("LlamaForCausalLM", "LlamaConfig", settings))
        load_llama_weights(model, weights)
        model.eval()
        return model

    model = on_cpu(build)
    ids = np.array([prompt], dtype=np.int64)

    def run(count: int) -> list[int]:
        found: list[int] = on_cpu(lambda: greedy_tokens(paddle, model, paddle.to_tensor(ids), count).numpy())[
            0
        ].tolist()
        return found

    return run


class _Torch:
    """The same in another interpreter, which waits for numbers of tokens on stdin."""

    def __init__(self, python: str, folder: str, shape: DecoderShape, prompt: tuple[int, ...], dtype: str) -> None:
        told = {
            "settings": shape.settings(),
            "prompt": prompt,
            "dtype": dtype,
            "weights": f"{folder}/weights.safetensors",
        }
        self._process = subprocess.Popen([python, str(TORCH)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask(told)

    def _ask(self, message: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __call__(self, count: int) -> list[int]:
        tokens: list[int] = self._ask(count)
        return tokens


def _same_tokens(runs: dict[str, Run]) -> bool:
    found = {name: run(16) for name, run in runs.items()}
    first = next(iter(found.values()))
    for name, tokens in found.items():
        if tokens != first:
            print(f"DIFFERENT TOKENS: {name}: {tokens} against {first}")
    return all(tokens == first for tokens in found.values())


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _compare(runs: dict[str, Run], rounds: int) -> None:
    first: dict[str, list[float]] = {name: [] for name in runs}
    further: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            once = _seconds(lambda run=run: run(1))  # type: ignore[misc]
            whole = _seconds(lambda run=run: run(1 + ANSWER))  # type: ignore[misc]
            first[name].append(once)
            further[name].append(max(whole - once, 1e-9) / ANSWER)
    print(f"\n{'':34}{'prefill tokens/s':>18}{'decoding tokens/s':>19}")
    for name in runs:
        prefill, decoding = PROMPT / statistics.median(first[name]), 1 / statistics.median(further[name])
        print(f"{name:34}{prefill:18.0f}{decoding:19.1f}")


def _batching(whole: Engine, half: Engine, shape: DecoderShape, rounds: int) -> None:
    random = np.random.RandomState(2)
    prompts = [tuple(int(t) for t in random.randint(3, shape.vocabulary, 32)) for _ in range(CLIENTS)]
    requests = [Request(str(i), prompt, ANSWER) for i, prompt in enumerate(prompts)]
    title = f"{CLIENTS} requests of 32 + {ANSWER} tokens"
    print(f"\n{title:34}{'one by one, tokens/s':>22}{'together, tokens/s':>20}{'ratio':>8}")
    for name, engine in (("float32", whole), ("bfloat16", half)):
        alone, together = [], []
        for _ in range(rounds):
            alone.append(_seconds(lambda e=engine: [e.run([request]) for request in requests]))  # type: ignore[misc]
            together.append(_seconds(lambda e=engine: e.run(requests)))  # type: ignore[misc]
        one, all_ = (CLIENTS * ANSWER / statistics.median(times) for times in (alone, together))
        print(f"{name:34}{one:22.0f}{all_:20.0f}{all_ / one:8.2f}")


if __name__ == "__main__":
    import os

    status = main()
    os._exit(status)
