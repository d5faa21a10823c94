"""What the operator benchmark runs: each case on the shapes of a LLaMA layer, as Paddle and as PyTorch spell it.

Imports neither: the functions get the module. ``traffic`` counts the bytes that an operator has to read and to write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Case", "Operand", "cases"]

Spell = Callable[..., Any]


@dataclass(frozen=True)
class Operand:
    """An input: normal numbers, ids below ``high`` (int64), or truth values."""

    shape: tuple[int, ...]
    kind: str = "normal"
    high: int = 0

    @property
    def size(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Case:
    """One operator. ``paddle`` and ``torch`` take their module, then the operands; ``cpu`` replaces ``paddle`` where
    Paddle's CPU lacks the operator."""

    name: str
    operands: tuple[Operand, ...]
    paddle: Spell
    torch: Spell
    traffic: Callable[[int], int]
    """Bytes for an element size."""
    cpu: Spell | None = None
    setup: bool = False
    """Whether ``paddle`` and ``torch`` return the function to time, instead of being it."""
    flops: int = 0
    """Multiplications and additions, where they and not the traffic set the pace."""


def cases(tokens: int, hidden: int) -> list[Case]:
    """For ``tokens`` rows of ``hidden`` elements."""
    n = tokens * hidden
    x = Operand((tokens, hidden))
    row = Operand((hidden,))
    return [*_elementwise(x, row, n), *_rowwise(x, row, n), *_moving(x, n), *_others(x, n)]


def _elementwise(x: Operand, row: Operand, n: int) -> list[Case]:
    truth = Operand(x.shape, "bool")
    return [
        Case("add", (x, x), lambda p, a, b: a + b, lambda t, a, b: a + b, lambda e: 3 * n * e),
        Case("multiply", (x, x), lambda p, a, b: a * b, lambda t, a, b: a * b, lambda e: 3 * n * e),
        Case("multiply by a row", (x, row), lambda p, a, b: a * b, lambda t, a, b: a * b, lambda e: 2 * n * e),
        Case("exp", (x,), lambda p, a: p.exp(a), lambda t, a: t.exp(a), lambda e: 2 * n * e),
        Case("silu", (x,), lambda p, a: p.nn.functional.silu(a), _torch_f("silu"), lambda e: 2 * n * e),
        Case("gelu", (x,), lambda p, a: p.nn.functional.gelu(a), _torch_f("gelu"), lambda e: 2 * n * e),
        Case("tanh", (x,), lambda p, a: p.tanh(a), lambda t, a: t.tanh(a), lambda e: 2 * n * e),
        Case("sigmoid", (x,), lambda p, a: p.nn.functional.sigmoid(a), lambda t, a: a.sigmoid(), lambda e: 2 * n * e),
        Case("rsqrt", (x,), lambda p, a: p.rsqrt(a), lambda t, a: t.rsqrt(a), lambda e: 2 * n * e),
        Case("cast to the other", (x,), _paddle_cast, _torch_cast, lambda e: 6 * n),
        Case(
            "where",
            (truth, x, x),
            lambda p, c, a, b: p.where(c, a, b),
            lambda t, c, a, b: t.where(c, a, b),
            lambda e: n + 3 * n * e,
        ),
        Case("full", (x,), lambda p, a: p.full_like(a, 1.5), lambda t, a: t.full_like(a, 1.5), lambda e: n * e),
        Case(
            "swiglu",
            (x, x),
            lambda p, a, b: p.nn.functional.swiglu(a, b),
            lambda t, a, b: t.nn.functional.silu(a) * b,
            lambda e: 3 * n * e,
        ),
        Case(
            "dropout",
            (x,),
            lambda p, a: p.nn.functional.dropout(a, 0.1, training=True),
            lambda t, a: t.nn.functional.dropout(a, 0.1, training=True),
            lambda e: 2 * n * e + n,
        ),
    ]


def _rowwise(x: Operand, row: Operand, n: int) -> list[Case]:
    hidden = row.size
    return [
        Case("softmax", (x,), lambda p, a: p.nn.functional.softmax(a), _softmax, lambda e: 2 * n * e),
        Case("log_softmax", (x,), lambda p, a: p.nn.functional.log_softmax(a), _log_softmax, lambda e: 2 * n * e),
        Case(
            "layer_norm",
            (x, row, row),
            lambda p, a, w, b: p.nn.functional.layer_norm(a, hidden, w, b),
            lambda t, a, w, b: t.nn.functional.layer_norm(a, (hidden,), w, b),
            lambda e: 2 * n * e,
        ),
        Case(
            "rms_norm",
            (x, row),
            lambda p, a, w: p.nn.functional.rms_norm(a, (hidden,), w, 1e-6),
            lambda t, a, w: t.nn.functional.rms_norm(a, (hidden,), w, 1e-6),
            lambda e: 2 * n * e,
            cpu=lambda p, a, w: a * p.rsqrt((a * a).mean(-1, keepdim=True) + 1e-6) * w,
        ),
        Case("sum of rows", (x,), lambda p, a: a.sum(-1), lambda t, a: a.sum(-1), lambda e: n * e),
        Case("sum of columns", (x,), lambda p, a: a.sum(0), lambda t, a: a.sum(0), lambda e: n * e),
        Case("sum", (x,), lambda p, a: a.sum(), lambda t, a: a.sum(), lambda e: n * e),
        Case("mean", (x,), lambda p, a: a.mean(), lambda t, a: a.mean(), lambda e: n * e),
        Case("max of rows", (x,), lambda p, a: a.max(-1), lambda t, a: a.amax(-1), lambda e: n * e),
        Case("argmax", (x,), lambda p, a: p.argmax(a, -1), lambda t, a: t.argmax(a, -1), lambda e: n * e),
        Case("cumsum of rows", (x,), lambda p, a: p.cumsum(a, -1), lambda t, a: t.cumsum(a, -1), lambda e: 2 * n * e),
    ]


