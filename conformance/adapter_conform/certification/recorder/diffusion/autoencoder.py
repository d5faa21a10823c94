"""Pictures to latent numbers and back: AutoencoderKL of Stable Diffusion 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn import functional

from adapter_conform.certification.recorder.diffusion.blocks import Attention, Down, Residual, Up

__all__ = ["Autoencoder"]

_EPSILON = 1e-6
_COLOURS = 3


class _Middle(nn.Module):  # type: ignore[misc]  # torch brings no types where this is checked
    def __init__(self, width: int, groups: int, attention: str) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(width, width, groups, _EPSILON) for _ in range(2)])
        self.attentions = nn.ModuleList([Attention(width, width, 1, attention, bias=True, groups=groups)])

    def forward(self, x: Any) -> Any:
        return self.resnets[1](self.attentions[0].picture(self.resnets[0](x)))


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, inputs: int, outputs: int, layers: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            [Residual(inputs if number == 0 else outputs, outputs, groups, _EPSILON) for number in range(layers)]
        )

    def forward(self, x: Any) -> Any:
        for resnet in self.resnets:
            x = resnet(x)
        for name in ("downsamplers", "upsamplers"):
            if hasattr(self, name):
                x = getattr(self, name)[0](x)
        return x


class _Encoder(nn.Module):  # type: ignore[misc]
    def __init__(self, widths: list[int], layers: int, groups: int, latents: int, attention: str) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(_COLOURS, widths[0], 3, padding=1)
        self.down_blocks, inputs = nn.ModuleList(), widths[0]
        for place, width in enumerate(widths):
            block = _Block(inputs, width, layers, groups)
            if place < len(widths) - 1:
                block.downsamplers = nn.ModuleList([Down(width, 0)])
            self.down_blocks.append(block)
            inputs = width
        self.mid_block = _Middle(inputs, groups, attention)
        self.conv_norm_out = nn.GroupNorm(groups, inputs, eps=_EPSILON)
        self.conv_out = nn.Conv2d(inputs, 2 * latents, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(functional.silu(self.conv_norm_out(self.mid_block(x))))


class _Decoder(nn.Module):  # type: ignore[misc]
    def __init__(self, widths: list[int], layers: int, groups: int, latents: int, attention: str) -> None:
        super().__init__()
        inputs = widths[-1]
        self.conv_in = nn.Conv2d(latents, inputs, 3, padding=1)
        self.mid_block = _Middle(inputs, groups, attention)
        self.up_blocks = nn.ModuleList()
        for place, width in enumerate(reversed(widths)):
            block = _Block(inputs, width, layers + 1, groups)
            if place < len(widths) - 1:
                block.upsamplers = nn.ModuleList([Up(width)])
            self.up_blocks.append(block)
            inputs = width
        self.conv_norm_out = nn.GroupNorm(groups, inputs, eps=_EPSILON)
        self.conv_out = nn.Conv2d(inputs, _COLOURS, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(functional.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):  # type: ignore[misc]
    def __init__(self, settings: Mapping[str, Any], attention: str) -> None:
        super().__init__()
        widths = [int(width) for width in settings["block_out_channels"]]
        layers, groups = int(settings["layers_per_block"]), int(settings["norm_num_groups"])
        latents = int(settings["latent_channels"])
        self.encoder = _Encoder(widths, layers, groups, latents, attention)
        self.decoder = _Decoder(widths, layers, groups, latents, attention)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1)
        self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    def encode(self, pictures: Any) -> Any:
        """The mean of the latent distribution, without chance: [rows, latents, height, width]."""
        return self.quant_conv(self.encoder(pictures)).chunk(2, dim=1)[0]

    def decode(self, latents: Any) -> Any:
        return self.decoder(self.post_quant_conv(latents))
