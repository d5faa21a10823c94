"""Runs recipes on the device under test, with Paddle: the counterpart of the recorder.

``workplace.py``   where and in which precision
``building.py``    a recipe's model with its recorded weights
``language.py``    pretraining and supervised fine-tuning
``diffusion.py``   the same of Stable Diffusion, with its sampling
``adapters.py``    low-rank adapters and prefixes
``preference.py``  direct preference optimisation
``descent.py``     the training loop, and what it measures
``measuring.py``   a whole recipe -> its :class:`~adapter_conform.certification.measurement.Measurement`
``restart.py``     going on from a checkpoint in a fresh process
``peak.py``        what a matrix product of the device reaches
"""
