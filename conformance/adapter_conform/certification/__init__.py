"""Certification by the PaddlePaddle LLM-toolchain standard.

``standard/``       the standard and published throughput, as data
``recipes/``        what is trained and scored: models, data, hyperparameters. NumPy only: it travels with the recorder
``measurement.py``  what a run of a recipe gave, on the device or on the reference; NumPy only
"""
