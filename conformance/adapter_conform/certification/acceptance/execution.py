"""Where it ran and in which dtype: proof from the device's own counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapter_conform.cases import GateFigure
from adapter_conform.certification.acceptance.figures import at_most, fulfilled, inconclusive
from adapter_conform.certification.measurement import Measurement

__all__ = ["execution"]

_PRODUCTS = ("matmul", "addmm", "bmm", "linear", "fc", "fused_gemm_epilogue", "conv2d")
"""Operators that carry the arithmetic of a transformer or a diffusion model; mixed precision (AMP O1) leaves others in
float32."""


def execution(device: Measurement) -> Iterator[GateFigure]:
    """Products ran in the precision asked for, nothing fell back to the CPU, every parameter lay on the device."""
    yield _dtype(device)
    for key, words in (("fell_back", "kernels of another device"), ("off_device", "parameters elsewhere")):
        names = device.executed.get(key)
        if not isinstance(names, list):
            yield inconclusive("execution", words, "the run did not record it")
        else:
            yield fulfilled("execution", words, ", ".join(map(str, names[:8])))


def _dtype(device: Measurement) -> GateFigure:
    """At most a tenth of the products in another dtype: mixed precision keeps a few, e.g. rotary tables, in float32."""
    kernels = device.executed.get("kernels")
    calls = _products(kernels if isinstance(kernels, Mapping) else {})
    total = sum(calls.values())
    words = ", ".join(f"{dtype} {count}" for dtype, count in sorted(calls.items()))
    if not total:
        return inconclusive("execution", "dtype of products", "no product was counted on the device")
    other = total - calls.get(device.precision, 0)
    limit = 0.1 if device.precision != "float32" else 0.0
    return at_most("execution", f"products not in {device.precision}", other / total, limit, f"calls: {words}")


def _products(kernels: Mapping[str, object]) -> dict[str, int]:
    """Calls by dtype."""
    calls: dict[str, int] = {}
    for key, count in kernels.items():
        operator, _, dtype = str(key).rpartition("/")
        if operator.removesuffix("_grad") in _PRODUCTS and isinstance(count, int):
            calls[dtype] = calls.get(dtype, 0) + count
    return calls
