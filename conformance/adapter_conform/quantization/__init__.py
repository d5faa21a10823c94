"""Quantization of a language model's linear layers, and the layers that run quantized on a device.

``integers``, ``calibration`` and ``gptq`` decide on numbers and need NumPy alone; ``linears`` and ``layout`` put them
on a device; ``schemes`` names the ways that are offered.
"""
