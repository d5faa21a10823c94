"""The forward pass of a decoder on a device, for sequences packed one after the other, over a paged cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.models.weights import Weights
from adapter_conform.quantization.linears import Dense, Linear
from adapter_conform.serving.packing import Packed, rotary_table
from adapter_conform.serving.shape import DecoderShape, require_weights

__all__ = ["DTYPES", "Decoder", "MakeLinear", "dense", "linear_weights"]

DTYPES = ("float32", "bfloat16", "float16")

Array = NDArray[Any]
MakeLinear = Callable[[str, Array, "Array | None"], Linear]
"""Builds a linear layer from its name, weight [in, out] and bias [out]."""


def dense(paddle: Any, dtype: str) -> MakeLinear:
    """Layers whose products are in ``dtype``."""
    return lambda _name, weight, bias: Dense(paddle, weight, bias, dtype)


def linear_weights(shape: DecoderShape, weights: Weights) -> Mapping[str, tuple[Array, Array | None]]:
    """The linear layers of the decoder: name -> weight [in, out], bias. Queries, keys and values are one layer, and so
    are gate and up. The head is not among them: it is never quantized."""
    layers: dict[str, tuple[Array, Array | None]] = {}
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."

        def joined(names: Iterable[str], kind: str, prefix: str = prefix) -> Array:
            return np.concatenate([weights[f"{prefix}{name}.{kind}"].T for name in names], axis=-1)

        qkv = [f"self_attn.{part}_proj" for part in "qkv"]
        layers[f"{layer}.qkv"] = joined(qkv, "weight"), joined(qkv, "bias") if shape.qkv_bias else None
        layers[f"{layer}.out"] = joined(["self_attn.o_proj"], "weight"), None
        layers[f"{layer}.gate_up"] = joined(["mlp.gate_proj", "mlp.up_proj"], "weight"), None
        layers[f"{layer}.down"] = joined(["mlp.down_proj"], "weight"), None
    return layers


class _Layer:
    def __init__(self, qkv: Linear, out: Linear, gate_up: Linear, down: Linear, norms: tuple[Any, Any]) -> None:
        self.qkv, self.out, self.gate_up, self.down = qkv, out, gate_up, down
        self.attention_norm, self.mlp_norm = norms


class Decoder:
    """Weights and cache on the device.

    Args:
        blocks: of the cache; each holds ``block_tokens`` tokens of every layer.
        make: builds the linear layers inside the decoder; :func:`dense` by default.

    Raises:
        ValueError: the weights do not fit the shape.
    """

    def __init__(
        self,
        paddle: Any,
        shape: DecoderShape,
        weights: Weights,
        dtype: str,
        blocks: int,
        block_tokens: int,
        make: MakeLinear | None = None,
    ) -> None:
        require_weights(shape, weights)
        self.shape, self.dtype, self.block_tokens = shape, dtype, block_tokens
        self._paddle = paddle
        self._functional = paddle.incubate.nn.functional
        self._embedding = self._device(weights["model.embed_tokens.weight"])
        self._final_norm = self._device(weights["model.norm.weight"])
        self._head = Dense(paddle, weights["lm_head.weight"].T, None, dtype)
        self._layers = self._build(weights, make or dense(paddle, dtype))
        self._rotary = paddle.to_tensor(rotary_table(shape.positions, shape.head_size, shape.rope_theta))
        size = [blocks, shape.key_value_heads, block_tokens, shape.head_size]
        self._caches = [(paddle.zeros(size, dtype), paddle.zeros(size, dtype)) for _ in range(shape.layers)]

    @property
    def linears(self) -> dict[str, Linear]:
        parts = ("qkv", "out", "gate_up", "down")
        return {f"{i}.{part}": getattr(layer, part) for i, layer in enumerate(self._layers) for part in parts}

    @property
    def weight_bytes(self) -> int:
        """Of the linear layers inside the decoder, on the device."""
        return sum(linear.weight_bytes for linear in self.linears.values())

    def logits(self, packed: Packed, every: bool = False) -> Any:
        """float32 [sequences that are due, vocabulary], None where none is due; [tokens, vocabulary] where ``every``
        token's are asked for. Keys and values join the cache."""
        paddle = self._paddle
        with paddle.no_grad():
            x = self.hidden(packed)
            if not packed.ends.size and not every:
                return None
            if packed.ends.size < packed.tokens.size and not every:
                x = paddle.gather(x, paddle.to_tensor(packed.ends))
            return self._head(self._norm(x, self._final_norm)).astype("float32")

    def hidden(self, packed: Packed) -> Any:
        """What leaves the last layer: [tokens, hidden]."""
        paddle = self._paddle
        told = self._told(packed)
        x = paddle.nn.functional.embedding(paddle.to_tensor(packed.tokens), self._embedding)
        for layer, cache in zip(self._layers, self._caches, strict=True):
            attended = self.attend(layer.qkv(self._norm(x, layer.attention_norm)), *cache, **told)
            x = x + layer.out(attended)
            inner = paddle.nn.functional.swiglu(layer.gate_up(self._norm(x, layer.mlp_norm)))
            x = x + layer.down(inner)
        return x

    def attend(self, qkv: Any, keys: Any, values: Any, **told: Any) -> Any:
        """Attention of the rows of ``qkv`` to themselves and to the cache, which they join: [tokens, hidden]."""
        return self._functional.block_multihead_attention(
            qkv,
            keys,
            values,
            rope_emb=self._rotary,
            max_seq_len=self.shape.positions,
            block_size=self.block_tokens,
            use_neox_style=True,
            rope_theta=self.shape.rope_theta,
            **told,
        )[0]

    def _told(self, packed: Packed) -> dict[str, Any]:
        tensor = self._paddle.to_tensor
        starts = tensor(packed.starts)
        return {
            "seq_lens_encoder": tensor(packed.encoder),
            "seq_lens_decoder": tensor(packed.decoder),
            "seq_lens_this_time": tensor(packed.this_time),
            "padding_offsets": tensor(packed.padding_offsets),
            "cum_offsets": tensor(packed.cum_offsets),
            "cu_seqlens_q": starts,
            "cu_seqlens_k": starts,
            "block_tables": tensor(packed.tables),
        }

    def _norm(self, x: Any, weight: Any) -> Any:
        return self._functional.fused_rms_norm(x, weight, None, self.shape.norm_epsilon, 1)[0]

    def _device(self, array: Array) -> Any:
        return self._paddle.to_tensor(np.ascontiguousarray(array)).astype(self.dtype)

    def _build(self, weights: Weights, make: MakeLinear) -> list[_Layer]:
        made = {name: make(name, *parts) for name, parts in linear_weights(self.shape, weights).items()}
        layers = []
        for i in range(self.shape.layers):
            kinds = ("input_layernorm", "post_attention_layernorm")
            norms = [self._device(weights[f"model.layers.{i}.{kind}.weight"]) for kind in kinds]
            parts = [made[f"{i}.{part}"] for part in ("qkv", "out", "gate_up", "down")]
            layers.append(_Layer(parts[0], parts[1], parts[2], parts[3], (norms[0], norms[1])))
        return layers
