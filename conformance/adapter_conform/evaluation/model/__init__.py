"""The model on the device, in a process of its own: prompts in, likelihoods or texts out."""