def _moving(x: Operand, n: int) -> list[Case]:
    tokens, hidden = x.shape
    vocabulary = 32000
    ids = Operand((tokens,), "ids", vocabulary)
    rows = Operand((tokens,), "ids", tokens)
    heads = Operand((1, tokens, hidden // 64, 64))
    return [
        Case("transpose", (x,), _paddle_permute(1, 0), lambda t, a: a.t().contiguous(), lambda e: 2 * n * e),
        Case(
            "transpose of heads",
            (heads,),
            _paddle_permute(0, 2, 1, 3),
            lambda t, a: a.permute(0, 2, 1, 3).contiguous(),
            lambda e: 2 * n * e,
        ),
        Case("concat", (x, x), lambda p, a, b: p.concat([a, b], -1), _torch_cat, lambda e: 4 * n * e),
        Case("split", (x,), _paddle_split, lambda t, a: [part.contiguous() for part in a.chunk(2, -1)], _two(n)),
        Case(
            "embedding",
            (ids, Operand((vocabulary, hidden))),
            lambda p, i, w: p.nn.functional.embedding(i, w),
            lambda t, i, w: t.nn.functional.embedding(i, w),
            lambda e: 2 * n * e,
        ),
        Case(
            "gather",
            (rows, x),
            lambda p, i, a: p.gather(a, i),
            lambda t, i, a: t.index_select(a, 0, i),
            lambda e: 2 * n * e,
        ),
        Case("tril", (x,), lambda p, a: p.tril(a), lambda t, a: t.tril(a), lambda e: 2 * n * e),
    ]


def _others(x: Operand, n: int) -> list[Case]:
    tokens, _ = x.shape
    vocabulary = 32000 // 8
    logits, labels = Operand((tokens, vocabulary)), Operand((tokens,), "ids", vocabulary)
    return [
        Case("topk", (x,), lambda p, a: p.topk(a, 8), lambda t, a: t.topk(a, 8), lambda e: n * e),
        Case(
            "cross_entropy",
            (logits, labels),
            lambda p, a, i: p.nn.functional.cross_entropy(a, i),
            lambda t, a, i: t.nn.functional.cross_entropy(a, i),
            lambda e: 2 * tokens * vocabulary * e,
        ),
        Case("adamw", (x, x), _paddle_adamw, _torch_adamw, lambda e: 7 * n * e, setup=True),
    ]


def _two(n: int) -> Callable[[int], int]:
    return lambda e: 2 * n * e


def _torch_f(name: str) -> Spell:
    return lambda t, a: getattr(t.nn.functional, name)(a)


def _softmax(t: Any, a: Any) -> Any:
    return t.softmax(a, -1)


def _log_softmax(t: Any, a: Any) -> Any:
    return t.log_softmax(a, -1)


def _torch_cat(t: Any, a: Any, b: Any) -> Any:
    return t.cat([a, b], -1)


def _paddle_cast(p: Any, a: Any) -> Any:
    return a.astype("bfloat16" if a.dtype == p.float32 else "float32")


def _torch_cast(t: Any, a: Any) -> Any:
    return a.to(t.bfloat16 if a.dtype == t.float32 else t.float32)


def _paddle_permute(*order: int) -> Spell:
    return lambda p, a: p.transpose(a, order).contiguous()


def _paddle_split(p: Any, a: Any) -> Any:
    return [part.contiguous() for part in p.split(a, 2, -1)]


def _paddle_adamw(p: Any, value: Any, grad: Any) -> Callable[[], Any]:
    dtype = "float32" if value.dtype == p.float32 else "bfloat16"
    parameter = p.create_parameter(value.shape, dtype, default_initializer=p.nn.initializer.Constant(0.01))
    parameter.grad = grad
    optimizer = p.optimizer.AdamW(learning_rate=1e-4, parameters=[parameter], weight_decay=0.01)
    return lambda: optimizer.step()


def _torch_adamw(t: Any, value: Any, grad: Any) -> Callable[[], Any]:
    parameter = t.nn.Parameter(value)
    parameter.grad = grad
    optimizer = t.optim.AdamW([parameter], lr=1e-4, weight_decay=0.01)
    return lambda: optimizer.step()
