"""From a parsed line to the call it stands for: which function, with which Python arguments."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from adapter_conform.replay.syntax import DtypeArg, SliceArg, TensorArg, Value

__all__ = ["resolve", "substitute"]


def resolve(paddle: ModuleType, api: str) -> Callable[..., Any]:
    """The function that ``api`` names, e.g. ``"paddle.Tensor.astype"``.

    Raises:
        AttributeError: this Paddle has no such function.
    """
    target: Any = paddle
    for name in api.split(".")[1:]:
        target = getattr(target, name)
    if not callable(target):
        raise AttributeError(f"{api} is no function in Paddle {paddle.__version__}")
    function: Callable[..., Any] = target
    return function


def substitute(value: Value, tensor: Callable[[TensorArg], Any]) -> Any:
    """``value`` as Python has it: tensors through ``tensor`` (in order), slices as ``slice``, dtypes as their names."""
    if isinstance(value, TensorArg):
        return tensor(value)
    if isinstance(value, DtypeArg):
        return value.name
    if isinstance(value, SliceArg):
        return slice(*(substitute(bound, tensor) for bound in (value.start, value.stop, value.step)))
    if isinstance(value, list):
        return [substitute(item, tensor) for item in value]
    if isinstance(value, tuple):
        return tuple(substitute(item, tensor) for item in value)
    return value
