"""Training over several cards in bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from unittest import mock

from adapter_sdk.compat._mend import Mend

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["MENDS"]

_TRIED = ">=3.3"
"""Older releases lay these modules out differently; nobody has tried them."""


def _in_bfloat16(plugin: LoadedPlugin) -> bool:
    return plugin.collectives is not None and plugin.kernel_supported("matmul", "bfloat16")


def _identity(plugin: LoadedPlugin, original: Callable[..., Any]) -> Callable[..., Any]:
    import paddle

    def identity(tensor: Any, *arguments: Any, **named: Any) -> Any:
        if paddle.in_dynamic_mode() and tensor.dtype == paddle.bfloat16:
            return paddle.assign(tensor)
        return original(tensor, *arguments, **named)

    return identity


def _clip(plugin: LoadedPlugin, original: Any) -> Any:
    import paddle

    class ClipInAnyDtype(original):  # type: ignore[misc]
        def _comm_and_clip(self, *arguments: Any, **named: Any) -> Any:
            # Asked for a place that is no CustomPlace, Paddle also makes the bfloat16 factor.
            with mock.patch.object(paddle.framework, "_current_expected_place", paddle.CPUPlace):
                return super()._comm_and_clip(*arguments, **named)

    return ClipInAnyDtype


MENDS = (
    Mend(
        name="bfloat16 c_identity",
        reason="Paddle's wheel registers c_identity for custom devices in every floating dtype but bfloat16, which "
        "tensor parallel layers call on their inputs (Paddle 3.3); it is a copy",
        module="paddle._C_ops",
        attribute="c_identity",
        wanted=_in_bfloat16,
        replacement=_identity,
        releases=_TRIED,
    ),
    *(
        Mend(
            name=f"bfloat16 HybridParallelClipGrad in {module.rpartition('.')[2]}",
            reason="fleet's gradient clipping makes the factor for bfloat16 gradients only on CustomPlaces named npu, "
            "iluvatar_gpu or metax_gpu, and dies of an unbound variable on others (Paddle 3.3)",
            module=f"paddle.distributed.fleet.{module}",
            attribute="HybridParallelClipGrad",
            wanted=_in_bfloat16,
            replacement=_clip,
            releases=_TRIED,
        )
        for module in (
            "meta_optimizers.dygraph_optimizer.hybrid_parallel_optimizer",
            "meta_parallel.sharding.group_sharded_optimizer_stage2",
        )
    ),
)
