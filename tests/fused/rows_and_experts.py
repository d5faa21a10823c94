"""Run as a program on refchip with CPU fallback off: fused row-wise operators, mixture of experts, sampling, indexing.

Every function named ``check_...`` compares one family with NumPy; a line "name ok" or "name failed: ..." tells.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import numpy as np
import paddle
import paddle.incubate.nn.functional as fused
import paddle.nn.functional as functional

Array = Any
rng = np.random.default_rng(0)


def given(array: Array, dtype: str | None = None, gradient: bool = True) -> Any:
    tensor = paddle.to_tensor(array)
    tensor = tensor if dtype is None else tensor.astype(dtype).detach()
    tensor.stop_gradient = not gradient
    return tensor


def wide(tensor: Any) -> Array:
    return tensor.astype("float32").numpy().astype(float)


def near(tensor: Any, exact: Array, limit: float = 2e-5) -> None:
    assert list(tensor.shape) == list(exact.shape), (tensor.shape, exact.shape)
    np.testing.assert_allclose(wide(tensor), exact, rtol=limit, atol=limit)


def check_rotary_embedding() -> None:
    q, k = rng.normal(size=(2, 6, 4, 8)), rng.normal(size=(2, 6, 2, 8))
    angle = np.concatenate([rng.normal(size=(6, 4))] * 2, -1)[None, :, None]
    for dtype, limit in (("float32", 2e-5), ("bfloat16", 4e-2)):
        a, b = given(q.astype("float32"), dtype), given(k.astype("float32"), dtype)
        sin, cos = (given(f(angle).astype("float32"), dtype, False) for f in (np.sin, np.cos))
        out = fused.fused_rotary_position_embedding(a, b, None, sin=sin, cos=cos, use_neox_rotary_style=False)
        for x, result in ((q, out[0]), (k, out[1])):
            turned = np.concatenate([-x[..., 4:], x[..., :4]], -1)
            near(result, x * np.cos(angle) + turned * np.sin(angle), limit)
        (out[0].sum() + out[1].sum()).backward()
        for x, tensor in ((q, a), (k, b)):
            back = np.concatenate([np.sin(angle)[..., 4:], -np.sin(angle)[..., :4]], -1)
            near(tensor.grad, np.broadcast_to(np.cos(angle) + back, x.shape), limit)
    a, b, c = given(q.astype("float32")), given(k.astype("float32")), given(k.astype("float32"))
    out = fused.fused_rotary_position_embedding(a, b, c)  # Paddle itself crashes where q's result is not used
    (out[0].sum() + out[1].sum()).backward()
    assert not c.grad.numpy().any()  # v's result was not used
    assert b.grad.numpy().any()


def check_normalisations() -> None:
    x, w, r = (rng.normal(size=s).astype("float32") for s in ((3, 4, 8), (8,), (3, 4, 8)))
    total = x.astype(float) + r + w
    root = total / np.sqrt(np.square(total).mean(-1, keepdims=True) + 1e-5) * w
    out, kept = fused.fused_rms_norm(given(x), given(w), None, 1e-5, 2, bias=given(w), residual=given(r))[:2]
    near(out, root)
    near(kept, total)
    quantised = fused.fused_rms_norm(
        *(given(x), given(w), None, 1e-5, 2),
        bias=given(w),
        residual=given(r),
        quant_scale=0.2,
        quant_round_type=1,
        quant_max_bound=127.0,
        quant_min_bound=-127.0,
    )[0]
    assert quantised.dtype == paddle.int8
    assert np.abs(quantised.numpy() - np.clip(root * 127 * 0.2, -127, 127)).max() < 0.501
    apart = total - total.mean(-1, keepdims=True)
    normal = apart / np.sqrt(np.square(apart).mean(-1, keepdims=True) + 1e-5) * w + w
    near(
        fused.fused_layer_norm(given(x), given(w), given(w), 1e-5, 1.0, 2, bias=given(w), residual=given(r))[0], normal
    )
    for dtype, limit in (("bfloat16", 3e-2), ("float16", 4e-3)):
        layer = paddle.nn.LayerNorm(8)  # float32 parameters beside half inputs, as AMP O2 leaves them
        a = given(x, dtype)
        functional.layer_norm(a, [8], layer.weight, layer.bias).sum().backward()
        own = wide(a)
        own = (own - own.mean(-1, keepdims=True)) / np.sqrt(own.var(-1, keepdims=True) + 1e-5)
        assert layer.weight.grad.dtype == paddle.float32
        near(layer.weight.grad, own.sum((0, 1)), limit)
        near(layer.bias.grad, np.full(8, 12.0), limit)


def check_masked_softmax() -> None:
    x, mask = rng.normal(size=(2, 3, 32, 32)).astype("float32"), rng.normal(size=(2, 1, 32, 32)).astype("float32")
    seen = np.where(np.tril(np.ones((32, 32), bool)), 0.0, -np.inf)
    for call, scores in (
        (lambda t: paddle.incubate.softmax_mask_fuse(t, given(mask, None, False)), x.astype(float) + mask),
        (paddle.incubate.softmax_mask_fuse_upper_triangle, x + seen),
    ):
        a = given(x)
        out = call(a)
        power = np.exp(scores - scores.max(-1, keepdims=True))
        y = power / power.sum(-1, keepdims=True)
        near(out, y)
        out.square().sum().backward()
        near(a.grad, y * (2 * y - (2 * y * y).sum(-1, keepdims=True)))


def check_dropout_add() -> None:
    x, y = (rng.uniform(1, 2, (64, 64)).astype("float32") for _ in range(2))
    a, b = given(x), given(y)
    out, source = paddle._C_ops.fused_dropout_add(a, b, None, 0.5, False, "upscale_in_train", 0, False)
    out.sum().backward()
    near(out, x * a.grad.numpy() + y)  # the gradient met the same mask
    near(b.grad, np.ones((64, 64)))
    assert set(np.unique(a.grad.numpy())) == {0.0, 2.0}
    other = paddle._C_ops.fused_dropout_add(a, b, None, 0.5, False, "upscale_in_train", 0, False)[1]
    assert (source.numpy() != other.numpy()).any()


def check_experts() -> None:
    """A whole layer, dispatched and combined, is the sum over each token's experts."""
    tokens, width, experts = 12, 8, 3
    x, w = (
        rng.normal(size=(tokens, width)).astype("float32"),
        rng.normal(size=(experts, width, width)).astype("float32"),
    )
    gate = rng.dirichlet(np.ones(experts), tokens).astype("float32")
    a, g = given(x), given(gate)
    y, weights, scatter, offset, _ = fused.moe_gate_dispatch(a, g, None, 2, tokens, False)
    sizes = np.diff(offset.numpy(), prepend=0).tolist()
    hidden = fused.batched_gemm(y, given(w), sizes)
    out = fused.moe_combine(hidden, weights, scatter.transpose([1, 0]))
    chosen = np.argsort(-gate, 1)[:, :2]
    exact = np.stack([sum(gate[t, e] * (x[t].astype(float) @ w[e]) for e in chosen[t]) for t in range(tokens)])
    near(out, exact, 1e-4)
    y, weights, *_ = fused.moe_gate_dispatch(a, g, None, 2, tokens, True)
    (y.sum() + weights.sum()).backward()
    near(a.grad, np.full(x.shape, 2.0))
    hot = np.zeros(gate.shape)
    np.put_along_axis(hot, chosen, 1.0, 1)
    near(g.grad, hot)


