"""Inference on the device under test.

``layers.py``     a model in a scheme of the standard: its linear layers quantized, the rest in the scheme's dtype
``ways.py``       the ways a model runs: eager, exported under paddle.inference, served from a paged cache
``load.py``       how many requests a second the serving engine bears
``exporting.py``  a static program under paddle.inference
``measuring.py``  a whole recipe -> its measurement

Of Stable Diffusion:

``networks.py``   its networks in a scheme, eager and exported
``painting.py``   a whole recipe -> its measurement
"""
