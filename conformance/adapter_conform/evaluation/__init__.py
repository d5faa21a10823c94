"""Public benchmarks on a device: files as they are distributed, few-shot prompts, scores item by item.

``readers`` know the files, ``prompts`` what the model is shown, ``benchmarks`` how each is scored, ``model`` the
process that holds the device, ``sandbox`` how code that a model wrote is run, ``conduct`` the whole run.
"""
