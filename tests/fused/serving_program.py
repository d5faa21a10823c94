"""What test_serving.py runs in a process of its own: the serving operators through Paddle's API, on refchip.

Prints one JSON line for each check: its name and what it found. Digests of results go to the line "digest".
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from adapter_conform.session import open_session

Array = np.ndarray[Any, np.dtype[Any]]

session = open_session("refchip", 0)
paddle = session.paddle
paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
functional = paddle.incubate.nn.functional
digest = hashlib.sha256()


def drawn(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def device(array: Array, dtype: str | None = None) -> Any:
    tensor = paddle.to_tensor(array)
    return tensor if dtype is None else tensor.astype(dtype)


def host(tensor: Any) -> Array:
    array = np.asarray(tensor.astype("float32").numpy())
    digest.update(np.ascontiguousarray(array).tobytes())
    return array


def softmax(scores: Array) -> Array:
    power = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(power / power.sum(-1, keepdims=True))


def report(name: str, **found: Any) -> None:
    print(json.dumps({"name": name, **found}), flush=True)


def counted(call: Callable[[], Any]) -> tuple[Any, list[str]]:
    with session.watch() as calls:
        result = call()
    return result, sorted(calls.total())


def padded(dtype: str) -> None:
    q, k, v = (device(drawn(shape, i), dtype) for i, shape in enumerate([(2, 4, 9, 16), (2, 2, 9, 16), (2, 2, 9, 16)]))
    lengths = device(np.array([[9], [4]], "int32"))
    api = functional.variable_length_memory_efficient_attention

    def attend(t: list[Any]) -> Any:  # to_static takes a list, but no *tensors
        return api(*t, causal=True)

    tensors = [q, k, v, lengths, lengths]
    got, kernels = counted(lambda: attend(tensors))
    graph = paddle.jit.to_static(attend, full_graph=True)(tensors)
    wide = [np.asarray(t.astype("float32").numpy()).astype("float64") for t in (q, k, v)]
    keys, values = (np.repeat(t, 2, 1) for t in wide[1:])
    scores = np.where(np.tri(9, dtype=bool), np.einsum("bhmd,bhnd->bhmn", wide[0], keys) / 4, -np.inf)
    wanted = np.einsum("bhmn,bhnd->bhmd", softmax(scores), values)
    wanted[1, :, 4:] = 0
    found = host(got)
    report(
        f"padded {dtype}",
        error=float(np.abs(found - wanted).max()),
        kernels=kernels,
        static=bool(np.array_equal(host(graph), found)),
        place=str(got.place),
        dtype=str(got.dtype),
    )


def longest() -> None:
    encoder, decoder = device(np.array([[3], [8]], "int32")), device(np.array([[5], [0]], "int32"))
    got, kernels = counted(lambda: functional.blha_get_max_len(encoder, decoder, paddle.ones([2])))
    report("longest", found=[int(t) for t in got], dtypes=[str(t.dtype) for t in got], kernels=kernels)


def token_by_token(dtype: str) -> None:
    """masked_multihead_attention from an empty cache, against attention over the whole sequence."""
    heads, size, steps, batch = 2, 16, 12, 3
    tokens = device(drawn((steps, batch, 3 * heads * size), 5), dtype)
    cache = paddle.zeros([2, batch, heads, steps, size], dtype)
    address, results, kernels = cache.data_ptr(), [], set()
    for t in range(steps):
        lengths = device(np.full((batch, 1), t, "int32"))
        step = partial(functional.masked_multihead_attention, tokens[t], cache, sequence_lengths=lengths)
        (out, cache_out, *_), names = counted(step)
        kernels.update(names)
        results.append(host(out))
    qkv = np.asarray(tokens.astype("float32").numpy()).astype("float64").reshape(steps, batch, 3, heads, size)
    q, k, v = np.moveaxis(qkv, 2, 0)
    scores = np.einsum("mbhd,nbhd->bhmn", q, k) / 4
    weights = softmax(np.where(np.tri(steps, dtype=bool), scores, -np.inf))
    wanted = np.einsum("bhmn,nbhd->mbhd", weights, v).reshape(steps, batch, -1)
    report(
        f"token by token {dtype}",
        error=float(np.abs(np.stack(results) - wanted).max()),
        kernels=sorted(kernels),
        in_place=address == cache_out.data_ptr() == cache.data_ptr(),
        dtype=str(out.dtype),
    )


class Stack:
    """Two layers of attention with rotation and shared key heads, on a residual stream, without anything else."""

    heads, kv_heads, size, vocabulary, layers, page = 4, 2, 16, 61, 2, 8

    def __init__(self) -> None:
        width = self.heads * self.size
        row = (self.heads + 2 * self.kv_heads) * self.size
        self.embedding = drawn((self.vocabulary, width), 1)
        self.inner = [drawn((width, row), 2 + i) / np.sqrt(width) for i in range(self.layers)]
        self.outer = [drawn((width, width), 8 + i) / np.sqrt(width) for i in range(self.layers)]
        self.head = drawn((width, self.vocabulary), 20) / np.sqrt(width)

    def angles(self, count: int) -> Array:
        return np.asarray(np.arange(count)[:, None] / 10000.0 ** (np.arange(0, self.size, 2) / self.size))

    def whole(self, tokens: list[int]) -> Array:
        """Logits after the last of ``tokens``: float64, everything computed anew."""
        n = len(tokens)
        x = self.embedding[tokens].astype("float64")
        cosines, sines = np.cos(self.angles(n))[:, None], np.sin(self.angles(n))[:, None]
        for inner, outer in zip(self.inner, self.outer, strict=True):
            parts = (x @ inner.astype("float64")).reshape(n, -1, self.size)
            turned = parts[:, : self.heads + self.kv_heads]
            left, right = turned[..., : self.size // 2], turned[..., self.size // 2 :]
            turned = np.concatenate([left * cosines - right * sines, right * cosines + left * sines], -1)
            q, k = turned[:, : self.heads], np.repeat(turned[:, self.heads :], self.heads // self.kv_heads, 1)
            v = np.repeat(parts[:, self.heads + self.kv_heads :], self.heads // self.kv_heads, 1)
            scores = np.einsum("mhd,nhd->hmn", q, k) / np.sqrt(self.size)
            weights = softmax(np.where(np.tri(n, dtype=bool), scores, -np.inf))
            x = x + np.einsum("hmn,nhd->mhd", weights, v).reshape(n, -1) @ outer.astype("float64")
        return np.asarray(x[-1] @ self.head)

    def on_device(self) -> None:
        self.parameters = [[device(w) for w in group] for group in (self.inner, self.outer)]
        self.tables = (device(self.embedding), device(self.head))

    def step(self, tokens: list[list[int]], past: list[int], caches: list[Any], table: Any, rope: Any) -> Array:
        """Logits after the last token of each sequence that brings some; the others get zeros."""
        rows = [len(t) for t in tokens]
        prefill = [n if not p else 0 for n, p in zip(rows, past, strict=True)]
        starts = device(np.concatenate([[0], np.cumsum(rows)]).astype("int32"))
        lengths = [device(np.array(n, "int32")[:, None]) for n in (prefill, past, rows)]
        flat = [t for group in tokens for t in group]
        padding = np.repeat(np.arange(len(rows)) * 64 - np.cumsum([0, *rows[:-1]]), rows).astype("int32")
        offsets = (np.arange(len(rows)) * 64 - np.cumsum([0, *rows[:-1]])).astype("int32")
        x = paddle.nn.functional.embedding(device(np.array(flat, "int64")), self.tables[0])
        for inner, outer, (keys, values) in zip(*self.parameters, caches, strict=True):
            attended, *_ = functional.block_multihead_attention(
                paddle.matmul(x, inner), keys, values, *lengths, device(padding), device(offsets), starts, starts,
                table, rope_emb=rope, max_seq_len=64, block_size=self.page, use_neox_style=True,
            )  # fmt: skip
            x = x + paddle.matmul(attended, outer)
        logits = host(paddle.matmul(x, self.tables[1]))
        ends = np.cumsum(rows)
        return np.stack([logits[e - 1] if n else np.zeros_like(logits[0]) for e, n in zip(ends, rows, strict=True)])


def greedy() -> None:
    """Prompts of 13, 1, 0 and 30 tokens; one joins late, one ends early."""
    stack = Stack()
    stack.on_device()
    prompts = [[int(t) for t in np.random.default_rng(i).integers(0, 61, n)] for i, n in ((1, 13), (2, 1), (4, 30))]
    sequences, ends, begins = [list(p) for p in prompts], [14, 14, 6], [0, 0, 3]
    own = np.random.default_rng(7).permutation(20)[:18].reshape(3, 6).astype("int32")
    shape = (20, stack.kv_heads, stack.page, stack.size)
    caches = [(device(drawn(shape, 50)), device(drawn(shape, 51))) for _ in range(stack.layers)]
    addresses = [c.data_ptr() for pair in caches for c in pair]
    turned = np.concatenate([stack.angles(48)] * 2, -1)
    rope = device(np.stack([np.cos(turned), np.sin(turned)])[:, None, :, None].astype("float32"))
    table, past, worst, narrowest, same, chosen = device(own), [0, 0, 0], 0.0, np.inf, True, 0
    with session.watch() as calls:
        for step in range(14):
            active = [begins[b] <= step < ends[b] for b in range(3)]
            fresh = [sequences[b][past[b] :] if active[b] else [] for b in range(3)]
            logits = stack.step(fresh, [p if a else 0 for p, a in zip(past, active, strict=True)], caches, table, rope)
            for b in range(3):
                if not active[b]:
                    continue
                past[b] = len(sequences[b])
                wanted = stack.whole(sequences[b])
                worst = max(worst, float(np.abs(logits[b] - wanted).max()))
                first, second = np.sort(wanted)[-1], np.sort(wanted)[-2]
                narrowest = min(narrowest, float(first - second))
                same = same and int(logits[b].argmax()) == int(wanted.argmax())
                sequences[b].append(int(logits[b].argmax()))
                chosen += 1
    report(
        "greedy",
        same=same,
        chosen=chosen,
        different=len({t for s, p in zip(sequences, prompts, strict=True) for t in s[len(p) :]}),
        error=worst,
        narrowest=narrowest,
        in_place=addresses == [c.data_ptr() for pair in caches for c in pair],
        kernels=sorted(calls.total()),
    )


def paged(dtype: str) -> None:
    """Prefill of one sequence and an empty one, in a static graph and eager, with the caches written in both."""
    heads, size = 2, 16
    qkv = drawn((11, 3 * heads * size), 31)
    found = []
    for static in (False, True):
        tensors = [device(qkv, dtype), *(paddle.zeros([4, heads, 8, size], dtype) for _ in range(2))]
        lengths = [device(np.array(n, "int32")) for n in ([[11], [0]], [[0], [0]], [[11], [0]])]
        starts, table = device(np.array([0, 11, 11], "int32")), device(np.array([[2, 0], [1, 3]], "int32"))
        padding, offsets = device(np.zeros(11, "int32")), device(np.array([0, 53], "int32"))

        def call(t: list[Any]) -> Any:
            return functional.block_multihead_attention(*t, max_seq_len=64, block_size=8)[0]

        function = paddle.jit.to_static(call, full_graph=True) if static else call
        out, kernels = counted(partial(function, [*tensors, *lengths, padding, offsets, starts, starts, table]))
        found.append([host(out), *(host(t) for t in tensors[1:])])
    parts = np.asarray(device(qkv, dtype).astype("float32").numpy()).astype("float64").reshape(11, 3, heads, size)
    q, k, v = np.moveaxis(parts, 1, 0)
    weights = softmax(np.where(np.tri(11, dtype=bool), np.einsum("mhd,nhd->hmn", q, k) / 4, -np.inf))
    wanted = np.einsum("hmn,nhd->mhd", weights, v).reshape(11, -1)
    stored = np.concatenate([found[0][1][2], found[0][1][0]], 1)[:, :11]
    report(
        f"paged {dtype}",
        error=float(np.abs(found[0][0] - wanted).max()),
        static=all(bool(np.array_equal(a, b)) for a, b in zip(*found, strict=True)),
        cache=bool(np.array_equal(stored, np.swapaxes(k, 0, 1).astype("float32"))),
        kernels=kernels,
        dtype=str(out.dtype),
    )


def quantised(dtype: str, name: str) -> None:
    """int32 products with power-of-two scales give the bits that the numbers themselves give; a cache of bytes."""
    heads, size = 2, 16
    width = 3 * heads * size
    products = np.random.default_rng(3).integers(-60, 60, (2, width)).astype("int32")
    scales = np.full(width, 2.0**-5, "float32")
    lengths = device(np.zeros((2, 1), "int32"))
    given = {"sequence_lengths": lengths, "compute_dtype": name}
    caches = [paddle.zeros([2, 2, heads, 4, size], dtype) for _ in range(2)]
    exact = device(products * scales, dtype)
    step = partial(functional.masked_multihead_attention, device(products), caches[0], **given)
    (one, *_), first = counted(partial(step, qkv_out_scale=device(scales)))
    other, *_ = functional.masked_multihead_attention(exact, caches[1], **given)
    eighth = np.full(heads, 8.0, "float32")
    bytes_ = [paddle.full([2, heads, 8, size], 128, "uint8") for _ in range(2)]
    starts, none = device(np.array([0, 1, 2], "int32")), device(np.zeros((2, 1), "int32"))
    ones, table = device(np.ones((2, 1), "int32")), device(np.array([[1], [0]], "int32"))
    (paged, *_), second = counted(
        partial(
            functional.block_multihead_attention, device(products), *bytes_, ones, none, ones,
            device(np.array([0, 63], "int32")), device(np.array([0, 63], "int32")), starts, starts, table,
            cache_k_quant_scales=device(eighth), cache_v_quant_scales=device(eighth),
            cache_k_dequant_scales=device(1 / eighth), cache_v_dequant_scales=device(1 / eighth),
            qkv_out_scale=device(scales), compute_dtype=name, max_seq_len=64, block_size=8,
        )
    )  # fmt: skip
    stored = np.asarray(bytes_[1].numpy())[[1, 0], :, 0].reshape(2, -1)
    wanted = np.trunc(products[:, -heads * size :] / 4 + np.copysign(0.5, products[:, -heads * size :])) + 128
    report(
        f"quantised {dtype}",
        same=bool(np.array_equal(host(one), host(other)) and np.array_equal(host(caches[0]), host(caches[1]))),
        values=bool(np.array_equal(host(paged), (products * scales)[:, -heads * size :])),
        bytes=bool(np.array_equal(stored, wanted)),
        dtypes=[str(one.dtype), str(paged.dtype)],
        kernels=[*first, *second],
    )


def nothing(dtype: str) -> None:
    """Empty and ended sequences, and rows of which everything is masked: the share of their results that is 0."""
    heads, size = 2, 16
    x = device(drawn((2, 3 * heads * size), 41), dtype)
    hidden = device(np.full((2, 1, 1, 4), -np.inf, "float32"), dtype)
    q = device(drawn((2, heads, 4, size), 42), dtype)
    four, empty = device(np.array([[4], [4]], "int32")), device(np.array([[0], [0]], "int32"))
    attend = functional.variable_length_memory_efficient_attention
    cache = paddle.zeros([2, 2, heads, 4, size], dtype)
    ended = device(np.array([[-1], [3]], "int32"))
    pages = [device(drawn((2, heads, 8, size), 43), dtype) for _ in range(2)]
    one, past, table = device(np.array([[1], [0]], "int32")), device(np.array([[3], [0]], "int32")), [[0], [1]]
    starts, offset = device(np.array([0, 1, 1], "int32")), device(np.array([0], "int32"))
    results = {
        "empty": attend(q, q, q, empty, four),
        "no keys": attend(q, q, q, four, empty),
        "masked": attend(q, q, q, four, four, paddle.expand(hidden, [2, 1, 4, 4])),
        "ended": functional.masked_multihead_attention(x, cache, src_mask=hidden, sequence_lengths=ended)[0],
        "paged": functional.block_multihead_attention(
            x[:1].clone(), *pages, empty, past, one, offset, device(np.array([0, 63], "int32")), starts, starts,
            device(np.array(table, "int32")), tgt_mask=hidden, max_seq_len=64, block_size=8,
        )[0],
    }  # fmt: skip
    report(f"nothing {dtype}", zeros={name: float((host(t) == 0).mean()) for name, t in results.items()})


def refused() -> None:
    """A call that the kernel refuses is a Python error that says what is wrong; one refused later comes with sync."""
    cache = paddle.zeros([2, 1, 1, 4, 16])
    x = paddle.zeros([1, 48])
    errors = []
    attempts: list[Callable[[], Any]] = [
        lambda: functional.masked_multihead_attention(x, cache),
        lambda: functional.masked_multihead_attention(
            x, cache, sequence_lengths=device(np.array([4], "int32"))
        )[0].numpy(),
        lambda: functional.masked_multihead_attention(
            x, cache, src_mask=paddle.zeros([1, 1, 1, 3]), beam_cache_offset=paddle.zeros([1, 1, 4], "int32")
        ),
    ]  # fmt: skip
    for attempt in attempts:
        try:
            attempt()
            errors.append("nothing")
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    report("refused", errors=errors)


def main() -> None:
    longest()
    for dtype, name in (("float32", "fp32"), ("float16", "fp16"), ("bfloat16", "bf16")):
        padded(dtype)
        token_by_token(dtype)
        paged(dtype)
        quantised(dtype, name)
        nothing(dtype)
    greedy()
    refused()
    report("digest", found=digest.hexdigest())
    sys.stdout.flush()
    os._exit(0)


main()
