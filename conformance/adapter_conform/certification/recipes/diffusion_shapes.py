"""Names and shapes of Stable Diffusion's weights, as diffusers and transformers have them. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["diffusion_shapes"]

Shapes = dict[str, tuple[int, ...]]


def diffusion_shapes(settings: Mapping[str, Any]) -> Shapes:
    """Of ``unet``, ``vae`` and ``text_encoder``; linear layers are [out, in]."""
    parts = (
        ("unet.", _unet(settings["unet"])),
        ("vae.", _autoencoder(settings["vae"])),
        ("text_encoder.text_model.", _text_encoder(settings["text_encoder"])),
    )
    return {prefix + name: shape for prefix, shapes in parts for name, shape in shapes.items()}


def _convolution(inputs: int, outputs: int, window: int = 3) -> Shapes:
    return {"weight": (outputs, inputs, window, window), "bias": (outputs,)}


def _linear(inputs: int, outputs: int, bias: bool = True) -> Shapes:
    return {"weight": (outputs, inputs), **({"bias": (outputs,)} if bias else {})}


def _norm(width: int) -> Shapes:
    return {"weight": (width,), "bias": (width,)}


def _named(**parts: Shapes) -> Shapes:
    """``a__b`` stands for ``a.b``."""
    joined = {name.replace("__", "."): shapes for name, shapes in parts.items()}
    return {f"{prefix}.{name}": shape for prefix, shapes in joined.items() for name, shape in shapes.items()}


def _listed(name: str, parts: list[Shapes]) -> Shapes:
    return {f"{name}.{place}.{key}": shape for place, part in enumerate(parts) for key, shape in part.items()}


def _residual(inputs: int, outputs: int, embedding: int = 0) -> Shapes:
    shapes = _named(
        norm1=_norm(inputs),
        conv1=_convolution(inputs, outputs),
        norm2=_norm(outputs),
        conv2=_convolution(outputs, outputs),
    )
    if embedding:
        shapes |= _named(time_emb_proj=_linear(embedding, outputs))
    return shapes | (_named(conv_shortcut=_convolution(inputs, outputs, 1)) if inputs != outputs else {})


def _attention(width: int, context: int, bias: bool) -> Shapes:
    return _named(
        to_q=_linear(width, width, bias),
        to_k=_linear(context, width, bias),
        to_v=_linear(context, width, bias),
        to_out__0=_linear(width, width),
    )


def _transformer(width: int, context: int) -> Shapes:
    layer = _named(
        norm1=_norm(width),
        attn1=_attention(width, width, False),
        norm2=_norm(width),
        attn2=_attention(width, context, False),
        norm3=_norm(width),
        ff__net__0__proj=_linear(width, 8 * width),
        ff__net__2=_linear(4 * width, width),
    )
    ends = {"norm": _norm(width), "proj_in": _convolution(width, width, 1), "proj_out": _convolution(width, width, 1)}
    return _named(**ends) | _listed("transformer_blocks", [layer])


def _unet(settings: Mapping[str, Any]) -> Shapes:
    widths = [int(width) for width in settings["block_out_channels"]]
    layers, context, embedding = int(settings["layers_per_block"]), int(settings["cross_attention_dim"]), 4 * widths[0]

    def block(resnets: list[tuple[int, int]], kind: str) -> Shapes:
        shapes = _listed("resnets", [_residual(*sizes, embedding) for sizes in resnets])
        asked = [_transformer(outputs, context) for _, outputs in resnets] if "CrossAttn" in kind else []
        return shapes | _listed("attentions", asked)

    kept, down, up = [widths[0]], [], []
    for place, (kind, width) in enumerate(zip(settings["down_block_types"], widths, strict=True)):
        shapes = block([(kept[-1] if number == 0 else width, width) for number in range(layers)], kind)
        kept += [width] * layers
        if place < len(widths) - 1:
            shapes |= _named(downsamplers__0__conv=_convolution(width, width))
            kept.append(width)
        down.append(shapes)
    last = width = widths[-1]
    for place, (kind, outputs) in enumerate(zip(settings["up_block_types"], reversed(widths), strict=True)):
        sizes = [((width if number == 0 else outputs) + kept.pop(), outputs) for number in range(layers + 1)]
        width = outputs
        more = _named(upsamplers__0__conv=_convolution(outputs, outputs)) if place < len(widths) - 1 else {}
        up.append(block(sizes, kind) | more)
    middle = _listed("resnets", [_residual(last, last, embedding)] * 2)
    return {
        **_named(
            conv_in=_convolution(int(settings["in_channels"]), widths[0]),
            time_embedding__linear_1=_linear(widths[0], embedding),
            time_embedding__linear_2=_linear(embedding, embedding),
            mid_block=middle | _listed("attentions", [_transformer(last, context)]),
            conv_norm_out=_norm(widths[0]),
            conv_out=_convolution(widths[0], int(settings["out_channels"])),
        ),
        **_listed("down_blocks", down),
        **_listed("up_blocks", up),
    }


def _autoencoder(settings: Mapping[str, Any]) -> Shapes:
    widths = [int(width) for width in settings["block_out_channels"]]
    layers, latents, last = int(settings["layers_per_block"]), int(settings["latent_channels"]), widths[-1]
    middle = _listed("resnets", [_residual(last, last)] * 2)
    middle |= _listed("attentions", [_attention(last, last, True) | _named(group_norm=_norm(last))])

    def blocks(order: list[int], first: int, count: int, change: str) -> list[Shapes]:
        found, inputs = [], first
        for place, width in enumerate(order):
            shapes = _listed("resnets", [_residual(inputs if n == 0 else width, width) for n in range(count)])
            if place < len(order) - 1:
                shapes |= _named(**{f"{change}__0__conv": _convolution(width, width)})
            found.append(shapes)
            inputs = width
        return found

    def half(inputs: int, outputs: int, order: list[int], first: int, changes: Shapes) -> Shapes:
        return changes | _named(
            conv_in=_convolution(inputs, first),
            mid_block=middle,
            conv_norm_out=_norm(order[-1]),
            conv_out=_convolution(order[-1], outputs),
        )

    down = _listed("down_blocks", blocks(widths, widths[0], layers, "downsamplers"))
    up = _listed("up_blocks", blocks(widths[::-1], last, layers + 1, "upsamplers"))
    return _named(
        encoder=half(3, 2 * latents, widths, widths[0], down),
        decoder=half(latents, 3, widths[::-1], last, up),
        quant_conv=_convolution(2 * latents, 2 * latents, 1),
        post_quant_conv=_convolution(latents, latents, 1),
    )


def _text_encoder(settings: Mapping[str, Any]) -> Shapes:
    width, inner = int(settings["hidden_size"]), int(settings["intermediate_size"])
    attention = {f"{name}_proj": _linear(width, width) for name in ("q", "k", "v", "out")}
    layer = _named(
        self_attn=_named(**attention),
        layer_norm1=_norm(width),
        mlp__fc1=_linear(width, inner),
        mlp__fc2=_linear(inner, width),
        layer_norm2=_norm(width),
    )
    return {
        "embeddings.token_embedding.weight": (int(settings["vocab_size"]), width),
        "embeddings.position_embedding.weight": (int(settings["max_position_embeddings"]), width),
        **_listed("encoder.layers", [layer] * int(settings["num_hidden_layers"])),
        **_named(final_layer_norm=_norm(width)),
    }
