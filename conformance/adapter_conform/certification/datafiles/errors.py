"""What is wrong with a data file."""

from __future__ import annotations

from adapter_conform.errors import UsageProblem

__all__ = ["DataError"]


class DataError(UsageProblem):
    """A data file is not of its format. The message names file, line or byte, and what to do."""
