"""What PaddleNLP 3.0.0b4 gets wrong when a model is spread over cards. Imports nothing of it: modules are handed in."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["average_expert_gradients", "clip_with_experts", "is_expert", "mend_reshard", "mend_ring_attention"]

_MARK = "_adapter_conform_mended"
_EXTENSION = "paddlenlp_ops"


class _AlltoallInFirst:
    """``paddle.distributed`` as a module sees it that was written when ``alltoall`` took its input first."""

    def __init__(self, distributed: ModuleType) -> None:
        self._distributed = distributed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._distributed, name)

    def alltoall(self, inputs: Any, outputs: Any, *arguments: Any, **named: Any) -> Any:
        return self._distributed.alltoall(outputs, inputs, *arguments, **named)


def mend_reshard(paddle: ModuleType, module: Any) -> None:
    """Mends ``paddlenlp.transformers.segment_parallel_utils`` in place; a second call changes nothing.

    Since Paddle 3.0 ``alltoall`` takes its outputs first. The module passes them second, so that Ulysses' exchange of
    heads and positions sends memory that nobody has written and leaves its results in the inputs.
    """
    takes_outputs_first = next(iter(inspect.signature(paddle.distributed.alltoall).parameters)).startswith("out")
    if takes_outputs_first and not getattr(module, _MARK, False):
        module.dist = _AlltoallInFirst(paddle.distributed)
        setattr(module, _MARK, True)


def mend_ring_attention(paddle: ModuleType, module: Any) -> None:
    """Mends ``paddlenlp.transformers.ring_flash_attention`` in place; a second call changes nothing.

    Its backward pass imports ``flash_attn_bwd`` from an extension built with CUDA. Paddle's own gradient kernel takes
    the same arguments in the same order; the extension is there, for this function and while it runs, made of it.
    """
    if getattr(module, _MARK, False):
        return
    backward = module.balanced_ring_flash_attention_bwd_func

    def mended(*arguments: Any, **named: Any) -> Any:
        with _extension(paddle):
            return backward(*arguments, **named)

    module.balanced_ring_flash_attention_bwd_func = mended
    setattr(module, _MARK, True)


@contextmanager
def _extension(paddle: ModuleType) -> Iterator[None]:
    if _EXTENSION in sys.modules:  # the real one
        yield
        return
    stand_in = ModuleType(_EXTENSION)
    stand_in.flash_attn_bwd = paddle._C_ops.flash_attn_grad  # type: ignore[attr-defined]
    sys.modules[_EXTENSION] = stand_in
    try:
        yield
    finally:
        del sys.modules[_EXTENSION]


def is_expert(parameter: Any) -> bool:
    """Whether a parameter belongs to an expert that no other rank has."""
    return bool(getattr(parameter, "no_sync", False))


def average_expert_gradients(model: Any, ranks: int) -> None:
    """Lets the gradients of experts be means over the ``ranks`` that send them tokens, as all other gradients are.

    An expert sees the tokens of every rank, and its gradient is the sum of what their losses give, while data
    parallelism divides by the number of ranks. Neither Paddle nor PaddleNLP's trainer divides these.
    """
    for parameter in model.parameters():
        if is_expert(parameter):
            parameter.register_hook(lambda gradient: gradient.scale(1.0 / ranks))


def clip_with_experts(paddle: ModuleType, limit: float, group: Any) -> Any:
    """Clipping by the norm of all gradients, the experts of all ranks of ``group`` included.

    PaddleNLP's trainer takes each rank's own norm, so that ranks scale the same gradient differently and drift apart.
    Paddle's class for it takes the norm of bfloat16 gradients in bfloat16, square root and quotient included, and
    multiplies them into float32 ones, which the optimizer's kernel for bfloat16 is then given: here all is done in
    float32, and the gradients get their dtype back.
    """
    experts = importlib.import_module(f"{paddle.__name__}.incubate.distributed.models.moe")  # Paddle itself does not

    class Clip(experts.ClipGradForMOEByGlobalNorm):  # type: ignore[misc,name-defined]
        def _dygraph_clip(self, pairs: Any) -> Any:
            dtypes = {parameter.name: gradient.dtype for parameter, gradient in pairs if gradient is not None}
            wide = [(parameter, gradient.astype("float32")) for parameter, gradient in pairs if gradient is not None]
            return [
                (parameter, gradient.astype(dtypes[parameter.name]))
                for parameter, gradient in super()._dygraph_clip(wide)
            ]

    return Clip(limit, is_expert, group)
