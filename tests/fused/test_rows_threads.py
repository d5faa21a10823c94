"""The bits of fused rows and of their gradients do not depend on how many cores made them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.device

PROGRAM = """
import hashlib, os, sys
import numpy as np
import paddle
import paddle.incubate.nn.functional as fused
import paddle.nn.functional as F
paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
paddle.set_device("refchip:0")

def drawn(shape, seed, dtype):
    tensor = paddle.to_tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32")).astype(dtype)
    tensor = tensor.detach()
    tensor.stop_gradient = False
    return tensor

def show(name, *tensors):
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.astype("float32").numpy()).tobytes())
    print(name, digest.hexdigest())

for dtype in ("float32", "float16", "bfloat16"):
    x, w, b = drawn((700, 1000), 1, dtype), drawn((1000,), 2, "float32"), drawn((1000,), 3, "float32")
    v = drawn((1000,), 4, dtype)
    image, channel = drawn((6, 8, 50, 60), 5, dtype), drawn((8,), 6, dtype)
    q = drawn((2, 100, 8, 64), 7, dtype)
    scores = drawn((2, 3, 128, 128), 8, dtype)
    gate = paddle.nn.functional.softmax(drawn((700, 6), 9, "float32"))
    y, weights, *_ = fused.moe_gate_dispatch(x, gate, None, 2, 200, True)
    named = {
        "layer_norm": F.layer_norm(x, [1000], w, b), "rms_norm": fused.fused_rms_norm(x, v, v, 1e-5, 1)[0],
        "group_norm": F.group_norm(image, 4, weight=channel, bias=channel),
        "rope": fused.fused_rotary_position_embedding(q)[0],
        "softmax": paddle.incubate.softmax_mask_fuse_upper_triangle(scores), "dispatch": y, "weights": weights,
    }
    sum((value.astype("float32") * value.astype("float32")).mean() for value in named.values()).backward()
    for name, value in named.items():
        show(f"{dtype} {name}", value.detach())
    show(f"{dtype} gradients", *[t.grad for t in (x, w, b, v, image, channel, q, scores)])
sys.stdout.flush()
os._exit(0)
"""


def digests(threads: int) -> list[str]:
    environment = {**os.environ, "REFCHIP_THREADS": str(threads), "GLOG_minloglevel": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [line for line in done.stdout.splitlines() if len(line.split()) == 3]


def test_one_thread_and_several_give_the_same_bits() -> None:
    alone = digests(1)
    assert len(alone) == 24
    assert digests(3) == alone
