"""The pieces of both networks of Stable Diffusion (Rombach et al., High-Resolution Image Synthesis, 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Attention", "Down", "Residual", "Transformer", "Up"]


class Residual(nn.Module):  # type: ignore[misc]  # torch brings no types where this is checked
    """Two convolutions, each after a group norm and SiLU; ``embedding`` is the width of the time's, 0 for none."""

    def __init__(self, inputs: int, outputs: int, groups: int, epsilon: float, embedding: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=epsilon)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        if embedding:
            self.time_emb_proj = nn.Linear(embedding, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=epsilon)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Any, time: Any = None) -> Any:
        inner = self.conv1(functional.silu(self.norm1(x)))
        if time is not None:
            inner = inner + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Attention(nn.Module):  # type: ignore[misc]
    """``width`` numbers ask, ``context`` numbers answer; ``kind`` is "eager" or "sdpa"."""

    def __init__(self, width: int, context: int, heads: int, kind: str, bias: bool = False, groups: int = 0) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        if groups:
            self.group_norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context, width, bias=bias)
        self.to_v = nn.Linear(context, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Any, context: Any = None) -> Any:
        """``x`` [rows, length, width]"""
        context = x if context is None else context
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        if self.kind == "sdpa":
            found = functional.scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            found = scores.softmax(-1) @ value
        return self.to_out[0](found.transpose(1, 2).flatten(2))

    def picture(self, x: Any) -> Any:
        """All places of ``x`` [rows, channels, height, width] ask each other; the autoencoder's kind."""
        flat = self.group_norm(x.flatten(2)).transpose(1, 2)
        return x + self(flat).transpose(1, 2).reshape(x.shape)


class _Gated(nn.Module):  # type: ignore[misc]
    """GEGLU: one half times the GELU of the other (Shazeer, GLU Variants, 2020)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Any) -> Any:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class _FeedForward(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([_Gated(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Any) -> Any:
        return self.net[2](self.net[0](x))


class _Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int, context: int, heads: int, kind: str) -> None:
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(width), Attention(width, width, heads, kind)
        self.norm2, self.attn2 = nn.LayerNorm(width), Attention(width, context, heads, kind)
        self.norm3, self.ff = nn.LayerNorm(width), _FeedForward(width)

    def forward(self, x: Any, context: Any) -> Any:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):  # type: ignore[misc]
    """Places of a picture ask each other, and the text."""

    def __init__(self, width: int, context: int, heads: int, groups: int, kind: str) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([_Layer(width, context, heads, kind)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Any, context: Any) -> Any:
        inner = self.proj_in(self.norm(x))
        flat = self.transformer_blocks[0](inner.flatten(2).transpose(1, 2), context)
        return x + self.proj_out(flat.transpose(1, 2).reshape(inner.shape))


class Down(nn.Module):  # type: ignore[misc]
    """Halves height and width. The autoencoder's pads below and at the right alone."""

    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)

    def forward(self, x: Any) -> Any:
        return self.conv(x if self.padding else functional.pad(x, (0, 1, 0, 1)))


class Up(nn.Module):  # type: ignore[misc]
    """Doubles height and width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return self.conv(torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
