"""Programs on the device: Paddle's static executor, and an exported one under paddle.inference."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from adapter_conform.runtime.bench import Bench
from adapter_conform.runtime.check import check
from adapter_conform.runtime.errors import NotApplicable
from adapter_sdk.versions import matches

__all__: list[str] = []

_ADD = "add/float32"
_SHAPE = (3, 100)


@check(
    "framework/executor",
    "A static program that Paddle's executor runs on the device gives the same result as eager mode.",
    covers=("static graph execution", "memory_copy_h2d", "memory_copy_d2h"),
    kernels=(_ADD,),
    repeat=(5, 50, 500),
    timeout=120.0,
)
def executor(bench: Bench) -> None:
    paddle = bench.paddle
    left, right = bench.counts(_SHAPE), bench.counts(_SHAPE)
    paddle.enable_static()
    try:
        program, start = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(program, start):
            first = paddle.static.data("first", list(_SHAPE), "float32")
            second = paddle.static.data("second", list(_SHAPE), "float32")
            total = first + second + first
        runner = paddle.static.Executor(bench.place())
        feed = {"first": left, "second": right}
        with bench.computing(_ADD, at_least=2 * bench.repetitions, static=True):
            results = [runner.run(program, feed=feed, fetch_list=[total])[0] for _ in range(bench.repetitions)]
        runner.close()
    finally:
        paddle.disable_static()
    for result in results:
        bench.same("what the executor fetched", left + right + left, np.asarray(result))


def _layer(bench: Bench, weight: Any) -> Any:
    paddle = bench.paddle
    base: Any = paddle.nn.Layer

    class Adding(base):  # type: ignore[misc]  # Paddle has no types
        def __init__(self) -> None:
            super().__init__()
            zero = paddle.nn.initializer.Constant(0.0)
            self.weight = self.create_parameter(list(_SHAPE), default_initializer=zero)
            self.weight.set_value(weight)

        def forward(self, x: Any) -> Any:
            return x + self.weight + x

    return Adding()


@check(
    "framework/inference",
    "A program exported by paddle.jit.save runs under paddle.inference on the device, with the same result.",
    covers=("static graph execution", "memory_copy_h2d", "memory_copy_d2h"),
    kernels=(_ADD,),
    repeat=(3, 20, 200),
    timeout=120.0,
)
def inference(bench: Bench) -> None:
    paddle = bench.paddle
    if matches(paddle.__version__, "<3.1"):
        raise NotApplicable("Paddle 3.0 exports programs in another format")
    weight, data = bench.counts(_SHAPE), bench.counts(_SHAPE)
    layer = _layer(bench, weight)
    bench.stored("the layer's parameter", weight, layer.weight)
    with tempfile.TemporaryDirectory(prefix="adapter-conform-") as folder:
        path = str(Path(folder) / "adding")
        spec = [paddle.static.InputSpec(list(_SHAPE), "float32", name="x")]
        paddle.jit.save(paddle.jit.to_static(layer, input_spec=spec, full_graph=True), path)
        config = paddle.inference.Config(f"{path}.json", f"{path}.pdiparams")
        config.enable_custom_device(bench.device_type, bench.card)
        predictor = paddle.inference.create_predictor(config)
        inputs = bench.tensor(data)
        with bench.computing(_ADD, at_least=2 * bench.repetitions, static=True):
            results = [predictor.run([inputs])[0] for _ in range(bench.repetitions)]
    for result in results:
        bench.stored("what the predictor gave", data + weight + data, result)
