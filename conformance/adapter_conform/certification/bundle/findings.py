"""What is wrong with a bundle."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    kind: str
    """signature, digest, missing, stray, plan, record, figure, verdict, reference, page"""
    where: str
    """File of the bundle, or id of a case."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"
