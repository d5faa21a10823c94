"""The network that predicts the noise in latent numbers: UNet2DConditionModel of Stable Diffusion 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from adapter_conform.certification.recorder.diffusion.blocks import Down, Residual, Transformer, Up

__all__ = ["UNet"]

_EPSILON = 1e-5


class _Embedding(nn.Module):  # type: ignore[misc]  # torch brings no types where this is checked
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)

    def forward(self, x: Any) -> Any:
        return self.linear_2(functional.silu(self.linear_1(x)))


class _Block(nn.Module):  # type: ignore[misc]
    """Residual blocks, each with a transformer behind it where there is one, and a change of size."""

    def __init__(self, resnets: list[Residual], attentions: list[Transformer]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)

    def step(self, number: int, x: Any, time: Any, context: Any) -> Any:
        x = self.resnets[number](x, time)
        return self.attentions[number](x, context) if hasattr(self, "attentions") else x


class UNet(nn.Module):  # type: ignore[misc]
    def __init__(self, settings: Mapping[str, Any], attention: str) -> None:
        super().__init__()
        widths = [int(width) for width in settings["block_out_channels"]]
        self.first, layers, groups = widths[0], int(settings["layers_per_block"]), int(settings["norm_num_groups"])
        embedding = 4 * self.first

        def residual(inputs: int, outputs: int) -> Residual:
            return Residual(inputs, outputs, groups, _EPSILON, embedding)

        def transformers(kind: str, width: int, count: int) -> list[Transformer]:
            sizes = int(settings["cross_attention_dim"]), int(settings["attention_head_dim"]), groups
            return [Transformer(width, *sizes, attention) for _ in range(count if "CrossAttn" in kind else 0)]

        self.conv_in = nn.Conv2d(int(settings["in_channels"]), widths[0], 3, padding=1)
        self.time_embedding = _Embedding(self.first, embedding)
        self.down_blocks, kept = nn.ModuleList(), [widths[0]]
        for place, (kind, width) in enumerate(zip(settings["down_block_types"], widths, strict=True)):
            resnets = [residual(kept[-1] if number == 0 else width, width) for number in range(layers)]
            block = _Block(resnets, transformers(kind, width, layers))
            kept += [width] * layers
            if place < len(widths) - 1:
                block.downsamplers = nn.ModuleList([Down(width, 1)])
                kept.append(width)
            self.down_blocks.append(block)
        last = widths[-1]
        self.mid_block = _Block([residual(last, last), residual(last, last)], transformers("CrossAttn", last, 1))
        self.up_blocks, width = nn.ModuleList(), last
        for place, (kind, outputs) in enumerate(zip(settings["up_block_types"], reversed(widths), strict=True)):
            resnets = []
            for _ in range(layers + 1):
                resnets.append(residual(width + kept.pop(), outputs))
                width = outputs
            block = _Block(resnets, transformers(kind, outputs, layers + 1))
            if place < len(widths) - 1:
                block.upsamplers = nn.ModuleList([Up(outputs)])
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps=_EPSILON)
        self.conv_out = nn.Conv2d(widths[0], int(settings["out_channels"]), 3, padding=1)

    def forward(self, x: Any, times: Any, context: Any) -> Any:
        """``x`` [rows, channels, height, width], ``times`` int64 [rows], ``context`` [rows, words, width]."""
        time = self.time_embedding(_waves(times, self.first).to(x.dtype))
        x = self.conv_in(x)
        kept = [x]
        for block in self.down_blocks:
            for number in range(len(block.resnets)):
                x = block.step(number, x, time, context)
                kept.append(x)
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                kept.append(x)
        middle = self.mid_block
        x = middle.resnets[1](middle.attentions[0](middle.resnets[0](x, time), context), time)
        for block in self.up_blocks:
            for number in range(len(block.resnets)):
                x = block.step(number, torch.cat([x, kept.pop()], dim=1), time, context)
            if hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return self.conv_out(functional.silu(self.conv_norm_out(x)))


def _waves(times: Any, width: int) -> Any:
    """Cosines, then sines, of times over geometric wave lengths (Vaswani et al., 2017): float32 [rows, width]."""
    half = width // 2
    lengths = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=times.device) / half)
    angles = times[:, None].float() * lengths
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
