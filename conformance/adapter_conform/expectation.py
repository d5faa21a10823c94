"""What must come out of one operator call: outputs and gradients, each with its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from adapter_conform.cases import GateFigure
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.gates import PROVING_SIZE, Expected, compare, expect, proves_nothing
from adapter_conform.catalogue.precision import Arithmetic, is_float, numpy_dtype, unit_roundoff
from adapter_conform.catalogue.spec import Attributes, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import make_cotangent
from adapter_conform.execution import Run

__all__ = ["Expectation"]

UNKNOWN = 1e150
"""The error of a saved output that may be finite or infinite: whatever comes of it is right. Finite itself, since an
infinite limit is a fault of an oracle."""


class Expectation:
    """The oracle's answer for one call, computed in the arithmetic that the plugin declares for its kernels."""

    def __init__(
        self,
        spec: OperatorSpec,
        inputs: Sequence[Array],
        attributes: Attributes,
        dtype: str,
        declared: Mapping[tuple[str, str], str],
        required: Sequence[Kernel],
        required_backward: Sequence[Kernel],
    ) -> None:
        """``declared`` holds accumulators by (operator, dtype); the first required kernel that has one decides.

        Raises:
            ValueError: the specification contradicts itself.
        """
        self.spec, self.attributes, self.inputs = spec, attributes, inputs
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
        return [
            Tracked(array.astype(model.reference), model) if is_float(array.dtype.name) else array
            for array in self.inputs
        ]

    def cotangents(self, seed: int, whole: bool) -> list[Array | None]:
        """The gradient for each output; None for outputs of integers and bools."""
        return [
            make_cotangent(item.value.shape, item.dtype, [seed, 1000 + index], whole) if is_float(item.dtype) else None
            for index, item in enumerate(self.expected)
        ]

    def judge(self, run: Run, cotangents: Sequence[Array | None], probe: bool) -> list[GateFigure]:
        ulps = self.spec.probe_ulps if probe else None
        surplus = len(run.values) - len(self.expected)
        note = f"{len(run.values)} outputs, expected {len(self.expected)}" if surplus else ""
        figures = [GateFigure("count", "outputs", abs(surplus), 0, not surplus, note), *run.changed]
        if surplus:
            return figures
        for index, (expected, actual, name) in enumerate(zip(self.expected, run.values, run.dtypes, strict=True)):
            figures += compare(f"out{index}", expected, actual, name, ulps)
        if cotangents:
            figures += self._judge_gradients(run, cotangents, ulps)
        return figures

    def vacuous(self, cotangents: Sequence[Array | None]) -> str:
        """Why results that meet this expectation would prove nothing; empty when one of them says something.

        Copies and choices are exact, so that zeros are as good as any other value there. Where the call makes
        the operator the identity, nothing but a copy is right."""
        if self.spec.kind in (Kind.EXACT, Kind.RANDOM):
            return ""
        identity = self.spec.identity(self.attributes, [array.shape for array in self.inputs])
        copies = [] if identity else self.inputs
        reasons = [proves_nothing(item, copies) for item in self.expected]
        sizes = [item.value.size for item in self.expected]
        if max(sizes, default=0) < PROVING_SIZE or not all(reasons):
            return ""
        if any(item is not None for item in cotangents):
            gradients = [item for item in self.gradients(cotangents) if item is not None]
            if not all(
                proves_nothing(item, [array for array in cotangents if array is not None]) for item in gradients
            ):
                return ""
        return "; ".join(dict.fromkeys(reasons))

    def gradients(self, cotangents: Sequence[Array | None]) -> list[Expected | None]:
        """One for each input; None where no gradient is judged."""
        assert self.spec.gradient is not None
        assert self.arithmetic_backward is not None
        model = self.arithmetic_backward
        inputs = self._operands(model)
        outputs = [self._as_saved(result, model) for result in self.results]
        flowing = [None if item is None else Tracked(item.astype(model.reference), model) for item in cotangents]
        wanted = self.spec.gradient(inputs, outputs, flowing, self.attributes)
        return [
            None if operand is None or not is_float(array.dtype.name) else expect(operand, str(array.dtype.name))
            for array, operand in zip(self.inputs, wanted, strict=True)
        ]

    def _judge_gradients(self, run: Run, cotangents: Sequence[Array | None], ulps: int | None) -> list[GateFigure]:
        wanted = self.gradients(cotangents)
        figures: list[GateFigure] = []
        names = iter(run.gradient_dtypes)
        for index, (array, expected, actual) in enumerate(zip(self.inputs, wanted, run.gradients, strict=True)):
            name = next(names) if actual is not None else ""
            if expected is None:
                continue
            if actual is None and not array.size:  # nothing to give; Paddle 3.0 leaves it out
                continue
            if actual is None:
                figures.append(GateFigure("count", f"grad{index}", 1, 0, False, "no gradient came back"))
                continue
            figures += compare(f"grad{index}", expected, actual, name, ulps)
        return figures

    @staticmethod
    def _as_saved(result: Operand, model: Arithmetic) -> Operand:
        """An output as the backward kernel finds it: rounded to storage, and infinite beyond its largest number."""
        if not isinstance(result, Tracked):
            return result
        stored = result.stored()
        largest = float(ml_dtypes.finfo(numpy_dtype(model.storage)).max)
        error = np.zeros(stored.shape) if stored.error is None else stored.error
        with np.errstate(invalid="ignore"):
            size = np.abs(stored.value)
            beyond = np.isfinite(size) & (size - error > largest * (1 + unit_roundoff(model.storage)))
            either = np.isfinite(size) & (size + error > largest) & ~beyond
        if not beyond.any() and not either.any():
            return Tracked(stored.value, model, stored.error)
        value = np.where(beyond, np.copysign(np.inf, stored.value), stored.value)
        return Tracked(value, model, np.where(beyond, 0.0, np.where(either, UNKNOWN, error)))


def _accumulator(declared: Mapping[tuple[str, str], str], kernels: Sequence[Kernel]) -> str | None:
    """The accumulator declared by the first of ``kernels`` that sums anything; None where none does.

    A call may run a kernel that sums nothing before the one that is judged, as quantization does before a product."""
    for kernel in kernels:
        for name in kernel.names:
            if is_float(declared.get((name, kernel.dtype), "")):
                return declared[name, kernel.dtype]
    return None
