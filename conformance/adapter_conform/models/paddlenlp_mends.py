"""What PaddleNLP 3.0.0b4 gets wrong on the Paddle of today. Imports nothing of it: modules are handed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["mend_fused_rope", "mend_moe_gate", "room_for_all"]

_MARK = "_adapter_conform_mended"


class _CumsumKeepsDtype:
    """``paddle`` as a module sees it, with ``cumsum`` of int32 giving int32 as it did when the module was written."""

    def __init__(self, paddle: ModuleType) -> None:
        self._paddle = paddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._paddle, name)

    def cumsum(self, x: Any, *arguments: Any, **named: Any) -> Any:
        result = self._paddle.cumsum(x, *arguments, **named)
        return result if result.dtype == x.dtype else result.cast(x.dtype)


def _detached(gating: Any) -> Any:
    """A gating function whose dispatch mask carries no gradient.

    Paddle keeps gradients through a cast to bool, and the function casts its weights without ``detach``: the router's
    gradient comes out some ten thousand times too large, while the loss of the first step is right.
    """

    def gate(self: Any, *arguments: Any, **named: Any) -> Any:
        capacity, combine_weights, dispatch_mask, *rest = gating(self, *arguments, **named)
        return (capacity, combine_weights, dispatch_mask.detach(), *rest)

    return gate


def mend_moe_gate(paddle: ModuleType, moe_gate: Any) -> None:
    """Mends ``paddlenlp.transformers.moe_gate`` in place; a second call changes nothing."""
    if getattr(moe_gate, _MARK, False):
        return
    moe_gate.paddle = _CumsumKeepsDtype(paddle)
    for name in ("top2gating", "topkgating"):
        setattr(moe_gate.PretrainedMoEGate, name, _detached(getattr(moe_gate.PretrainedMoEGate, name)))
    setattr(moe_gate, _MARK, True)


def mend_fused_rope(model: Any) -> None:
    """Lets a model built with ``use_fused_rope`` have it: its attention layers switch it off, with a warning, on any
    device without gpu in its name. Does nothing to other models."""
    if getattr(model.config, "use_fused_rope", False):
        for layer in model.sublayers():
            if hasattr(layer, "use_fused_rope"):
                layer.use_fused_rope = True


@contextmanager
def room_for_all(model: Any, tokens: int) -> Iterator[None]:
    """Lets a mixture of experts be exported for batches of ``tokens``; does nothing to other models.

    As PaddleNLP has it, every expert gets as much room as the busiest one needs, a number that is read back in the
    midst of the pass: no program has such a shape. Within the block every expert has room for all tokens, so that none
    is left out, and the numbers are the same. The default of the scoring function is named, for without a name there
    is a warning that cannot be exported either.
    """
    gates = [layer for layer in model.sublayers() if getattr(layer, "drop_tokens", None) is False]
    fixed = {"drop_tokens": True, "drop_policy": "position", "min_capacity": tokens, "max_capacity": tokens}
    before = [{name: getattr(gate, name) for name in fixed} for gate in gates]
    for gate in gates:
        gate.scoring_func = getattr(gate, "scoring_func", None) or "softmax"
        for name, value in fixed.items():
            setattr(gate, name, value)
    try:
        yield
    finally:
        for gate, values in zip(gates, before, strict=True):
            for name, value in values.items():
                setattr(gate, name, value)
