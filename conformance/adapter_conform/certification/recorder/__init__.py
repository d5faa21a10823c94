"""Trains and scores every recipe with PyTorch and writes a reference pack.

Runs where there is nothing but torch, transformers (with the safetensors it brings) and NumPy: no Paddle, no internet.
Whatever it imports of ``adapter_conform`` travels with it, see :mod:`archive`.
"""
