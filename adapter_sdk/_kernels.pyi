"""The SDK's host kernels on plain host memory: the oracle of the conformance suite (csrc/bindings)."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]
_OutputSpec: TypeAlias = tuple[Sequence[int], str] | _Array | None

__all__ = ["call", "kernels"]

def kernels() -> list[tuple[str, str, str]]:
    """``(operator, dtype, signature)`` of every kernel; a signature reads ``inputs|attributes|outputs``."""

def call(
    operator: str,
    dtype: str,
    inputs: list[_Array | list[_Array] | None],
    attributes: list[Any],
    outputs: list[_OutputSpec | list[_OutputSpec]],
    *,
    seed: int = 0,
) -> list[Any]:
    """Run one kernel and return one item an output: an array, a list of arrays, or None for an output not wanted.

    ``inputs`` must have the dtypes that the kernel expects (for most operators ``dtype``); they are not converted.
    An optional input may be None. Arrays that are not row-major are copied first, except for ``contiguous`` and
    ``strided_copy``, which see the strides.

    ``attributes`` are converted by the kernel's signature; a dtype is given by its name.

    Each of ``outputs`` is ``(shape, dtype)`` as Paddle infers it (a dimension may be -1), a row-major array to write
    into (an in-place call when it is also an input), or None. ``seed`` is what the kernel sees as Paddle's generator.

    Raises KeyError for an unknown kernel; ValueError, naming kernel and signature, for a wrong count, a value that does
    not convert or an argument that the kernel refuses; NotImplementedError, MemoryError and RuntimeError as the kernel
    raises them, the last also for a write out of bounds.
    """
