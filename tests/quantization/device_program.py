"""What test_on_device.py runs in a process of its own: every scheme on refchip, beside its definition in NumPy.

Prints one JSON line for each finding, with its name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from adapter_conform.quantization.calibration import calibrated
from adapter_conform.quantization.gptq import gptq
from adapter_conform.quantization.integers import IntegerWeight, dequantized, quantized
from adapter_conform.quantization.layout import on_device
from adapter_conform.quantization.schemes import SCHEMES, calibration_texts, linears_of, numpy_dtype
from adapter_conform.serving.decoder import linear_weights
from adapter_conform.serving.engine import Engine, EngineSettings
from adapter_conform.serving.forced import forced_logits, record_inputs
from adapter_conform.serving.oracle import oracle_logits
from adapter_conform.serving.shape import DecoderShape, drawn_weights
from adapter_conform.session import open_session

session = open_session("refchip", 0)
paddle = session.paddle
SHAPE = DecoderShape(vocabulary=96, hidden=128, intermediate=176, layers=2, positions=64, qkv_bias=True)
WEIGHTS = drawn_weights(SHAPE, 0)
TEXTS = calibration_texts(SHAPE, seed=7, texts=3, length=30)
SEEN = record_inputs(paddle, SHAPE, WEIGHTS, calibration_texts(SHAPE))


def report(name: str, **found: Any) -> None:
    print(json.dumps({"name": name, **found}), flush=True)


def products_of(scheme: str, dtype: str) -> dict[str, Any]:
    """The products of the linear layers as the scheme defines them."""
    products: dict[str, Any] = {}
    kind, _, suffix = scheme.partition("-")
    for name, (weight, _) in linear_weights(SHAPE, WEIGHTS).items():
        if kind == "a8w8":
            products[name] = calibrated(weight, SEEN[name], suffix or "absmax")
            continue
        group = int(suffix[1:]) if suffix else -1
        own = numpy_dtype(dtype)
        if kind == "gptq4":
            integers = gptq(weight, SEEN[name], 4, group, scale_dtype=own)
        else:
            integers = quantized(weight.astype(own).astype(np.float32), int(kind[3:]), group, own)
        whole = dequantized(integers)
        products[name] = lambda x, whole=whole: x @ whole
    return products


def schemes() -> None:
    exact = [oracle_logits(SHAPE, WEIGHTS, text) for text in TEXTS]
    for dtype, names in (("float32", SCHEMES[1:]), ("bfloat16", ("int8", "int4-g64", "gptq4-g64", "a8w8-smooth"))):
        for scheme in names:
            make = linears_of(scheme, paddle, SHAPE, WEIGHTS, dtype)
            engine = Engine(paddle, SHAPE, WEIGHTS, EngineSettings(dtype, blocks=16), make)
            with session.watch() as calls:
                logits = np.concatenate(forced_logits(engine, TEXTS))
            products = products_of(scheme, dtype)
            wanted = np.concatenate([oracle_logits(SHAPE, WEIGHTS, text, products) for text in TEXTS])
            spread = float(np.sqrt(np.mean(np.concatenate(exact) ** 2)))
            report(
                f"{scheme} {dtype}",
                off=float(np.sqrt(np.mean((logits - wanted) ** 2))) / spread,
                error=float(np.sqrt(np.mean((logits - np.concatenate(exact)) ** 2))) / spread,
                products={k: v for k, v in calls.total().items() if "matmul" in k or "linear" in k},
                weight_bytes=engine.decoder.weight_bytes,
                numbers=sum(weight.size for weight, _ in linear_weights(SHAPE, WEIGHTS).values()),
            )


@contextmanager
def nibbles_in_the_wrong_order() -> Iterator[None]:
    """The product takes the second number of each byte for the first."""
    linear = paddle.nn.quant.weight_only_linear

    def swapped(x: Any, weight: Any, *rest: Any) -> Any:
        raw = weight.numpy().view("uint8")
        return linear(x, paddle.to_tensor((raw << 4 | raw >> 4).view("int8")), *rest)

    with mock.patch.object(paddle.nn.quant, "weight_only_linear", swapped):
        yield


@contextmanager
def scales_along_the_wrong_axis() -> Iterator[None]:
    """The product reads its scales as if they lay channel after channel."""
    linear = paddle.nn.quant.weight_only_linear

    def turned(x: Any, weight: Any, bias: Any, scales: Any, *rest: Any) -> Any:
        wrong = np.ascontiguousarray(scales.numpy().T).reshape(scales.shape)
        return linear(x, weight, bias, paddle.to_tensor(wrong), *rest)

    with mock.patch.object(paddle.nn.quant, "weight_only_linear", turned):
        yield


def faults() -> None:
    for fault in (nibbles_in_the_wrong_order, scales_along_the_wrong_axis):
        make = linears_of("int4-g64", paddle, SHAPE, WEIGHTS, "float32")
        with fault():
            engine = Engine(paddle, SHAPE, WEIGHTS, EngineSettings("float32", blocks=16), make)
            logits = forced_logits(engine, TEXTS[:1])[0]
        wanted = oracle_logits(SHAPE, WEIGHTS, TEXTS[0], products_of("int4-g64", "float32"))
        report(fault.__name__, off=float(np.sqrt(np.mean((logits - wanted) ** 2) / np.mean(wanted**2))))


def own_integers() -> None:
    """Integers that no rounding of a weight would give, led past the device's own choice of scales."""
    random = np.random.RandomState(0)
    same = []
    for bits, bound in ((8, 127), (4, 7)):
        for group in (-1, 64):
            numbers = random.randint(-bound // 2, bound // 2 + 1, (160, 16)).astype(np.int8)
            scales = random.uniform(0.5, 2.0, (1 if group == -1 else 3, 16)).astype(np.float16).astype(np.float32)
            weight = IntegerWeight(numbers, scales, bits, group)
            tensor, on_board = on_device(paddle, weight, "float16")
            algorithm = f"weight_only_int{bits}"
            back = paddle.nn.quant.weight_dequantize(tensor, on_board, algorithm, group_size=group)
            wanted = dequantized(weight).astype(np.float16)
            same.append(bool(np.array_equal(back.numpy(), wanted)))
    report("own integers", same=same)


def nibbles_swapped() -> None:
    """A device that mixes up the two numbers of a byte is found out when integers are placed."""
    right = paddle.nn.quant.weight_dequantize
    paddle.nn.quant.weight_dequantize = lambda x, *rest, **named: right(
        paddle.to_tensor(((x.numpy().view("uint8") << 4) | (x.numpy().view("uint8") >> 4)).view("int8")), *rest, **named
    )
    try:
        on_device(paddle, quantized(np.random.RandomState(0).standard_normal((64, 16)), 4), "float16")
        report("nibbles", error="")
    except RuntimeError as error:
        report("nibbles", error=str(error))
    finally:
        paddle.nn.quant.weight_dequantize = right


schemes()
faults()
own_integers()
nibbles_swapped()
sys.stdout.flush()
os._exit(0)
