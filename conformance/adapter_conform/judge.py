"""Judges one operator call on the device: runs it with proof, and holds its results against the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from adapter_conform.cases import GateFigure, Outcome
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.gates import compare, expect, same_bits
from adapter_conform.catalogue.precision import Arithmetic, is_float
from adapter_conform.catalogue.spec import Attributes, Kernel, OperatorSpec
from adapter_conform.catalogue.values import make_cotangent
from adapter_conform.declarations import declared_kernels
from adapter_conform.states import State
from adapter_conform.tensors import dtype_name, from_tensor, to_tensor

if TYPE_CHECKING:
    from adapter_conform.session import KernelCalls, Session

__all__ = ["judge_call"]


@dataclass
class _Run:
    """What came back from the device, and what was counted meanwhile."""

    outputs: list[Any] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    gradients: list[Array | None] = field(default_factory=list)
    gradient_dtypes: list[str] = field(default_factory=list)
    forward: dict[str, int] = field(default_factory=dict)
    backward: dict[str, int] = field(default_factory=dict)
    places: set[str] = field(default_factory=set)
    aliasing: bool = True
    """Whether every output lies within the storage of an input."""


def judge_call(
    session: Session,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    *,
    dtype: str,
    backward: bool,
    static: bool = False,
    probe: bool = False,
    seed: int = 0,
) -> Outcome:
    """Runs ``spec`` on the session's device and judges outputs and gradients.

    Args:
        inputs: arrays in their own dtypes; bfloat16 as ml_dtypes.
        dtype: the case's dtype: that of the kernels asked for and of floating outputs.
        backward: also judge the gradients, where the operator has any for this dtype.
        static: run it under ``paddle.jit.to_static(full_graph=True)``; the proof is then counted there.
        probe: the inputs are an exact probe; results must agree to the last bit.
        seed: draws the gradients that flow into the outputs.
    """
    backward = backward and spec.differentiable(dtype)
    required = spec.required(attributes, dtype)
    if static and spec.view:  # a static graph has no views: the device's kernel must run
        required = (Kernel((spec.name,), dtype),)
    required_backward = spec.required_backward(attributes, dtype) if backward else ()
    missing = _unavailable(session, [*required, *required_backward])
    if missing is not None:
        return missing
    oracle = _Oracle(session, spec, inputs, attributes, dtype, required, required_backward)
    cotangents = oracle.cotangents(seed, probe) if backward else []
    if all(item is None for item in cotangents):  # no output has a gradient to take
        cotangents, required_backward = [], ()
    try:
        run = _execute(session, spec, inputs, attributes, cotangents, static)
    except Exception as error:  # whatever Paddle or the SDK raises is the device's answer, and is judged
        return _raised(session, error, [*required, *required_backward])
    figures = oracle.judge(run, cotangents, probe)
    return _conclude(session, spec, run, figures, required, required_backward, oracle)


def _unavailable(session: Session, kernels: Sequence[Kernel]) -> Outcome | None:
    """The outcome when a needed kernel is not there at all; None when all are."""
    declared = declared_kernels(session.plugin)
    for kernel in kernels:
        if any(session.is_registered(name, kernel.dtype) for name in kernel.names):
            continue
        promised = [name for name in kernel.names if (name, kernel.dtype) in declared]
        if promised:
            return Outcome(
                State.FAILED,
                message=f"{promised[0]}/{kernel.dtype} is declared by plugin {session.plugin.name!r}, but Paddle has "
                f"no such kernel registered for {session.device}; see `adapter-sdk devices` for why it was refused",
            )
        return Outcome(
            State.UNSUPPORTED,
            message=f"{kernel}: not declared by plugin {session.plugin.name!r}, and Paddle has none registered",
        )
    return None


_NOT_REGISTERED = re.compile(
    r"kernel with key \([^()]*(?:\([^()]*\))?[^()]*, (\w+)\) of kernel `(\w+)` is not registered"
)


def _raised(session: Session, error: Exception, kernels: Sequence[Kernel]) -> Outcome:
    text = str(error).strip()
    lacking = _NOT_REGISTERED.search(text)
    if lacking:  # another kernel that the same API needs on the way
        missing = _unavailable(session, [Kernel((lacking[2],), lacking[1])])
        if missing is not None:
            return missing
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("---", "File "))]
    summary = "\n".join(lines[-4:]) if lines else repr(error)
    needed = ", ".join(str(kernel) for kernel in kernels)
    return Outcome(
        State.FAILED,
        message=f"{type(error).__name__} from the call on {session.device}: {summary}",
        details={"required": needed, "error": text[-4000:]},
    )


class _Oracle:
    """The expectation for one call."""

    def __init__(
        self,
        session: Session,
        spec: OperatorSpec,
        inputs: Sequence[Array],
        attributes: Attributes,
        dtype: str,
        required: Sequence[Kernel],
        required_backward: Sequence[Kernel],
    ) -> None:
        self.spec, self.attributes, self.dtype, self.inputs = spec, attributes, dtype, inputs
        declared = declared_kernels(session.plugin)
        self.arithmetic = Arithmetic.of(dtype, _accumulator(declared, required)) if is_float(dtype) else None
        self.arithmetic_backward = (
            Arithmetic.of(dtype, _accumulator(declared, required_backward)) if is_float(dtype) else None
        )
        self.results = spec.oracle(self._operands(self.arithmetic), attributes)
        dtypes = spec.expected_dtypes([value_of(result) for result in self.results], attributes, dtype)
        if len(dtypes) != len(self.results):
            raise ValueError(f"{spec.name}: {len(self.results)} results, but {len(dtypes)} result dtypes")
        self.expected = [expect(result, name) for result, name in zip(self.results, dtypes, strict=True)]

    def _operands(self, arithmetic: Arithmetic | None) -> list[Operand]:
        model = arithmetic or Arithmetic.of("float32")
        return [Tracked(array.astype(model.reference), model) if _floating(array) else array for array in self.inputs]

    def cotangents(self, seed: int, whole: bool) -> list[Array | None]:
        """The gradient for each output; None for outputs of integers and bools."""
        return [
            make_cotangent(item.value.shape, item.dtype, [seed, 1000 + index], whole) if is_float(item.dtype) else None
            for index, item in enumerate(self.expected)
        ]

    def judge(self, run: _Run, cotangents: Sequence[Array | None], probe: bool) -> list[GateFigure]:
        ulps = self.spec.probe_ulps if probe else None
        count = GateFigure(
            "count", "outputs", len(run.values), len(self.expected), len(run.values) == len(self.expected)
        )
        if not count.passed:
            return [count]
        figures = []
        for index, (expected, actual, name) in enumerate(zip(self.expected, run.values, run.dtypes, strict=True)):
            figures += compare(f"out{index}", expected, actual, name, ulps)
        if cotangents:
            figures += self._judge_gradients(run, cotangents, ulps)
        return figures

    def _judge_gradients(self, run: _Run, cotangents: Sequence[Array | None], ulps: int | None) -> list[GateFigure]:
        assert self.spec.gradient is not None
        assert self.arithmetic_backward is not None
        model = self.arithmetic_backward
        inputs = self._operands(model)
        outputs = [self._as_saved(result, model) for result in self.results]
        flowing = [None if item is None else Tracked(item.astype(model.reference), model) for item in cotangents]
        wanted = self.spec.gradient(inputs, outputs, flowing, self.attributes)
        figures: list[GateFigure] = []
        names = iter(run.gradient_dtypes)
        for index, (array, operand, actual) in enumerate(zip(self.inputs, wanted, run.gradients, strict=True)):
            name = next(names) if actual is not None else ""
            if operand is None or not _floating(array):
                continue
            if actual is None:
                figures.append(GateFigure("count", f"grad{index}", 0, 1, False, "no gradient came back"))
                continue
            figures += compare(f"grad{index}", expect(operand, _name(array)), actual, name, ulps)
        return figures

    @staticmethod
    def _as_saved(result: Operand, model: Arithmetic) -> Operand:
        """An output as the backward kernel finds it: rounded to storage."""
        if not isinstance(result, Tracked):
            return result
        stored = result.stored()
        return Tracked(stored.value, model, stored.error)


def _accumulator(declared: Mapping[tuple[str, str], str], kernels: Sequence[Kernel]) -> str | None:
    for kernel in kernels:
        for name in kernel.names:
            if (name, kernel.dtype) in declared:
                return declared[name, kernel.dtype]
    return None


def _floating(array: Array) -> bool:
    return is_float(array.dtype.name)


def _name(array: Array) -> str:
    return str(array.dtype.name)


@contextmanager
def _checked(session: Session) -> Iterator[None]:
    """Fresh outputs are poisoned and fenced with canaries inside the block."""
    session.library.set_checks(poison=True, canary=True)
    try:
        yield
    finally:
        session.library.set_checks(poison=False, canary=False)


def _execute(
    session: Session,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    cotangents: Sequence[Array | None],
    static: bool,
) -> _Run:
    """Runs forward and, with cotangents, backward; reads everything back."""
    paddle = session.paddle
    tensors = [to_tensor(paddle, array, session.device) for array in inputs]
    for tensor, array in zip(tensors, inputs, strict=True):
        tensor.stop_gradient = not (cotangents and _floating(array))
    run = _Run()
    with _checked(session):
        with session.watch() as calls:
            outputs = _callable(paddle, spec, attributes, static)(list(tensors))
            run.outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
        run.forward = _counts(calls, static)
        _read_outputs(session, run, tensors)
        if cotangents:
            _run_backward(session, run, tensors, cotangents, static)
    _require_intact(spec, inputs, tensors)
    return run


def _counts(calls: KernelCalls, static: bool) -> dict[str, int]:
    return dict(calls.static if static else calls.eager)


def _callable(paddle: Any, spec: OperatorSpec, attributes: Attributes, static: bool) -> Any:
    def operator(tensors: list[Any]) -> Any:  # to_static takes a list, but no *tensors
        return spec.call(paddle, tensors, attributes)

    return paddle.jit.to_static(operator, full_graph=True) if static else operator


def _read_outputs(session: Session, run: _Run, tensors: Sequence[Any]) -> None:
    """Copies the outputs to the host; reading a view makes the device materialise it, which is counted too."""
    with session.watch() as calls:
        run.values = [from_tensor(output) for output in run.outputs]
    for key, count in calls.total().items():
        run.forward[key] = run.forward.get(key, 0) + count
    run.dtypes = [dtype_name(output) for output in run.outputs]
    run.places |= {str(output.place) for output in run.outputs}
    spans = [(tensor.data_ptr(), tensor.data_ptr() + _storage_bytes(tensor)) for tensor in tensors if tensor.size]
    run.aliasing = all(
        any(start <= output.data_ptr() < end for start, end in spans) for output in run.outputs if output.size
    )


def _storage_bytes(tensor: Any) -> int:
    return int(tensor.size) * int(tensor.element_size())


def _run_backward(
    session: Session, run: _Run, tensors: Sequence[Any], cotangents: Sequence[Array | None], static: bool
) -> None:
    paddle = session.paddle
    pairs = [(output, item) for output, item in zip(run.outputs, cotangents, strict=True) if item is not None]
    flowing = [to_tensor(paddle, item, session.device) for _, item in pairs]
    wanted = [tensor for tensor in tensors if not tensor.stop_gradient]
    with session.watch() as calls:
        gradients = paddle.grad([output for output, _ in pairs], wanted, flowing, allow_unused=True)
        arrays = [None if gradient is None else from_tensor(gradient) for gradient in gradients]
    run.backward = _counts(calls, static)
    run.places |= {str(gradient.place) for gradient in gradients if gradient is not None}
    run.gradient_dtypes = [dtype_name(gradient) for gradient in gradients if gradient is not None]
    found = iter(arrays)
    run.gradients = [None if tensor.stop_gradient else next(found) for tensor in tensors]


def _require_intact(spec: OperatorSpec, inputs: Sequence[Array], tensors: Sequence[Any]) -> None:
    """Raises RuntimeError if a kernel wrote into an input that it should only read."""
    for index, (array, tensor) in enumerate(zip(inputs, tensors, strict=True)):
        if index in spec.mutates:
            continue
        if not bool(np.all(same_bits(from_tensor(tensor), array))):
            raise RuntimeError(f"{spec.name}: input {index} was changed by the call; an operator must not write to it")


def _conclude(
    session: Session,
    spec: OperatorSpec,
    run: _Run,
    figures: list[GateFigure],
    required: Sequence[Kernel],
    required_backward: Sequence[Kernel],
    oracle: _Oracle,
) -> Outcome:
    """The state of a call that gave a result."""
    counted = _sum(run.forward, run.backward)
    details: dict[str, Any] = {"kernels": counted}
    if oracle.arithmetic is not None:
        details["accumulator"] = oracle.arithmetic.accumulator
    if spec.view:
        details["aliases_input"] = run.aliasing
    unproved = [kernel for kernel in required if not _ran(kernel, run.forward)]
    unproved += [kernel for kernel in required_backward if not _ran(kernel, run.backward)]
    outcome = Outcome(State.PASSED, errors=figures, details=details)
    failed = [figure for figure in figures if not figure.passed]
    elsewhere = run.places - {f"Place({session.device})"}
    if not unproved and not elsewhere and (counted or run.aliasing):
        outcome.executed_on = session.device
    if failed:
        first = failed[0]
        outcome.state = State.FAILED
        figure = f"{first.value:.4g}, limit {first.limit:.4g}"
        outcome.message = f"gate {first.gate} on {first.output}: {figure}; {first.note}"
    elif elsewhere:
        outcome.state = State.FELL_BACK
        outcome.message = f"a result lies on {', '.join(sorted(elsewhere))}, not on {session.device}"
    elif not counted and not (spec.view and run.aliasing):
        outcome.state = State.FELL_BACK
        outcome.message = f"a right result came, but no kernel of the plugin ran (needed: {_listing(required)})"
    elif unproved:
        outcome.state = State.VACUOUS
        outcome.message = (
            f"a right result came, but {_listing(unproved)} was not counted; counted: {', '.join(counted) or 'nothing'}"
        )
    return outcome


def _ran(kernel: Kernel, counts: Mapping[str, int]) -> bool:
    return any(counts.get(key, 0) > 0 for key in kernel.keys)


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in sorted(left.keys() | right.keys())}


def _listing(kernels: Sequence[Kernel]) -> str:
    return ", ".join(str(kernel) for kernel in kernels) or "none"
