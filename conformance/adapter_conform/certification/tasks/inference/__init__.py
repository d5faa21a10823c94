"""Inference on the device under test.

``layers.py``     a model in a scheme of the standard: its linear layers quantized, the rest in the scheme's dtype
``ways.py``       the ways a model runs: eager, exported under paddle.inference, served from a paged cache
``load.py``       how many requests a second the serving engine bears
``measuring.py``  a whole recipe -> its measurement
"""
