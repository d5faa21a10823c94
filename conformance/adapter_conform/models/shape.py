"""The sizes of decoders, apart from any framework."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decoder", "LlamaShape"]


@dataclass(frozen=True)
class Decoder:
    """RMS norms, rotary embeddings of halves, grouped-query attention, SwiGLU. The defaults give 434,816 parameters."""

    vocabulary: int = 256
    hidden: int = 128
    intermediate: int = 352
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    positions: int = 32
    """Longest sequence; the rotary tables have this many rows."""
    norm_epsilon: float = 1e-6
    rope_theta: float = 10000.0

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.heads % self.key_value_heads:
            raise ValueError(
                f"{self.hidden} hidden units, {self.heads} heads and {self.key_value_heads} key/value heads do not "
                "fit: heads must divide the hidden size, and key/value heads the heads"
            )

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True)
class LlamaShape(Decoder):
    """A LLaMA that is trained."""

    fused: bool = False
    """Whether the model calls fused operators: the same function by other kernels."""

    @property
    def matmuls(self) -> int:
        """Matrix products of one forward pass: seven projections and two of attention a layer, and the head."""
        return 9 * self.layers + 1
