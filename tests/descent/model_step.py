"""A script under descent: one training step of a small model on whatever device it asks for."""

import numpy as np
import paddle

paddle.set_device("refchip")
paddle.seed(3)
model = paddle.nn.Sequential(
    paddle.nn.Linear(16, 32), paddle.nn.GELU(), paddle.nn.LayerNorm(32), paddle.nn.Dropout(0.1), paddle.nn.Linear(32, 8)
)
x = paddle.to_tensor(np.random.default_rng(0).standard_normal((12, 16)).astype("float32"))
probabilities = paddle.nn.functional.softmax(model(x), axis=-1)
loss = paddle.log(probabilities + 1e-6).mean()
loss.backward()
paddle.optimizer.AdamW(learning_rate=0.01, parameters=model.parameters()).step()
