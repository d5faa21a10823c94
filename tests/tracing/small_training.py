"""A program as users write it: a small model, a few steps. Usage: small_training.py DEVICE eager|static EXIT_STATUS"""

import sys

import numpy as np
import paddle


class Model(paddle.nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first = paddle.nn.Linear(8, 16)
        self.last = paddle.nn.Linear(16, 4)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.last(paddle.nn.functional.gelu(self.first(x)))


paddle.set_device(sys.argv[1])
model = Model()
forward = paddle.jit.to_static(model, full_graph=True) if sys.argv[2] == "static" else model
optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
x = paddle.to_tensor(np.random.rand(5, 8).astype("float32"))
labels = paddle.to_tensor(np.random.randint(0, 4, (5,)))
for _ in range(3):
    loss = paddle.nn.functional.cross_entropy(forward(x), labels)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
print("loss", float(loss))
print("a word on standard error", file=sys.stderr)
sys.stdout.flush()
sys.exit(int(sys.argv[3]))
