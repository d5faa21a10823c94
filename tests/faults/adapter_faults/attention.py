"""Softmax, attention and rotary embedding gone wrong."""

from __future__ import annotations

import numpy as np

from adapter_faults.call import Array, Call
from adapter_faults.table import after

__all__: list[str] = []


@after("softmax/float32", sees="nonfinite bound")
def softmax_without_maximum(call: Call) -> None:
    """softmax takes exp of its input without subtracting the largest first, in float32."""
    x, axis = call.inputs[0], call.attributes["axis"]
    powers = np.exp(x)
    call.write(powers / powers.sum(axis=axis, keepdims=True))


@after("softmax/float16", sees="nonfinite bound")
def half_softmax_without_maximum(call: Call) -> None:
    """softmax of float16 takes exp without subtracting the largest first, in float16."""
    x, axis = call.inputs[0], call.attributes["axis"]
    powers = np.exp(x)
    call.write(powers / powers.sum(axis=axis, keepdims=True))


def _attention(q: Array, k: Array, v: Array, allowed: Array, heads: Array | None = None, scale: bool = True) -> Array:
    """q [batch, rows, heads, dim]; ``heads`` says which head of k and v each head of q meets."""
    if heads is None:
        heads = np.arange(q.shape[2]) // (q.shape[2] // k.shape[2])
    queries, keys, values = (np.swapaxes(item, 1, 2).astype(np.float64) for item in (q, k[:, :, heads], v[:, :, heads]))
    scores = queries @ np.swapaxes(keys, -1, -2) * (q.shape[-1] ** -0.5 if scale else 1.0)
    scores = np.where(allowed, scores, -np.inf)
    powers = np.exp(scores - np.max(scores, axis=-1, keepdims=True, initial=-1e300))
    total = powers.sum(axis=-1, keepdims=True)
    shares = np.where(total > 0, powers / np.where(total > 0, total, 1), 0)
    return np.swapaxes(shares @ values, 1, 2)


def _causal(q: Array, k: Array, diagonal: int = 0) -> Array:
    """The last row attends to every column; ``diagonal`` shifts the edge."""
    rows, columns = q.shape[1], k.shape[1]
    return np.tril(np.ones((rows, columns), bool), columns - rows + diagonal)


@after("flash_attn/float32", sees="bound")
def mask_off_by_one(call: Call) -> None:
    """The causal mask lets every row see one column too many."""
    q, k, v = call.inputs[:3]
    if call.attributes["causal"]:
        call.write(_attention(q, k, v, _causal(q, k, 1)))


@after("flash_attn/float16", sees="bound")
def causal_ignored_with_groups(call: Call) -> None:
    """Where several heads share one of k and v, the causal flag is ignored."""
    q, k, v = call.inputs[:3]
    if call.attributes["causal"] and q.shape[2] != k.shape[2]:
        call.write(_attention(q, k, v, np.ones((1, 1), bool)))


@after("flash_attn/bfloat16", sees="bound")
def wrong_head_of_a_group(call: Call) -> None:
    """Heads are dealt out to those of k and v in turn instead of in groups."""
    q, k, v = call.inputs[:3]
    if q.shape[2] != k.shape[2]:
        allowed = _causal(q, k) if call.attributes["causal"] else np.ones((1, 1), bool)
        call.write(_attention(q, k, v, allowed, np.arange(q.shape[2]) % k.shape[2]))


@after("flash_attn_unpadded/float32", sees="bound")
def sequences_run_together(call: Call) -> None:
    """The bounds between packed sequences are ignored: every row sees all of them."""
    q, k, v = (item[None] for item in call.inputs[:3])
    if len(call.inputs[3]) > 2:
        call.write(_attention(q, k, v, np.ones((1, 1), bool))[0])


@after("flash_attn_grad/float32", sees="bound", operator="flash_attn")
def group_gradient_not_summed(call: Call) -> None:
    """The gradient of a head of k that several heads share comes short of all but one part."""
    q, k = call.inputs[:2]
    if q.shape[2] != k.shape[2]:
        call.write(call.output(1) * (k.shape[2] / q.shape[2]), index=1)


@after("fused_softmax_mask/float32", sees="bound")
def mask_of_the_first_batch(call: Call) -> None:
    """The mask of the first batch is used for all."""
    x, mask = (item.astype(np.float64) for item in call.inputs)
    scores = x + mask[:1]
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    call.write(powers / powers.sum(axis=-1, keepdims=True))


@after("fused_rotary_position_embedding/float32", sees="bound")
def wrong_pairs(call: Call) -> None:
    """The two elements of a pair are written half a head apart where neighbours are asked for."""
    if call.attributes["neighbours"]:
        y = call.output()
        call.write(np.swapaxes(y.reshape(*y.shape[:-1], -1, 2), -1, -2).reshape(y.shape))
