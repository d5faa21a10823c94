"""Faults that can be planted in a device while it runs, to prove that `adapter-conform` notices them.

A fault is one small function in a family file: it stands between a healthy kernel and Paddle and makes the kernel wrong
in one way, in one operator and dtype. :func:`plant` is the tool that ``ADAPTER_CONFORM_PRELOAD=adapter_faults:plant``
loads into a worker; ``ADAPTER_FAULT`` names the faults. Nothing is compiled, and the device needs no faults of its own.
"""

from __future__ import annotations

from adapter_faults.planting import FAULT_VARIABLE, plant
from adapter_faults.table import Fault, Phase, all_faults, named

__all__ = ["FAULT_VARIABLE", "Fault", "Phase", "all_faults", "named", "plant"]
