"""Fused attention behind Paddle's public functions.

``F.scaled_dot_product_attention``, ``F.flash_attention.flash_attention`` and ``F.flashmask_attention`` choose in Python
whether to call the fused kernel. On a wheel of Paddle that was built without CUDA they never do, or ask for flags that
this wheel lacks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from adapter_sdk.compat._mend import Mend, TableMend
from adapter_sdk.compat._places import current_device_type, device_type_of

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["MENDS"]

_LONGEST_HEAD = 256  # of a flash attention head, as Paddle's own choice has it

_ABSENT_FLAGS = {"FLAGS_cudnn_deterministic": False, "FLAGS_flash_attn_version": 2}


def _has_flash_attention(plugin: LoadedPlugin) -> bool:
    return any(plugin.kernel_supported("flash_attn", dtype) for dtype in ("float16", "bfloat16", "float32"))


def _flash_backend(module: ModuleType) -> tuple[Any, bool]:
    return module.SDPBackend.FLASH_ATTENTION, True


def _select_sdp(plugin: LoadedPlugin, original: Callable[[int], str]) -> Callable[[int], str]:
    def select(head_dim: int) -> str:
        from paddle.nn.attention.sdpa import SDPBackend, _get_enabled_backends

        here = current_device_type() == plugin.device.device_type
        if here and head_dim <= _LONGEST_HEAD and SDPBackend.FLASH_ATTENTION in _get_enabled_backends():
            return "flash_attn"
        return original(head_dim)

    return select


def _select_before_3_3(plugin: LoadedPlugin, original: Callable[[int], str]) -> Callable[[int], str]:
    def select(head_dim: int) -> str:
        return "flash_attn" if _may_flash_before_3_3(plugin, head_dim) else original(head_dim)

    return select


def _select_for_sdpa_before_3_3(plugin: LoadedPlugin, original: Callable[..., str]) -> Callable[..., str]:
    def select(query: Any, *others: Any, **named: Any) -> str:
        dtype = str(query.dtype).removeprefix("paddle.")
        known = plugin.kernel_supported("flash_attn", dtype) and _may_flash_before_3_3(plugin, int(query.shape[-1]))
        return "flash_attn" if known else original(query, *others, **named)

    return select


def _may_flash_before_3_3(plugin: LoadedPlugin, head_dim: int) -> bool:
    """Whether the device is in use, and the user has not switched the flash backend off (``sdp_kernel``)."""
    here = current_device_type() == plugin.device.device_type
    chosen = sys.modules["paddle.nn.functional.flash_attention"].g_enable_flash  # None where nothing was chosen
    return here and head_dim <= _LONGEST_HEAD and chosen is not False


def _check_dtypes(plugin: LoadedPlugin, original: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check(params: Any) -> bool:
        if any(device_type_of(place) != plugin.device.device_type for place in params.place):
            return original(params)
        dtypes = {str(dtype).removeprefix("paddle.") for dtype in params.dtype}
        return len(dtypes) == 1 and plugin.kernel_supported("flash_attn", dtypes.pop())

    return check


def _get_flags(plugin: LoadedPlugin, original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def get_flags(flags: str | Sequence[str]) -> dict[str, Any]:
        names = [flags] if isinstance(flags, str) else list(flags)
        values = {}
        for name in names:
            try:
                values.update(original([name]))
            except ValueError:
                if name not in _ABSENT_FLAGS:
                    raise
                values[name] = _ABSENT_FLAGS[name]
        return values

    return get_flags


_NO_FLAGS = (
    "flash_attention and flashmask_attention read FLAGS_cudnn_deterministic and FLAGS_flash_attn_version, which only "
    "wheels built with CUDA define: ValueError (Paddle 3.3)"
)

MENDS: tuple[Mend | TableMend, ...] = (
    TableMend(
        name="flash attention backend",
        reason="scaled_dot_product_attention counts the flash backend as enabled only where Paddle was built with CUDA",
        module="paddle.nn.attention.sdpa",
        attribute="_backend_enabled",
        wanted=_has_flash_attention,
        entry=_flash_backend,
        releases=">=3.3",
    ),
    Mend(
        name="flash attention dtypes",
        reason="scaled_dot_product_attention allows the flash backend float16 and bfloat16 only, whatever dtypes the "
        "device's kernel has",
        module="paddle.nn.functional.sdpa",
        attribute="check_dtypes_low_precision_fa",
        wanted=_has_flash_attention,
        replacement=_check_dtypes,
        releases=">=3.3",
    ),
    Mend(
        name="flash attention choice",
        reason="flash_attention takes its unfused path on any device whose name does not contain gpu or xpu",
        module="paddle.nn.functional.flash_attention",
        attribute="_select_sdp",
        wanted=_has_flash_attention,
        replacement=_select_sdp,
        releases=">=3.3",
    ),
    Mend(
        name="flash attention choice before 3.3",
        reason="flash_attention takes its unfused path on any device whose name does not contain gpu or xpu",
        module="paddle.nn.functional.flash_attention",
        attribute="_select_sdp",
        wanted=_has_flash_attention,
        replacement=_select_before_3_3,
        releases="<3.3",
    ),
    Mend(
        name="scaled_dot_product_attention's choice before 3.3",
        reason="scaled_dot_product_attention asks which GPU this is before it takes the flash backend",
        module="paddle.nn.functional.flash_attention",
        attribute="_select_sdp_for_sdpa",
        wanted=_has_flash_attention,
        replacement=_select_for_sdpa_before_3_3,
        releases="<3.3",
    ),
    Mend(
        name="flash attention flags",
        reason=_NO_FLAGS,
        module="paddle",
        attribute="get_flags",
        wanted=_has_flash_attention,
        replacement=_get_flags,
    ),
    Mend(
        name="flash attention flags, as the framework reads them",
        reason=_NO_FLAGS,
        module="paddle.base.framework",
        attribute="get_flags",
        wanted=_has_flash_attention,
        replacement=_get_flags,
    ),
)
