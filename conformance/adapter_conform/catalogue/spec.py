"""What the catalogue knows of one operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from adapter_conform.catalogue.bounds import Array, Operand
from adapter_conform.catalogue.precision import is_float

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Attributes", "Description", "Kernel", "Kind", "OperatorSpec", "kernel"]

Attributes = Mapping[str, Any]

Description = dict[str, Any]
"""One drawn example, JSON-able: ``{"inputs": [...], "attributes": {...}, "seed": int}``, perhaps with
``"probe": true`` and ``"layout": name``; see :mod:`adapter_conform.catalogue.values` for the inputs and
:func:`adapter_conform.tensors.place` for layouts."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that must be proved to have run: one of ``names`` (Paddle releases differ), keyed by ``dtype``."""

    names: tuple[str, ...]
    dtype: str

    @property
    def keys(self) -> tuple[str, ...]:
        """As counted by the session, e.g. ``("softmax/float32",)``."""
        return tuple(f"{name}/{self.dtype}" for name in self.names)

    def __str__(self) -> str:
        return " or ".join(self.keys)


def kernel(names: str, dtype: str) -> Kernel:
    """``kernel("gather_nd|index_elementwise_get", "float32")``: either will do."""
    return Kernel(tuple(names.split("|")), dtype)


class Kind(str, Enum):
    """The class of an operator, for reports and for the gates of later editions. The limits come from the oracle."""

    EXACT = "exact"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    GEMM = "gemm"
    ATTENTION = "attention"
    NORM = "norm"
    OPTIMIZER = "optimizer"
    RANDOM = "random"
    """Judged by its distribution, with a stated probability of a false alarm."""
    QUANTIZED = "quantized"


Oracle = Callable[[list[Operand], Attributes], list[Operand]]
Gradient = Callable[[list[Operand], list[Operand], list[Operand], Attributes], list[Operand]]
KernelsOf = Callable[[Attributes, str], Sequence[Kernel]]


@dataclass(frozen=True)
class OperatorSpec:
    """One operator: how a user calls it, what must come out and how exactly, and what proves that it ran."""

    name: str
    """The phi kernel's name of the forward operator; with a suffix where one kernel serves several entries."""
    call: Callable[[Any, Sequence[Any], Attributes], Any]
    """``call(paddle, tensors, attributes) -> Tensor | list[Tensor]``, as a user calls Paddle."""
    oracle: Oracle
    """Inputs (float64 :class:`~adapter_conform.catalogue.bounds.Tracked`, or ndarrays of integers and bools) to
    outputs. A Tracked output is judged by its own error limit; an ndarray, or a Tracked without error, exactly.
    An ndarray of integers or bools also states the output's dtype; floating results have the case's dtype."""
    kind: Kind
    examples: Callable[[str], SearchStrategy[Description]]
    """The strategy that draws descriptions for a dtype."""
    corners: Callable[[str], list[Description]]
    """Hand-picked descriptions for a dtype; always run first."""
    dtypes: tuple[str, ...] = ("float32",)
    """Always planned; where the device has no kernel, the report says unsupported."""
    offered: tuple[str, ...] = ("float64", "float16", "bfloat16")
    """Planned only if the plugin declares the forward kernel for them."""
    not_offered: tuple[str, ...] = ()
    """Integer dtypes that Paddle's API refuses although a kernel may have them; entries that are exact on whole numbers
    are otherwise planned for every integer dtype that the plugin declares."""
    gradient: Gradient | None = None
    """``gradient(inputs, outputs, grad_outputs, attributes)``: one gradient per input, None where none is judged."""
    kernels: KernelsOf | None = None
    """Kernels to be proved in the forward call; by default ``name`` with the case's dtype."""
    grad_kernels: KernelsOf | None = None
    """The same for the backward call; by default ``name + "_grad"``."""
    static_kernels: KernelsOf | None = None
    """The forward call's kernels in a static graph, where they are not those of eager mode."""
    result_dtypes: Callable[[Attributes, str], Sequence[str]] | None = None
    """The outputs' dtypes where they do not follow from the oracle's result."""
    view: bool = False
    """Paddle serves it as a view: no kernel runs; the result must alias the input's device storage."""
    probe_ulps: int = 0
    """How far exact probes may be off, in units in the last place: 2 for averages, which divide."""
    static: bool = True
    """Whether it is also run as a static graph."""
    legacy: bool = False
    """Paddle's eager mode reaches it through its legacy tracer, which calls kernels as a graph does."""
    mutates: tuple[int, ...] = ()
    """Inputs that the operator changes in place; all others must be intact afterwards."""
    layouts: tuple[str, ...] | None = None
    """Layouts of inputs that are drawn (see :func:`adapter_conform.tensors.place`); None: all that make sense."""
    stress: bool = True
    """Whether the regimes of :data:`adapter_conform.catalogue.draw.STRESS` take the place of plain inputs."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Stress regimes that are not drawn, each with the reason."""
    identity: Callable[[Attributes, Sequence[tuple[int, ...]]], bool] = lambda attributes, shapes: False
    """Whether attributes and shapes of inputs make the operator the identity, as a factor of 1 or the mean over axes of
    length 1 do: there a copy of the input is the only right result, and no sign that nothing was computed."""
    aliases: tuple[str, ...] = field(default=())
    """Public Paddle APIs that this entry answers for, for reports."""

    def required(self, attributes: Attributes, dtype: str, static: bool = False) -> tuple[Kernel, ...]:
        """The kernels that must be counted in the forward call; empty for views, which only eager mode has."""
        if static and self.static_kernels is not None:
            return tuple(self.static_kernels(attributes, dtype))
        if static and self.view:
            return (Kernel((self.name,), dtype),)
        if self.kernels is not None:
            return tuple(self.kernels(attributes, dtype))
        return () if self.view else (Kernel((self.name,), dtype),)

    def required_backward(self, attributes: Attributes, dtype: str, static: bool = False) -> tuple[Kernel, ...]:
        if self.gradient is None:
            return ()
        if static and self.view and self.static_kernels is None and self.grad_kernels is None:
            return (Kernel((f"{self.name}_grad",), dtype),)
        if self.grad_kernels is not None:
            return tuple(self.grad_kernels(attributes, dtype))
        return () if self.view else (Kernel((f"{self.name}_grad",), dtype),)

    @property
    def repeatable(self) -> bool:
        """Whether the same call must give the same bits again."""
        return self.kind is not Kind.RANDOM

    def differentiable(self, dtype: str) -> bool:
        return self.gradient is not None and is_float(dtype)

    def expected_dtypes(self, results: Sequence[Array], attributes: Attributes, dtype: str) -> tuple[str, ...]:
        """The dtype of each output, given the oracle's plain results."""
        if self.result_dtypes is not None:
            return tuple(self.result_dtypes(attributes, dtype))
        return tuple(dtype if result.dtype.kind == "f" else result.dtype.name for result in results)