def check_permute() -> None:
    route = np.array([[0, 1], [1, -1], [2, 0]], "int32")
    p = np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]], "float32")
    x = given(rng.normal(size=(3, 8)).astype("float32"), "bfloat16", False)
    rows, rowmap, probs, _, experts = functional.moe_permute(
        x, None, given(route, None, False), given(p, None, False), 3, [2, 2, 1], 4, return_expert_indices=True
    )
    assert experts.numpy().tolist() == [0, 0, -1, -1, 1, 1, -1, -1, 2, -1, -1, -1]
    assert rowmap.numpy().tolist() == [[0, 4, -1], [-1, 5, -1], [1, -1, 8]]
    back, back_p = functional.moe_unpermute(
        rows, rowmap, given(route, None, False), probs, 3, 3, using_weighted_combine=True
    )
    near(back, wide(x))
    near(back_p, p)


def check_sampling() -> None:
    x = rng.dirichlet(np.ones(500), 20).astype("float32")
    ps = np.full((20, 1), 0.9, "float32")

    def draw() -> list[int]:
        return paddle.tensor.search.top_p_sampling(given(x), given(ps))[1].numpy()[:, 0].tolist()

    paddle.seed(7)
    first, second = draw(), draw()
    paddle.seed(7)
    assert draw() == first
    assert draw() == second != first


def check_indexing() -> None:
    x, v = rng.normal(size=(6, 5)).astype("float32"), rng.normal(size=(2, 5)).astype("float32")
    places = np.array([4, 1])
    for put in ("function", "assignment"):
        a, b = given(x), given(v)
        if put == "function":
            out = paddle.index_put(a, (given(places, None, False),), b)
        else:
            out = a * 1
            out[given(places, None, False)] = b
        exact = x.copy()
        exact[places] = v
        near(out, exact)
        (out * out).sum().backward()
        exact = 2 * x
        exact[places] = 0
        near(a.grad, exact)
        near(b.grad, 2 * v)
    a = given(x)
    out = a * 1
    out[given(places, None, False)] = 3.0
    exact = x.copy()
    exact[places] = 3
    near(out, exact)
    out.sum().backward()
    assert not a.grad.numpy()[places].any()
    a = given(x)
    paddle.masked_select(a, given(x > 0, None, False)).square().sum().backward()
    near(a.grad, np.where(x > 0, 2 * x, 0))


def check_vocabulary_parallel() -> None:
    """Paddle's own kernels for custom devices serve these, built from the device's plain ones."""
    table, ids = rng.normal(size=(5, 4)).astype("float32"), np.array([[3, 7], [5, 9]])
    a = given(table)
    out = paddle._C_ops.c_embedding(a, given(ids, None, False), 3, 10)
    inside = (ids >= 3) & (ids < 8)
    near(out, np.where(inside[..., None], table[np.where(inside, ids - 3, 0)], 0))
    out.sum().backward()
    near(a.grad, np.array([1, 0, 1, 0, 1.0])[:, None] * np.ones((5, 4)))


def main() -> None:
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    paddle.set_device("refchip")
    for name, check in list(globals().items()):
        if not name.startswith("check_"):
            continue
        try:
            check()
            print(f"{name} ok")
        except Exception:
            print(f"{name} failed: {traceback.format_exc()[-1500:]!r}")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
