"""Quantization and fused linear layers through Paddle's public functions on refchip, without CPU fallback."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.device

PRELUDE = """
import json, os, sys
import numpy as np
import adapter_sdk
mounted = adapter_sdk.mount("refchip")
import paddle
mounted.confirm_mounted()
paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
paddle.set_device("refchip:0")
rng = np.random.default_rng(0)
def drawn(*shape, dtype="float32"):
    return paddle.to_tensor(rng.standard_normal(shape).astype("float32")).astype(dtype)
def wide(tensor):
    return tensor.astype("float32").numpy().astype("float64")
def off(got, wanted):
    return float(np.abs(wide(got) - wanted).max() / np.abs(wanted).max())
report = {}
"""

CLOSE = """
print("REPORT " + json.dumps(report))
sys.stdout.flush()
os._exit(0)
"""


def run(program: str) -> dict[str, Any]:
    """What ``program`` leaves in ``report``, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program + CLOSE], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    return dict(json.loads(line[len("REPORT ") :]))


WEIGHTS = """
from paddle.nn import quant
for dtype in ("float16", "bfloat16"):
    w, x, bias = drawn(256, 96, dtype=dtype), drawn(3, 7, 256, dtype=dtype), drawn(96, dtype=dtype)
    x.stop_gradient = False
    for algo, kind in (("weight_only_int8", "int8"), ("weight_only_int4", "int4")):
        for group in (-1, 64, 128):
            q, s = quant.weight_quantize(w, algo, 80, group)
            weight = wide(quant.weight_dequantize(q, s, algo, group_size=group))
            out = quant.weight_only_linear(x, q, bias, s, kind, 80, group)
            name = f"{dtype} {algo} {group}"
            report[name] = off(out, wide(x) @ weight + wide(bias))
            report[name + " weight"] = float(np.abs(weight - wide(w)).max() / np.abs(wide(w)).max())
            if group == -1:
                g = drawn(3, 7, 96, dtype=dtype)
                (dx,) = paddle.grad(out, [x], [g])
                report[name + " gradient"] = off(dx, wide(g) @ weight.T)
    q, s = quant.weight_quantize(w, "llm.int8", 80)
    assert str(s.dtype) == "paddle.float32"
    report[f"{dtype} llm.int8"] = off(quant.llm_int8_linear(x, q, bias, s, 2.5), wide(x) @ wide(w) + wide(bias))
"""


def test_weights() -> None:
    report = run(WEIGHTS)
    assert len(report) == 2 * (2 * (3 * 2 + 1) + 1)
    for name, figure in report.items():
        if name.endswith(" weight"):
            limit = 0.5 / (127 if "int8" in name else 7) + 2 * 2.0**-8
        elif name.endswith("llm.int8"):
            limit = 0.03
        else:
            limit = 2.0**-10 if name.startswith("float16") else 2.0**-7
        assert figure < limit, (name, figure)


PTQ = """
from paddle.quantization import PTQ, QuantConfig
from paddle.quantization.observers import AbsmaxObserver
def network():
    paddle.seed(1)
    return paddle.nn.Sequential(paddle.nn.Linear(32, 48), paddle.nn.ReLU(), paddle.nn.Linear(48, 16))
x = drawn(20, 32)
plain = network()
wanted = wide(plain(x))
observer = AbsmaxObserver(quant_bits=8)
ptq = PTQ(QuantConfig(activation=observer, weight=observer))
plain.eval()
observed = ptq.quantize(plain)
observed(x)
converted = ptq.convert(observed)
report["eager"] = off(converted(x), wanted)
report["weights"] = [str(type(layer).__name__) for layer in converted.sublayers()]
"""


def test_a_model_quantized_after_training() -> None:
    report = run(PTQ)
    assert "LinearQuanter" in report["weights"]
    assert 0 < report["eager"] < 0.03


TRAINING = """
from paddle.nn.quant.quant_layers import FakeQuantAbsMax, FakeQuantChannelWiseAbsMax, FakeQuantMovingAverageAbsMax
from paddle.nn.quant.quant_layers import MovingAverageAbsMaxScale
from paddle.quantization import QAT, QuantConfig
from paddle.quantization.quanters import FakeQuanterWithAbsMaxObserver
x = drawn(20, 32)
channelwise = FakeQuantChannelWiseAbsMax(channel_num=32, quant_axis=1, quant_on_weight=True)
for layer in (FakeQuantAbsMax(), channelwise, FakeQuantMovingAverageAbsMax()):
    x.stop_gradient = False
    out = layer(x)
    g = drawn(20, 32)
    (dx,) = paddle.grad(out, [x], [g])
    report[type(layer).__name__] = off(out, wide(x))
    report[type(layer).__name__ + " gradient"] = float(np.abs(wide(dx) - wide(g)).max())
layer = MovingAverageAbsMaxScale()
report["observer"] = float(np.abs(wide(layer(x)) - wide(x)).max())
paddle.seed(1)
model = paddle.nn.Sequential(paddle.nn.Linear(32, 48), paddle.nn.ReLU(), paddle.nn.Linear(48, 4))
quanter = FakeQuanterWithAbsMaxObserver(moving_rate=0.9)
model = QAT(QuantConfig(activation=quanter, weight=quanter)).quantize(model)
optimizer = paddle.optimizer.AdamW(1e-2, parameters=model.parameters())
target = drawn(20, 4)
losses = []
for _ in range(30):
    loss = ((model(x.detach()) - target) ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    losses.append(float(loss))
report["losses"] = [losses[0], losses[-1]]
"""


