"""The bits of a result do not depend on how many cores made it: the same calls with one thread and with two."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, os, sys
import numpy as np
import adapter_sdk
from adapter_sdk import compat
mounted = adapter_sdk.mount("refchip")
import paddle
import paddle.nn.functional as F
mounted.confirm_mounted()
compat.apply(mounted)
paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
paddle.set_device("refchip:0")

def drawn(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")

def show(name, *tensors):
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.astype("float32").numpy()).tobytes())
    print(name, digest.hexdigest())

for dtype in ("float32", "float16", "bfloat16"):
    x, y, row, column = (paddle.to_tensor(drawn(s, i)).astype(dtype) for i, s in
                         enumerate([(300, 1000), (300, 1000), (1000,), (300, 1)]))
    ids = paddle.to_tensor(np.random.default_rng(9).integers(0, 300, 5000))
    for t in (x, y, row, column):
        t.stop_gradient = False
    named = {
        "add": x + y, "multiply": x * row, "divide": x / (column * column + 1), "exp": x.exp(), "silu": F.silu(x),
        "gelu": F.gelu(x), "tanh": x.tanh(), "softmax": F.softmax(x), "softmax0": F.softmax(x, axis=0),
        "log_softmax": F.log_softmax(x), "sum": x.sum(), "sum0": x.sum(0), "sum1": x.sum(1), "mean": x.mean(),
        "max": x.max(), "max0": x.max(0), "prod": (x * 0.1 + 1).prod(1), "logsumexp": x.logsumexp(1),
        "cumsum0": x.cumsum(0), "cumsum1": x.cumsum(1), "transpose": x.t().contiguous(), "gather": x.gather(ids),
        "concat": paddle.concat([x, y], 1), "tril": x.tril(), "where": paddle.where(x > 0, x, y),
        "cumprod": (x * 0.01 + 1).cumprod(1), "embedding": F.embedding(ids, x), "norm": F.layer_norm(x, 1000),
    }
    total = sum((value.astype("float32") * value.astype("float32")).mean() for value in named.values())
    total.backward()
    for name, value in named.items():
        show(f"{dtype} {name}", value.detach())
    show(f"{dtype} gradients", x.grad, y.grad, row.grad, column.grad)
    show(f"{dtype} order", x.detach().topk(5)[1], x.detach().argsort(-1), x.detach().argmax(0), x.detach().argmax())
    q, k, v = (paddle.to_tensor(drawn((2, 300, heads, 16), 20 + i)).astype(dtype) for i, heads in enumerate((4, 2, 2)))
    for t in (q, k, v):
        t.stop_gradient = False
    attended = F.flash_attention.flash_attention(q, k, v, dropout=0.1, causal=True,
                                                 fixed_seed_offset=paddle.to_tensor(np.array([3, 4])))[0]
    product = x.matmul(y, transpose_y=True)
    (attended.astype("float32").square().mean() + product.astype("float32").square().mean()).backward()
    show(f"{dtype} attention", attended.detach(), q.grad, k.grad, v.grad)
    show(f"{dtype} product", product.detach(), x.grad, y.grad)
    wide = paddle.to_tensor(drawn((1000, 2000), 30)).astype(dtype)
    for rows in (1, 2, 8, 16):
        few = x.detach()[:rows].matmul(wide)
        a, b = (t.astype("float32").numpy().astype("float64") for t in (x.detach()[:rows], wide))
        rounding = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
        bound = 1000 * 2.0**-24 * (abs(a) @ abs(b)) + rounding * abs(a @ b)  # a sum of 1000 in float32, rounded
        assert (abs(few.astype("float32").numpy() - a @ b) <= bound).all(), (dtype, rows)
        show(f"{dtype} {rows} rows", few)
    paddle.seed(5)
    show(f"{dtype} random", F.dropout(x.detach(), 0.3), paddle.uniform([300, 500]), paddle.randn([301, 501]))
"""


def digests(threads: int) -> list[str]:
    environment = {**os.environ, "REFCHIP_THREADS": str(threads), "GLOG_minloglevel": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.device
def test_one_thread_and_several_give_the_same_bits() -> None:
    alone = digests(1)
    assert len(alone) == 3 * 37
    for threads in (2, 3):
        assert digests(threads) == alone, f"REFCHIP_THREADS={threads}"
