"""The checks of the runtime suite: memory, copies, streams and events, cards, and the framework on top of them.

Importing this package registers every check; :data:`CHECKS` holds them in the order in which they are planned.
"""

from adapter_conform.runtime import memory  # isort: skip  # the order of these imports is the order of the plan
from adapter_conform.runtime import copies, streams, devices, framework  # isort: skip
from adapter_conform.runtime.check import CHECKS, Check

__all__ = ["CHECKS", "Check", "copies", "devices", "framework", "memory", "streams"]
