"""What a plugin declares about its kernels, as a table to look up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["declared_kernels"]


def declared_kernels(plugin: LoadedPlugin) -> dict[tuple[str, str], str]:
    """(operator, dtype) -> accumulator dtype ("undefined" where nothing is summed) of every declared kernel."""
    table: dict[tuple[str, str], str] = {}
    for kernel in plugin.kernels:
        table[kernel.operator, kernel.dtype] = kernel.accumulator or "undefined"
    return table
