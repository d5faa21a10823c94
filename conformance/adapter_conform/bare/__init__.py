"""Devices that know nothing of this SDK: a bare library in ``paddle_custom_device/``, judged as it is.

There are no hooks and no table. What the device can do, Paddle's kernel registry says (:mod:`description`); that it
did it, counters in front of the functions that the registry holds (:mod:`counting`).
"""
