"""Runs one operator call on the session's device, forward and backward, and reads everything back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.gates import same_bits
from adapter_conform.catalogue.precision import is_float
from adapter_conform.catalogue.spec import Attributes, OperatorSpec
from adapter_conform.tensors import Placed, dtype_name, from_tensor, place, to_tensor

if TYPE_CHECKING:
    from adapter_conform.session import KernelCalls, Session

__all__ = ["Run", "call_once", "execute", "prepared_call", "repeat"]


@dataclass
class Run:
    """What came back from the device, and what was counted meanwhile."""

    outputs: list[Any] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    gradients: list[Array | None] = field(default_factory=list)
    gradient_dtypes: list[str] = field(default_factory=list)
    forward: dict[str, int] = field(default_factory=dict)
    backward: dict[str, int] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    changed: list[GateFigure] = field(default_factory=list)
    aliasing: bool = True
    """Whether every output lies within the storage of an input."""
    gradients_alias: bool = True
    """Whether every gradient lies within the storage of a gradient as it reached an output: the one given to
    ``paddle.grad``, or, on Paddle 3.0, the copy that Paddle makes of it on the device."""
    materialised: set[str] = field(default_factory=set)
    """Dtypes of strided outputs, which the device had to make contiguous before they could be read."""
    gradients_materialised: set[str] = field(default_factory=set)


@contextmanager
def _checked(session: Session) -> Iterator[None]:
    """Fresh outputs are poisoned and fenced with canaries inside the block."""
    session.library.set_checks(poison=True, canary=True)
    try:
        yield
    finally:
        session.library.set_checks(poison=False, canary=False)


def execute(
    session: Session,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    cotangents: Sequence[Array | None],
    static: bool,
    layout: str = "plain",
) -> Run:
    """Runs forward and, with ``cotangents`` (one per output, None where there is none to give), backward.

    Args:
        layout: how the inputs lie in memory, see :func:`adapter_conform.tensors.place`.

    Raises:
        Exception: whatever Paddle, the SDK or the plugin raises.
    """
    paddle = session.paddle
    placed = [place(paddle, array, layout) for array in inputs]
    tensors = [item.tensor for item in placed]
    _want_gradients(tensors, inputs, bool(cotangents))
    run = Run()
    with _checked(session):
        with session.watch() as calls:
            outputs = _callable(paddle, spec, attributes, static)(list(tensors))
            run.outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        run.forward = _counts(calls, static or spec.legacy)
        _read_outputs(session, run, tensors)
        if cotangents:
            _run_backward(session, run, spec, tensors, cotangents, static)
    run.changed = _changed_inputs(spec, placed)
    return run


def call_once(
    paddle: Any,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    cotangents: Sequence[Array | None],
) -> list[Any]:
    """Outputs, and one gradient per floating input where ``cotangents`` hold any, of a call in eager mode on Paddle's
    current stream: tensors that may not be there yet. No poison, no canaries.

    Raises:
        Exception: whatever Paddle, the SDK or the plugin raises.
    """
    return prepared_call(paddle, spec, inputs, attributes, cotangents)()


def prepared_call(
    paddle: Any,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    cotangents: Sequence[Array | None],
) -> Callable[[], list[Any]]:
    """What :func:`call_once` does once its inputs are on the device, to be done as often as wanted."""
    tensors = [to_tensor(paddle, array) for array in inputs]
    _want_gradients(tensors, inputs, bool(cotangents))
    flowing = [None if item is None else to_tensor(paddle, item) for item in cotangents]
    return partial(_call, paddle, spec, tensors, attributes, flowing)


def _call(
    paddle: Any, spec: OperatorSpec, tensors: Sequence[Any], attributes: Attributes, flowing: Sequence[Any]
) -> list[Any]:
    outputs = spec.call(paddle, tensors, attributes)
    results = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    pairs = [(output, item) for output, item in zip(results, flowing, strict=False) if item is not None]
    wanted = [tensor for tensor in tensors if not tensor.stop_gradient]
    if pairs and wanted:
        found = paddle.grad([output for output, _ in pairs], wanted, [item for _, item in pairs], allow_unused=True)
        return [*results, *found]
    return results


def repeat(
    session: Session,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    cotangents: Sequence[Array | None],
    times: int,
) -> Iterator[list[Array | None]]:
    """What :func:`call_once` gives ``times`` times over, one call after the other, read back."""
    for _ in range(times):
        results = call_once(session.paddle, spec, inputs, attributes, cotangents)
        yield [None if item is None else from_tensor(item) for item in results]


def _want_gradients(tensors: Sequence[Any], inputs: Sequence[Array], backward: bool) -> None:
    for tensor, array in zip(tensors, inputs, strict=True):
        tensor.stop_gradient = not (backward and is_float(array.dtype.name))


def _counts(calls: KernelCalls, static: bool) -> dict[str, int]:
    return dict(calls.static if static else calls.eager)


def _callable(paddle: Any, spec: OperatorSpec, attributes: Attributes, static: bool) -> Any:
    def operator(tensors: list[Any]) -> Any:  # to_static takes a list, but no *tensors
        return spec.call(paddle, tensors, attributes)

    return paddle.jit.to_static(operator, full_graph=True) if static else operator


def _read_outputs(session: Session, run: Run, tensors: Sequence[Any]) -> None:
    """Copies the outputs to the host; the device makes strided views contiguous first, which is counted too."""
    run.aliasing = _all_within(run.outputs, tensors)  # before reading: that may move a strided tensor
    with session.watch() as calls:
        run.values = [_read(output, run.materialised) for output in run.outputs]
    for key, count in calls.total().items():
        run.forward[key] = run.forward.get(key, 0) + count
    run.dtypes = [dtype_name(output) for output in run.outputs]
    run.places |= {str(output.place) for output in run.outputs}


def _read(tensor: Any, materialised: set[str]) -> Array:
    if not tensor.is_contiguous():
        materialised.add(dtype_name(tensor))
        tensor = tensor.contiguous()
    return from_tensor(tensor)


def _all_within(views: Sequence[Any], owners: Sequence[Any]) -> bool:
    """Whether each of ``views`` starts inside the storage of one of ``owners``; empty tensors have no address."""
    spans = [(owner.data_ptr(), owner.data_ptr() + int(owner.size) * owner.element_size()) for owner in owners]
    return all(any(start <= view.data_ptr() < end for start, end in spans) for view in views if view.size)


def _record_arrivals(outputs: Sequence[Any]) -> list[Any]:
    """A list that fills with the gradients of ``outputs`` when backward reaches them; holding them keeps their storage
    from being handed out again."""
    arrived: list[Any] = []
    for output in outputs:
        output.register_hook(arrived.append)  # append gives None, which leaves the gradient as it is
    return arrived


def _run_backward(
    session: Session,
    run: Run,
    spec: OperatorSpec,
    tensors: Sequence[Any],
    cotangents: Sequence[Array | None],
    static: bool,
) -> None:
    paddle = session.paddle
    pairs = [(output, item) for output, item in zip(run.outputs, cotangents, strict=True) if item is not None]
    flowing = [to_tensor(paddle, item) for _, item in pairs]
    wanted = [tensor for tensor in tensors if not tensor.stop_gradient]
    arrived = _record_arrivals([output for output, _ in pairs]) if spec.view and not static else []
    with session.watch() as calls:
        gradients = paddle.grad([output for output, _ in pairs], wanted, flowing, allow_unused=True)
    run.backward = _counts(calls, static)
    present = [gradient for gradient in gradients if gradient is not None]
    run.gradients_alias = _all_within(present, [*flowing, *arrived])
    with session.watch() as calls:
        arrays = [None if item is None else _read(item, run.gradients_materialised) for item in gradients]
    for key, count in calls.total().items():
        run.backward[key] = run.backward.get(key, 0) + count
    run.places |= {str(gradient.place) for gradient in present}
    run.gradient_dtypes = [dtype_name(gradient) for gradient in present]
    found = iter(arrays)
    run.gradients = [None if tensor.stop_gradient else next(found) for tensor in tensors]


def _changed_inputs(spec: OperatorSpec, placed: Sequence[Placed]) -> list[GateFigure]:
    """Figures for inputs that a kernel wrote into although it should only read them, and for damaged fences."""
    figures = []
    for index, item in enumerate(placed):
        differs = ~same_bits(from_tensor(item.base), item.before)
        wrong = 0 if index in spec.mutates else int(np.count_nonzero(differs & item.inside))
        if wrong:
            size = np.count_nonzero(item.inside)
            note = f"{wrong} of {size} elements were changed by the call; an operator must not write to its input"
            figures.append(GateFigure("intact", f"in{index}", wrong, 0, False, note))
        broken = int(np.count_nonzero(differs & ~item.inside))
        if broken:
            note = f"{broken} elements around the input were overwritten: a kernel wrote out of bounds"
            figures.append(GateFigure("fence", f"in{index}", broken, 0, False, note))
    return figures
