"""Failures made small: the smallest failing example of an operator, and a file that shows it without this package."""

from adapter_conform.repro.write import write_repros

__all__ = ["write_repros"]
