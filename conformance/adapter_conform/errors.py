"""What the frame raises.

ConformError            something prevents the run; exit code 3, since nothing was proved about the plugin
└── UsageProblem        the request itself is wrong (option, suite name, output folder); exit code 2
"""

from __future__ import annotations

__all__ = ["ConformError", "UsageProblem"]


class ConformError(Exception):
    """The run cannot go on. The message says what, where, why and what to do."""


class UsageProblem(ConformError):
    """What was asked for cannot be done as asked. Nothing has run."""
