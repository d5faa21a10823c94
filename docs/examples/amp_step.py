"""Steps of training in mixed precision on refchip; prints what multiplied in bfloat16."""

import os
import sys

import numpy as np

# [mount]
import adapter_sdk.compat

plugin = adapter_sdk.mount("refchip")  # before the first `import paddle`
import paddle

adapter_sdk.compat.apply(plugin)  # mends the places where Paddle asks for the device's name
paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
paddle.set_device("refchip")
# [end]

# [train]
model = paddle.nn.Linear(64, 64)
optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters(), multi_precision=True)
model, optimizer = paddle.amp.decorate(model, optimizer, level="O2", dtype="bfloat16")
x = paddle.to_tensor(np.random.default_rng(0).normal(size=[32, 64]).astype("float32"))
losses = []
for _ in range(5):
    with paddle.amp.auto_cast(level="O2", dtype="bfloat16"):
        loss = (model(x) - x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    losses.append(float(loss))
# [end]

print("loss falls:", losses[-1] < losses[0])
# [proof]
calls = plugin.library.calls()  # kernel: calls in eager mode, calls by the static executor
print("matmul/bfloat16:", calls["matmul/bfloat16"][0], "matmul/float32:", calls["matmul/float32"][0])
# [end]
sys.stdout.flush()
os._exit(0)
