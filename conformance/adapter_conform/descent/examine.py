"""One call of the reference run, done again on the device with the reference's own inputs, and judged.

Forward results are held against the oracle's derived bound wherever replay knows the API. Gradients, steps of
optimizers, and results that it does not know, are held against the reference in float64: the device may be off by ten
times what the reference is off in float32 (the limit of Ascend msprobe's dual benchmark on the largest error), and no
less than by eight units of the largest element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.catalogue.precision import Arithmetic, is_float
from adapter_conform.judge import judge_call
from adapter_conform.replay.apis.table import Refusal
from adapter_conform.replay.lines import Line, LineFault, prepare, spec_of
from adapter_conform.replay.parser import ReplaySyntaxError, parse_line
from adapter_conform.replay.syntax import Call
from adapter_conform.states import State
from adapter_conform.tensors import dtype_name, from_tensor, to_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapter_conform.session import Session

__all__ = ["Examined", "examine_backward", "examine_forward", "known_line"]

Array = NDArray[Any]
RATIO = 10.0
FLOOR_UNITS = 8.0
RANDOM = frozenset(
    ("dropout", "uniform", "rand", "randn", "randint", "normal", "gaussian", "multinomial", "bernoulli", "randperm")
)


@dataclass
class Examined:
    """The outcome of one examination; ``why_not`` where there was none."""

    state: State
    message: str = ""
    kernels: dict[str, int] | None = None
    expected: list[Array] | None = None
    limits: list[Array] | None = None
    why_not: str = ""


def _nothing(reason: str) -> Examined:
    return Examined(State.NOT_RUN, why_not=reason)


def known_line(text: str) -> Line | None:
    """The call as replay judges it, None where it cannot, or would draw other tensors than the call has."""
    try:
        call = parse_line(text)
        line = prepare(call)
    except (Refusal, ReplaySyntaxError):
        return None
    return line if line.call.tensors == call.tensors else None


def examine_forward(session: Session, text: str, function: Callable[..., Any], arrays: Sequence[Array]) -> Examined:
    """``text`` called on the device with ``arrays`` for its tensors."""
    name = text.partition("(")[0].rpartition(".")[2].rstrip("_")
    line = known_line(text)
    if name in RANDOM and (line is None or not line.view):
        return _nothing("random numbers")
    if line is None:
        return _against_float64(session, text, function, arrays, backward=False)
    try:
        with _on(session, session.device):
            outcome = judge_call(session, spec_of(line), list(arrays), {}, dtype=line.dtype, backward=False)
    except LineFault as fault:
        return _nothing(f"no oracle: {fault}")
    return Examined(outcome.state, outcome.message, outcome.details.get("kernels"))


def examine_backward(session: Session, text: str, function: Callable[..., Any], arrays: Sequence[Array]) -> Examined:
    """The gradients of the call's floating tensors, for the same random gradient of its results everywhere."""
    if text.partition("(")[0].rpartition(".")[2].rstrip("_") in RANDOM:
        return _nothing("random numbers")
    return _against_float64(session, text, function, arrays, backward=True)


def _against_float64(
    session: Session, text: str, function: Callable[..., Any], arrays: Sequence[Array], backward: bool
) -> Examined:
    try:
        call = parse_line(text)
    except ReplaySyntaxError as error:
        return _nothing(f"no such line: {error.problem}")
    wide = [array.astype(np.float64) if is_float(array.dtype.name) else array for array in arrays]
    try:
        exact, _ = _run(session, "cpu", call, function, wide, backward)
        plain, _ = _run(session, "cpu", call, function, arrays, backward)
    except Exception as error:  # whatever Paddle raises: there is then nothing to compare with
        return _nothing(f"no reference on the CPU: {type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}")
    try:
        with session.watch() as calls:
            found, _ = _run(session, session.device, call, function, arrays, backward)
    except Exception as error:  # the device's answer
        return Examined(State.FAILED, f"{type(error).__name__} on {session.device}: {str(error).strip()[-400:]}")
    kernels = calls.total()
    if backward:  # the forward call was judged before
        kernels = {key: n for key, n in kernels.items() if key.partition("/")[0].endswith("_grad")} or kernels
    if not kernels:
        return _nothing("no kernel of the plugin takes part")
    limits = [_limit(e, p, f) for e, p, f in zip(exact, plain, found, strict=True)]
    for index, (e, f, limit) in enumerate(zip(exact, found, limits, strict=True)):
        fault = _fault(e, f, limit)
        if fault:
            what = "gradient" if backward else "output"
            return Examined(State.FAILED, f"{what} {index}: {fault}", kernels, exact, limits)
    return Examined(State.PASSED, "", kernels)


