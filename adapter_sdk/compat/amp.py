"""Automatic mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adapter_sdk.compat._mend import Mend
from adapter_sdk.compat._places import current_device_type

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["MENDS"]


def _multiplies_bfloat16(plugin: LoadedPlugin) -> bool:
    return plugin.kernel_supported("matmul", "bfloat16")


def _bfloat16_supported(plugin: LoadedPlugin, original: Callable[[], bool]) -> Callable[[], bool]:
    def supported() -> bool:
        return current_device_type() == plugin.device.device_type or original()

    return supported


MENDS = (
    Mend(
        name="bfloat16 auto_cast",
        reason="auto_cast(dtype='bfloat16') and decorate switch themselves off, with a warning, on any custom device "
        "that is not named npu, intel_hpu, iluvatar_gpu or metax_gpu (Paddle 3.0 to 3.3)",
        module="paddle.amp.auto_cast",
        attribute="_is_custom_device_bfloat16_supported",
        wanted=_multiplies_bfloat16,
        replacement=_bfloat16_supported,
    ),
)
