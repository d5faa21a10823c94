"""Calls a kernel that refchip lacks, so that Paddle moves it to the CPU. Usage: moved_to_host.py eager|static"""

import os
import sys

import numpy as np
import paddle


class Model(paddle.nn.Layer):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return paddle.diag(x.sum(0)) * 2.0


paddle.set_device("refchip")
model = Model()
if sys.argv[1] == "static":
    model = paddle.jit.to_static(model, full_graph=True)
model(paddle.to_tensor(np.random.rand(5, 8).astype("float32")))
sys.stdout.flush()
os._exit(0)