def test_training_with_quantization_in_the_loop() -> None:
    report = run(TRAINING)
    for name in ("FakeQuantAbsMax", "FakeQuantChannelWiseAbsMax"):
        assert 0 < report[name] < 0.51 / 127
    for name in ("FakeQuantAbsMax", "FakeQuantChannelWiseAbsMax", "FakeQuantMovingAverageAbsMax"):
        assert report[name + " gradient"] == 0
    assert report["observer"] == 0
    assert report["losses"][1] < 0.5 * report["losses"][0]


STATIC = """
x, scale = drawn(8, 6).numpy(), np.full(1, 2.0, "float32")
zero = np.zeros(1, "float32")
paddle.enable_static()
program = paddle.static.Program()
with paddle.static.program_guard(program):
    data = paddle.static.data("x", [8, 6], "float32")
    s, z = (paddle.static.data(name, [1], "float32") for name in ("s", "z"))
    q, *_ = paddle._C_ops.quantize_linear(data, s, z, z, z, -1, 8, -128, 127, 0, True, False)
executor = paddle.static.Executor(paddle.CustomPlace("refchip", 0))
(q,) = executor.run(program, feed={"x": x, "s": scale, "z": zero}, fetch_list=[q])
report["integers"] = float(np.abs(q - np.clip(x.astype("float64") * 127 / 2, -128, 127)).max())
"""


def test_quantize_in_a_static_graph() -> None:
    """Not dequantize: Paddle 3.3.1 runs the kernel of quantize_linear for that operator of a graph."""
    assert 0 < run(STATIC)["integers"] <= 0.501


INT8 = """
import paddle.incubate.nn.functional as F
x, w = (rng.integers(-128, 128, shape).astype("int8") for shape in ((5, 64), (48, 64)))
product = paddle.matmul(paddle.to_tensor(x), paddle.to_tensor(w), transpose_y=True)
whole = x.astype("int64") @ w.astype("int64").T
report["product"] = [str(product.dtype), float(np.abs(product.numpy() - whole).max())]
scales = paddle.to_tensor((2.0 ** -(np.arange(48) % 3 + 8)).astype("float32"))
v = whole * scales.numpy().astype("float64")
out = F.fused_bias_act(product, dequant_scales=scales, act_method="swiglu", compute_dtype="fp16")
report["between"] = [str(out.dtype), off(out, v[:, :24] / (1 + np.exp(-v[:, :24])) * v[:, 24:])]
again = F.fused_bias_act(product, dequant_scales=scales, act_method="relu", compute_dtype="fp16",
                         quant_scale=1 / 64, quant_round_type=0, quant_max_bound=127.0, quant_min_bound=-127.0)
exact = np.clip(np.maximum(v, 0) * 127 / 64, -127, 127)
report["int8"] = [str(again.dtype), float(np.abs(again.numpy() - exact).max())]
"""


def test_a_chain_of_int8_layers() -> None:
    report = run(INT8)
    assert report["product"] == ["paddle.int32", 0.0]
    assert report["between"][0] == "paddle.float16"
    assert report["between"][1] < 2.0**-10
    assert report["int8"][0] == "paddle.int8"
    assert report["int8"][1] <= 0.501


LINEAR = """
import paddle.incubate.nn.functional as F
gelu = lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
for dtype in ("float32", "float16", "bfloat16"):
    for activation in ("none", "relu", "gelu"):
        x, y, bias = drawn(2, 5, 128, dtype=dtype), drawn(128, 128, dtype=dtype), drawn(128, dtype=dtype)
        for tensor in (x, y, bias):
            tensor.stop_gradient = False
        if activation == "none":
            out = F.fused_linear(x, y, bias)
        else:
            out = paddle._C_ops.fused_gemm_epilogue(x, y, bias, False, False, activation)[0]
        z = wide(x) @ wide(y) + wide(bias)
        wanted = {"none": z, "relu": np.maximum(z, 0), "gelu": gelu(z)}[activation]
        report[f"{dtype} {activation}"] = off(out, wanted)
        g = drawn(2, 5, 128, dtype=dtype)
        slope = {"none": 1 + 0 * z, "relu": z > 0, "gelu": (gelu(z + 1e-6) - gelu(z - 1e-6)) / 2e-6}[activation]
        flow = (wide(g) * slope).reshape(-1, 128)
        dx, dy, dbias = paddle.grad(out, [x, y, bias], [g])
        report[f"{dtype} {activation} dx"] = off(dx, (flow @ wide(y).T).reshape(2, 5, 128))
        report[f"{dtype} {activation} dy"] = off(dy, wide(x).reshape(-1, 128).T @ flow)
        report[f"{dtype} {activation} dbias"] = off(dbias, flow.sum(0))
    main = drawn(128, 128)
    dw, db = paddle._C_ops.fused_linear_param_grad_add(x, g, main, None, True, True)
    report[f"{dtype} gathered"] = off(dw, wide(main) + wide(x).reshape(-1, 128).T @ wide(g).reshape(-1, 128))
    assert str(dw.dtype) == str(db.dtype) == "paddle.float32"
"""


def test_fused_linear() -> None:
    report = run(LINEAR)
    assert len(report) == 3 * (3 * 4 + 1)
    for name, figure in report.items():
        dtype = "float32" if "gathered" in name else name.split()[0]
        assert figure < {"float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype], (name, figure)
