"""What the benchmark of products runs: matrix products and attention of a LLaMA layer, as Paddle and as PyTorch spell
them. Imports neither: the functions get the module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from operator_cases import Case, Operand

__all__ = ["cases"]


def cases(tokens: int, hidden: int) -> list[Case]:
    """Of one sequence of ``tokens`` in a layer of ``hidden``."""
    return [*_products(tokens, hidden), *_attention(tokens, hidden)]


def _products(tokens: int, hidden: int) -> list[Case]:
    wide = hidden * 11 // 4
    x = Operand((tokens, hidden))

    def product(name: str, left: Operand, right: Operand, tx: bool = False, ty: bool = False) -> Case:
        return Case(
            name,
            (left, right),
            lambda p, a, b: p.matmul(a, b, tx, ty),
            lambda t, a, b: t.matmul(a.T if tx else a, b.T if ty else b),
            lambda e: 0,
            flops=2 * tokens * hidden * (right.size // hidden if not tx else right.shape[1]),
        )

    return [
        product("matmul, projection", x, Operand((hidden, hidden))),
        product("matmul, up", x, Operand((hidden, wide))),
        product("matmul, gradient of x", x, Operand((hidden, hidden)), ty=True),
        product("matmul, gradient of weight", x, Operand((tokens, wide)), tx=True),
    ]


def _attention(tokens: int, hidden: int) -> list[Case]:
    dim = 64 if hidden <= 1024 else 128
    qkv = Operand((1, tokens, hidden // dim, dim))
    forward = 2 * tokens * tokens * hidden  # two products of 2 * tokens^2 * hidden, half of them masked
    return [
        Case(
            "attention, causal",
            (qkv, qkv, qkv),
            _paddle_attention,
            _torch_forward,
            lambda e: 0,
            setup=True,
            flops=forward,
        ),
        Case(
            "attention, causal, gradient",
            (qkv, qkv, qkv),
            _paddle_gradient,
            _torch_gradient,
            lambda e: 0,
            setup=True,
            flops=forward * 5 // 2,
        ),
    ]


def _paddle_attention(p: Any, q: Any, k: Any, v: Any) -> Callable[[], Any]:
    attend = p.nn.functional.scaled_dot_product_attention
    return lambda: attend(q, k, v, is_causal=True)


def _heads_first(*tensors: Any) -> list[Any]:
    """As PyTorch lays them out, so that it need not transpose."""
    return [x.transpose(1, 2).contiguous() for x in tensors]


def _torch_forward(t: Any, q: Any, k: Any, v: Any) -> Callable[[], Any]:
    operands = _heads_first(q, k, v)
    return lambda: t.nn.functional.scaled_dot_product_attention(*operands, is_causal=True)


def _paddle_gradient(p: Any, q: Any, k: Any, v: Any) -> Callable[[], Any]:
    for x in (q, k, v):
        x.stop_gradient = False
    with p.enable_grad():
        out = _paddle_attention(p, q, k, v)()
    flow = p.ones_like(out)
    return lambda: p.grad(out, [q, k, v], flow, retain_graph=True)


def _torch_gradient(t: Any, q: Any, k: Any, v: Any) -> Callable[[], Any]:
    operands = [x.requires_grad_() for x in _heads_first(q, k, v)]
    with t.enable_grad():
        out = t.nn.functional.scaled_dot_product_attention(*operands, is_causal=True)
    flow = t.ones_like(out)
    return lambda: t.autograd.grad(out, operands, flow, retain_graph=True)
