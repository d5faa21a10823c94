"""Runs programs that a model wrote, each in a process that has taken everything from itself.

``inside`` is that process. It cannot start processes, threads or programs, open sockets, signal others, write or read
files outside of Python's own library, raise its limits, or see the environment of who started it. What it can do is use
its share of processor and memory, and say that it passed when it did not: nothing here guards a score against a program
that sets out to forge one.
"""

from adapter_conform.evaluation.sandbox.run import (
    Isolation,
    Limits,
    SandboxUnavailable,
    Verdict,
    isolation,
    run_program,
)

__all__ = ["Isolation", "Limits", "SandboxUnavailable", "Verdict", "isolation", "run_program"]
