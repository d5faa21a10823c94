"""Judges one operator call on the device: runs it with proof, and holds its results against the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from adapter_conform.bias import bias_figures
from adapter_conform.cases import GateFigure, Outcome
from adapter_conform.catalogue.bounds import Array
from adapter_conform.catalogue.gates import same_bits
from adapter_conform.catalogue.spec import Attributes, Kernel, OperatorSpec
from adapter_conform.concurrency import over_streams, over_threads
from adapter_conform.declarations import absence, declared_kernels, disbelieved_refusals
from adapter_conform.execution import Run, execute, prepared_call, repeat
from adapter_conform.expectation import Expectation
from adapter_conform.further import ONCE, Further
from adapter_conform.leaks import leak_figures
from adapter_conform.reference import error_figures, ratio_figures
from adapter_conform.states import State

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["judge_call"]


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
    layout: str = "plain",
    further: Further = ONCE,
) -> Outcome:
    """Runs ``spec`` on the session's device and judges outputs and gradients.

    Args:
        inputs: arrays in their own dtypes; bfloat16 as ml_dtypes.
        dtype: the case's dtype: that of the kernels asked for and of floating outputs.
        backward: also judge the gradients, where the operator has any for this dtype.
        static: run it under ``paddle.jit.to_static(full_graph=True)``; the proof is then counted there.
        probe: the inputs are an exact probe; results must agree to the last bit.
        seed: draws the gradients that flow into the outputs.
        layout: how the inputs lie in memory, see :func:`adapter_conform.tensors.place`.
        further: what else is done with the operator.
    """
    required = spec.required(attributes, dtype, static)
    required_backward = (
        spec.required_backward(attributes, dtype, static) if backward and spec.differentiable(dtype) else None
    )
    missing = _unavailable(session, required, attributes)
    missing_backward = _unavailable(session, required_backward or (), attributes)
    if missing is not None or (missing_backward is not None and missing_backward.state is State.FAILED):
        return missing or missing_backward  # type: ignore[return-value]
    if missing_backward is not None:
        required_backward = None
    declared = declared_kernels(session.plugin)
    expectation = Expectation(spec, inputs, attributes, dtype, declared, required, required_backward or ())
    cotangents = [] if required_backward is None else expectation.cotangents(seed, probe)
    if all(item is None for item in cotangents):  # no output has a gradient to take
        cotangents, required_backward = [], None
    try:
        run = execute(session, spec, inputs, attributes, cotangents, static, layout)
        figures = expectation.judge(run, cotangents, probe)
        ratios, reference = _against_reference(session, spec, inputs, attributes, dtype, expectation, run)
        figures += ratios
        if further.repeats:
            again = repeat(session, spec, inputs, attributes, cotangents, further.repeats)
            figures.append(_repeated(run, again, further.repeats))
        if further.leak:
            prepare = partial(prepared_call, session.paddle, spec, inputs, attributes, cotangents)
            figures += leak_figures(session, prepare, further.leak)
        figures += _with_other_inputs(session, spec, dtype, further, bool(cotangents))
    except Exception as error:  # whatever Paddle or the SDK raises is the device's answer, and is judged
        return _raised(session, error, [*required, *(required_backward or ())])
    outcome = _conclude(session, spec, run, figures, required, required_backward or (), expectation)
    outcome.details["reference"] = reference
    needed = [(kernel.names, kernel.dtype) for kernel in (*required, *(required_backward or ()))]
    if outcome.state is State.PASSED and (reason := expectation.vacuous(cotangents)):
        outcome.state, outcome.message = State.VACUOUS, f"the results are right, but prove nothing: {reason}"
    if refusals := disbelieved_refusals(session, needed, attributes):
        outcome.details["refusal_not_believed"] = refusals
    if missing_backward is not None and outcome.state is State.PASSED:
        outcome.state = State.UNSUPPORTED
        outcome.message = f"the forward call passed; {missing_backward.message}"
    return outcome


def _against_reference(
    session: Session,
    spec: OperatorSpec,
    inputs: Sequence[Array],
    attributes: Attributes,
    dtype: str,
    expectation: Expectation,
    run: Run,
) -> tuple[list[GateFigure], str]:
    """The ratios of errors to those of the reference pack, and what the record says of the pack."""
    pack = getattr(session, "references", None)
    if pack is None:
        return [], "no reference pack"
    known = pack.entries.get(pack.digest(spec.name, dtype, attributes, inputs))
    if known is None:
        return [], f"not in the pack of {pack.device}"
    figures: list[GateFigure] = []
    for index, (expected, actual) in enumerate(zip(expectation.expected, run.values, strict=False)):
        reference = known.get(f"out{index}")
        if reference is not None and expected.limit is not None and actual.shape == expected.value.shape:
            own = error_figures(expected, actual)
            figures += ratio_figures(f"out{index}", spec.kind, expected.dtype, own, reference)
    return figures, pack.device


def _with_other_inputs(
    session: Session, spec: OperatorSpec, dtype: str, further: Further, backward: bool
) -> list[GateFigure]:
    """Figures of calls whose inputs are drawn from the same example with other seeds."""
    if further.example is None:
        return []
    figures = []
    if further.streams:
        figures.append(over_streams(session, spec, further.example, dtype, further.streams, backward))
    if further.threads:
        figures.append(over_threads(session, spec, further.example, dtype, further.threads))
    if further.bias:
        figures += bias_figures(session, spec, further.example, dtype)
    return figures


def _repeated(run: Run, again: Iterable[list[Array | None]], times: int) -> GateFigure:
    """In how many further calls a result differed in any bit from that of the first."""
    first = [*run.values, *[item for item in run.gradients if item is not None]]
    different, where = 0, ""
    for turn, results in enumerate(again):
        present = [item for item in results if item is not None]
        pairs = zip(first, present, strict=False)
        wrong = [i for i, (a, b) in enumerate(pairs) if a.shape != b.shape or not same_bits(a, b).all()]
        if wrong or len(first) != len(present):
            different += 1
            where = where or f"call {turn + 1} gave other bits than the first in result {wrong[:1]}"
    note = f"{times} calls one after the other"
    if different:
        note = f"{different} of {note}; {where}"
    return GateFigure("repeat", "outputs", different, 0, not different, note)


def _unavailable(session: Session, kernels: Sequence[Kernel], attributes: Attributes | None = None) -> Outcome | None:
    """The outcome when a needed kernel is not there at all; None when all are."""
    for kernel in kernels:
        found = absence(session, kernel.names, kernel.dtype, attributes)
        if found is not None:
            state, why = found
            return Outcome(state, message=why)
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


def _conclude(
    session: Session,
    spec: OperatorSpec,
    run: Run,
    figures: list[GateFigure],
    required: Sequence[Kernel],
    required_backward: Sequence[Kernel],
    expectation: Expectation,
) -> Outcome:
    """The state of a call that gave a result."""
    counted = _sum(run.forward, run.backward)
    details: dict[str, Any] = {"kernels": counted}
    if expectation.arithmetic is not None:
        details["accumulator"] = expectation.arithmetic.accumulator
    if spec.view:
        details["aliases_input"] = run.aliasing
    unproved = _unproved(required, run.forward, run.materialised)
    unproved += _unproved(required_backward, run.backward, run.gradients_materialised)
    in_place = spec.view and run.aliasing and (run.gradients_alias or bool(run.backward))
    outcome = Outcome(State.PASSED, errors=figures, details=details)
    failed = [figure for figure in figures if not figure.passed]
    elsewhere = run.places - {f"Place({session.device})"}
    if not unproved and not elsewhere and (counted or in_place):
        outcome.executed_on = session.device
    if failed:
        first = failed[0]
        outcome.state = State.FAILED
        figure = f"{first.value:.4g}, limit {first.limit:.4g}"
        outcome.message = f"gate {first.gate} on {first.output}: {figure}; {first.note}"
    elif elsewhere:
        outcome.state = State.FELL_BACK
        outcome.message = f"a result lies on {', '.join(sorted(elsewhere))}, not on {session.device}"
    elif not counted and not in_place:
        outcome.state = State.FELL_BACK
        outcome.message = f"a right result came, but no kernel of the plugin ran (needed: {_listing(required)})"
    elif spec.view and not required and not run.aliasing:
        outcome.state = State.VACUOUS
        outcome.executed_on = ""
        outcome.message = f"a right result came, but it is no view of an input, and no {spec.name} kernel is asked for"
    elif unproved:
        outcome.state = State.VACUOUS
        outcome.message = (
            f"a right result came, but {_listing(unproved)} was not counted; counted: {', '.join(counted) or 'nothing'}"
        )
    return outcome


def _unproved(required: Sequence[Kernel], counts: Mapping[str, int], materialised: Iterable[str]) -> list[Kernel]:
    """Kernels that had to run and were not counted, with the one that makes strided results contiguous."""
    needed = [*required, *[Kernel(("contiguous",), dtype) for dtype in sorted(materialised)]]
    return [kernel for kernel in needed if not _ran(kernel, counts)]


def _ran(kernel: Kernel, counts: Mapping[str, int]) -> bool:
    return any(counts.get(key, 0) > 0 for key in kernel.keys)


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in sorted(left.keys() | right.keys())}


def _listing(kernels: Sequence[Kernel]) -> str:
    return ", ".join(str(kernel) for kernel in kernels) or "none"
