"""Stable Diffusion in PyTorch alone: diffusers is not needed on the reference machine.

``blocks.py``        residual blocks, attention, sampling up and down
``unet.py``          the network that predicts noise
``autoencoder.py``   pictures to latent numbers and back
``model.py``         these and the text encoder, as one module
``task.py``          what it trains by and is scored by
``inference.py``     each network and whole sampling in a scheme of inference

Modules have the names that diffusers gives their weights.
"""
