"""What is raised for a pack that cannot be trusted."""

from __future__ import annotations

from adapter_conform.errors import UsageProblem

__all__ = ["PackError"]


class PackError(UsageProblem):
    """The pack is corrupt, foreign, or no pack. The message says which file, what is wrong and what to do."""