def _limit(exact: Array, plain: Array, found: Array) -> Array:
    """Normwise: the whole tensor's largest element and largest error of the reference count."""
    if not is_float(found.dtype.name):
        return np.zeros(())
    finite = np.abs(exact[np.isfinite(exact)].astype(np.float64))
    u = Arithmetic.of(found.dtype.name).u_out
    floor = FLOOR_UNITS * u * float(finite.max(initial=0.0))
    gap = np.abs(plain.astype(np.float64) - exact.astype(np.float64))
    own = float(gap[np.isfinite(gap)].max(initial=0.0))
    return np.asarray(max(RATIO * own, floor, float(np.finfo(np.float32).tiny)))


def _fault(exact: Array, found: Array, limit: Array) -> str:
    """What is wrong with ``found``; empty where nothing is."""
    if exact.shape != found.shape:
        return f"shape {found.shape}, the reference has {exact.shape}"
    if not is_float(found.dtype.name):
        wrong = int(np.count_nonzero(exact != found))
        return f"{wrong} of {found.size} elements differ" if wrong else ""
    wide, right = found.astype(np.float64), exact.astype(np.float64)
    strange = np.isfinite(right) != np.isfinite(wide)
    if strange.any():
        return f"{int(strange.sum())} elements are finite on one device only"
    error = np.where(np.isfinite(right), np.abs(wide - right), 0.0)
    if error.size and error.max() > limit:
        place = np.unravel_index(int(error.argmax()), error.shape)
        return f"error {error.max():.4g} at {tuple(int(i) for i in place)}, limit {float(limit):.4g}"
    return ""


def _run(
    session: Session, device: str, call: Call, function: Callable[..., Any], arrays: Sequence[Array], backward: bool
) -> tuple[list[Array], list[Any]]:
    """Results, or gradients, as arrays."""
    from adapter_conform.replay.calls import substitute

    paddle = session.paddle
    with _on(session, device):
        tensors = [to_tensor(paddle, array) for array in arrays]
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.stop_gradient = not (backward and is_float(array.dtype.name))
        rest = iter(tensors)
        args = [substitute(value, lambda _: next(rest)) for value in call.args]
        kwargs = {name: substitute(value, lambda _: next(rest)) for name, value in call.kwargs}
        result = function(*args, **kwargs)
        results = [item for item in (result if isinstance(result, (list, tuple)) else [result]) if item is not None]
        if backward:
            flowing = [item for item in results if is_float(dtype_name(item)) and not item.stop_gradient]
            if not flowing:
                raise ValueError("no gradient flows through it")
            cotangents = [_cotangent(paddle, item, index) for index, item in enumerate(flowing)]
            wanted = [tensor for tensor in tensors if not tensor.stop_gradient]
            gradients = paddle.grad(flowing, wanted, cotangents, allow_unused=True)
            results = [gradient for gradient in gradients if gradient is not None]
        return [from_tensor(item) for item in results], results


def _cotangent(paddle: Any, like: Any, index: int) -> Any:
    values = np.random.default_rng(1000 + index).standard_normal(tuple(like.shape)).astype(np.float32)
    return paddle.to_tensor(values).astype(like.dtype)


@contextmanager
def _on(session: Session, device: str) -> Iterator[None]:
    """Paddle's current device is the reference's again afterwards."""
    session.paddle.base.framework._set_expected_place(_place(session.paddle, device))
    try:
        yield
    finally:
        session.paddle.base.framework._set_expected_place(_place(session.paddle, "cpu"))


def _place(paddle: Any, device: str) -> Any:
    if device == "cpu":
        return paddle.CPUPlace()
    name, _, card = device.partition(":")
    return paddle.CustomPlace(name, int(card or 0))
