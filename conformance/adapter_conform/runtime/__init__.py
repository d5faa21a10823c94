"""The checks of the runtime suite: memory, copies, streams and events, cards, and the framework on top of them.

Importing this package registers every check; :data:`CHECKS` holds them in the order in which they are planned.
"""

# The order of these imports is the order of the plan.
from adapter_conform.runtime import memory, memory_callbacks  # isort: skip
from adapter_conform.runtime import copies, copy_callbacks, streams, stream_work  # isort: skip
from adapter_conform.runtime import devices, capabilities, generators, framework, programs, profiling  # isort: skip
from adapter_conform.runtime.check import CHECKS, Check

__all__ = [
    "CHECKS",
    "Check",
    "capabilities",
    "copies",
    "copy_callbacks",
    "devices",
    "framework",
    "generators",
    "memory",
    "memory_callbacks",
    "profiling",
    "programs",
    "stream_work",
    "streams",
]
