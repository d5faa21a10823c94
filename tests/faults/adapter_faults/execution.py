"""Not the numbers but the way they come about: elsewhere, in another dtype, now and then, or never."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from adapter_faults.call import Call
from adapter_faults.table import after, before, wrapped

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__: list[str] = []


@before("sin/float32", sees="crashed", example="eager-0")
def crash(call: Call) -> bool:
    """The driver reads address 0."""
    ctypes.string_at(0)
    return False


@before("rsqrt/float16", sees="hung", alone=True, example="eager-0")
def hang(call: Call) -> bool:
    """The kernel never comes back."""
    while True:
        time.sleep(1)


@after("floor/*", sees="exact repeat streams")
def one_call_in_twenty(call: Call) -> None:
    """One call in twenty, by chance, gives a wrong element."""
    y = call.output()
    if y.size and np.random.default_rng().random() < 0.05:
        y.reshape(-1)[0] = np.nan_to_num(y.reshape(-1)[0]) + 1
        call.write(y)


def _rerouted(paddle: Any, name: str, dtype: str, route: Any) -> Any:
    """A patch of Paddle's entry ``name``: eager calls with a first operand of ``dtype`` take ``route(real, ...)``."""
    real = getattr(paddle._C_ops, name)

    def entry(*arguments: Any, **named: Any) -> Any:
        first = arguments[0]
        if isinstance(first, paddle.Tensor) and str(first.dtype).endswith(f".{dtype}"):
            return route(real, *arguments, **named)
        return real(*arguments, **named)

    return mock.patch.object(paddle._C_ops, name, entry)


@wrapped("ops", "isinf/float32", sees="fell_back")
def silent_fallback(session: Session) -> Iterator[None]:
    """The operator is computed on the host, and the right result brought back."""

    def on_host(real: Any, x: Any) -> Any:
        return real(x.cpu())._copy_to(session.paddle.framework._current_expected_place(), True)

    with _rerouted(session.paddle, "isinf", "float32", on_host):
        yield


@wrapped("ops", "tanh/float16", sees="vacuous")
def widened_inside(session: Session) -> Iterator[None]:
    """A float16 operator is computed in float32 and its right result rounded, by kernels for another dtype."""
    paddle = session.paddle

    def widened(real: Any, x: Any) -> Any:
        return paddle.cast(real(paddle.cast(x, "float32")), "float16")

    with _rerouted(paddle, "tanh", "float16", widened):
        yield


@wrapped("ops", "cos/float16", sees="form")
def widened_result(session: Session) -> Iterator[None]:
    """A float16 operator gives its right result as float32."""
    paddle = session.paddle

    def widened(real: Any, x: Any) -> Any:
        return real(paddle.cast(x, "float32"))

    with _rerouted(paddle, "cos", "float16", widened):
        yield
