"""Reference values that carry their own error limit: arithmetic on pairs (exact value, bound of a kernel's error).

An oracle is written once, as a textbook formula over :class:`Tracked` operands. Each operation yields the value in
float64 and, to first order, how far a kernel may be from it when it does this step in its declared arithmetic and its
operands were themselves off by their limits (running error analysis: N. J. Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd ed., section 3.3). With u the unit roundoff of single operations:

- sum, difference, product of numbers: one rounding, ``u |y|``; division and the elementary functions:
  ``(k + 1/2) ulp <= (2 k + 1) u |y|`` with k from :data:`ULPS`;
- an operand error e adds ``|df/dx| e`` (the condition term);
- a sum of n terms, held in the accumulator: ``gamma(n - 1) u_acc sum|t_i|``, an inner product of length n:
  ``gamma(n) u_acc sum|a_i b_i|``, both plus one rounding to storage, where
  ``gamma(m) = min(m, lambda sqrt(m))``: the worst case over all orders of summation, or the probabilistic bound of
  N. J. Higham and T. Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41 (2019),
  whichever is smaller; lambda = sqrt(2 ln(2 / delta)) = 6.5 for delta = 1e-9;
- a result, or an operand of an inner product, below the smallest normal number of the compute dtype may be taken for
  zero, which adds its size (Higham, section 2.2: the model with underflow, for devices without gradual underflow);
- selecting, moving and negating numbers is free of error.

A result whose error is None must be met exactly, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from adapter_conform.catalogue.precision import Arithmetic

__all__ = [
    "LAMBDA",
    "ULPS",
    "Array",
    "Operand",
    "Tracked",
    "amax",
    "amin",
    "arctan",
    "argselect",
    "cos",
    "dot",
    "either",
    "erf",
    "exp",
    "function",
    "gamma",
    "inverse_root",
    "log",
    "log1p",
    "magnitude",
    "maximum",
    "mean",
    "minimum",
    "move",
    "power",
    "product",
    "root",
    "rounding_only",
    "running_sum",
    "scatter_sum",
    "select",
    "sin",
    "tanh",
    "total",
    "value_of",
]

Array = npt.NDArray[Any]
Operand = Any
"""A :class:`Tracked` (floating point) or an ndarray of integers or bools, which is exact."""

LAMBDA = 6.5

ULPS = {
    "divide": 2.5,
    "exp": 3.0,
    "log": 3.0,
    "log1p": 2.0,
    "sqrt": 3.0,
    "rsqrt": 2.0,
    "sin": 4.0,
    "cos": 4.0,
    "atan": 5.0,
    "tanh": 5.0,
    "erf": 16.0,
    "pow": 16.0,
}
"""k of each function, in units in the last place: the OpenCL C specification's table of relative errors, full profile,
the requirement that accelerators of many makers have been tested against."""


_systematic = ContextVar("systematic", default=True)


@contextmanager
def rounding_only() -> Iterator[None]:
    """Within the block, limits leave out errors that may have a preferred sign: those that elementary functions and
    division are granted beyond a rounding, those of constants that the compute dtype cannot hold, and those of adding a
    constant of many bits: numbers with a larger last place have nothing beside its low bits, which are rounded the same
    way each time."""
    token = _systematic.set(False)
    try:
        yield
    finally:
        _systematic.reset(token)


def _ulps(name: str) -> float:
    return ULPS[name] if _systematic.get() else 0.0


def gamma(count: float) -> float:
    """The factor of ``u_acc * sum|t|`` for ``count`` roundings in a row."""
    count = max(float(count), 0.0)
    return min(count, LAMBDA * math.sqrt(count))


def _times(weight: Array, error: Array | None) -> Array | None:
    """``weight * error`` with 0 * inf = 0: a function that is flat at infinity forgets the error of its operand."""
    if error is None:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        product_ = weight * error
    return np.where((weight == 0) | (error == 0), np.zeros_like(product_), product_)


def _plus(*errors: Array | None) -> Array | None:
    """The sum of the errors that there are; None when there is none."""
    present = [error for error in errors if error is not None]
    if not present:
        return None
    result = present[0]
    for error in present[1:]:
        result = result + error
    return result


def _flushed(value: Array, model: Arithmetic) -> Array | None:
    """What taking ``value`` for zero costs where it is below the smallest normal number of the compute dtype."""
    size = np.abs(value)
    below = size < model.tiny
    return np.where(below, size, 0.0) if below.any() and np.any(size[below]) else None


class Tracked:
    """An array of exact values and a bound on the error that a kernel may have made up to here."""

    __slots__ = ("arithmetic", "error", "value")
    __array_ufunc__ = None  # ndarray (+) Tracked must come to our reflected operators

    def __init__(self, value: Any, arithmetic: Arithmetic, error: Array | None = None) -> None:
        self.value: Array = np.asarray(value, dtype=arithmetic.reference)
        self.arithmetic = arithmetic
        self.error = error

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return int(self.value.size)

    def __repr__(self) -> str:
        return f"Tracked(value={self.value!r}, error={self.error!r})"

    def lift(self, other: Any) -> Tracked:
        """``other`` as a Tracked: numbers and arrays are rounded to the compute dtype first, where they need it."""
        if isinstance(other, Tracked):
            return other
        value = np.asarray(other, dtype=self.arithmetic.reference)
        exact = self.arithmetic.representable(value) or not _systematic.get()
        error = None if exact else self.arithmetic.u * np.abs(value)
        return Tracked(value, self.arithmetic, error)

    def rounded(self, value: Array, *errors: Array | None, weight: float = 1.0) -> Tracked:
        """``value`` after ``weight`` roundings on top of ``errors``."""
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = weight * self.arithmetic.u * np.abs(value)
        return Tracked(value, self.arithmetic, _plus(*errors, rounding, _flushed(value, self.arithmetic)))

    def __add__(self, other: Any) -> Tracked:
        right = self.lift(other)
        leaning = not isinstance(other, Tracked) and not _systematic.get() and _has_many_bits(right)
        with np.errstate(invalid="ignore", over="ignore"):
            value = self.value + right.value
        errors = _spread(self.error, value), _spread(right.error, value)
        return self.rounded(value, *errors, weight=0.0 if leaning else 1.0)

    def __neg__(self) -> Tracked:
        return Tracked(-self.value, self.arithmetic, self.error)

    def __sub__(self, other: Any) -> Tracked:
        return self.__add__(-other if isinstance(other, Tracked) else -np.asarray(other, self.arithmetic.reference))

    def __radd__(self, other: Any) -> Tracked:
        return self.__add__(other)

    def __rsub__(self, other: Any) -> Tracked:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Tracked:
        right = self.lift(other)
        with np.errstate(invalid="ignore", over="ignore"):
            value = self.value * right.value
        both = None if self.error is None else _times(self.error, right.error)
        left_error = _times(np.abs(right.value), self.error)
        right_error = _times(np.abs(self.value), right.error)
        return self.rounded(value, left_error, right_error, both)

    def __rmul__(self, other: Any) -> Tracked:
        return self.lift(other) * self

    def __truediv__(self, other: Any) -> Tracked:
        right = self.lift(other)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            value = self.value / right.value
            floor = np.abs(right.value) if right.error is None else np.abs(right.value) - right.error
            inverse = np.where(floor > 0, 1.0 / np.where(floor > 0, floor, 1.0), np.inf)
            left_error = _times(inverse, self.error)
            right_error = _times(np.abs(value) * inverse, right.error)
        return self.rounded(value, left_error, right_error, weight=2 * _ulps("divide") + 1)

    def __rtruediv__(self, other: Any) -> Tracked:
        return self.lift(other) / self

    def __getitem__(self, index: Any) -> Tracked:
        return Tracked(self.value[index], self.arithmetic, None if self.error is None else self.error[index])

    def reshape(self, *shape: Any) -> Tracked:
        return Tracked(self.value.reshape(*shape), self.arithmetic, _reshaped(self.error, self.value, shape))

    def stored(self) -> Tracked:
        """The value after it was written to a tensor: one more rounding where storage is coarser than compute."""
        if self.error is None or self.arithmetic.u_out <= self.arithmetic.u:
            return self
        with np.errstate(invalid="ignore", over="ignore"):
            rounding = self.arithmetic.u_out * (np.abs(self.value) + self.error)
        return Tracked(self.value, self.arithmetic, self.error + rounding)


def _has_many_bits(constant: Tracked) -> bool:
    """Whether a number of it takes more than half of the bits that the compute dtype has for one."""
    fraction, _ = np.frexp(constant.value[np.isfinite(constant.value)])
    scaled = np.ldexp(fraction, round(-math.log2(constant.arithmetic.u)) // 2)
    return bool(np.any(scaled != np.rint(scaled)))


def _spread(error: Array | None, like: Array) -> Array | None:
    return None if error is None else np.broadcast_to(error, like.shape)


def _reshaped(error: Array | None, value: Array, shape: Any) -> Array | None:
    return None if error is None else np.broadcast_to(error, value.shape).reshape(*shape)


def value_of(operand: Operand) -> Array:
    """The plain array of an operand."""
    return operand.value if isinstance(operand, Tracked) else np.asarray(operand)


def move(rearrange: Callable[..., Any], *operands: Operand) -> Operand:
    """Applies ``rearrange``, which only moves, copies or drops elements (or fills in zeros), to values and errors."""
    tracked = next((operand for operand in operands if isinstance(operand, Tracked)), None)
    value = rearrange(*[value_of(operand) for operand in operands])
    if tracked is None:
        return value
    errors = [operand.error if isinstance(operand, Tracked) else None for operand in operands]
    if all(error is None for error in errors):
        return Tracked(value, tracked.arithmetic)
    full = [
        np.zeros(value_of(operand).shape) if error is None else np.broadcast_to(error, value_of(operand).shape)
        for operand, error in zip(operands, errors, strict=True)
    ]
    return Tracked(value, tracked.arithmetic, rearrange(*full))


def function(
    x: Tracked, evaluate: Callable[[Array], Array], slope: Callable[[Array, Array], Array], ulps: float
) -> Tracked:
    """``evaluate(x)`` to within ``ulps + 1/2`` units in the last place; ``slope(x, y)`` is the derivative."""
    with np.errstate(all="ignore"):
        value = evaluate(x.value)
        condition = None if x.error is None else _times(np.abs(slope(x.value, value)), x.error)
    return x.rounded(value, condition, weight=2 * ulps + 1)


def exp(x: Tracked) -> Tracked:
    return function(x, np.exp, lambda _, y: y, _ulps("exp"))


def log(x: Tracked) -> Tracked:
    return function(x, np.log, lambda v, _: 1 / v, _ulps("log"))


def log1p(x: Tracked) -> Tracked:
    return function(x, np.log1p, lambda v, _: 1 / (1 + v), _ulps("log1p"))


def root(x: Tracked) -> Tracked:
    return function(x, np.sqrt, lambda _, y: 0.5 / y, _ulps("sqrt"))


def inverse_root(x: Tracked) -> Tracked:
    return function(x, lambda v: 1 / np.sqrt(v), lambda v, y: 0.5 * y / v, _ulps("rsqrt"))


def sin(x: Tracked) -> Tracked:
    return function(x, np.sin, lambda v, _: np.cos(v), _ulps("sin"))


def cos(x: Tracked) -> Tracked:
    return function(x, np.cos, lambda v, _: np.sin(v), _ulps("cos"))


def arctan(x: Tracked) -> Tracked:
    return function(x, np.arctan, lambda v, _: 1 / (1 + v * v), _ulps("atan"))


def tanh(x: Tracked) -> Tracked:
    return function(x, np.tanh, lambda _, y: 1 - y * y, _ulps("tanh"))


_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: Tracked) -> Tracked:
    """The error function, by the C library's double precision."""
    peak = 2 / math.sqrt(math.pi)
    return function(x, lambda v: np.asarray(_erf(v), dtype=v.dtype), lambda v, _: peak * np.exp(-v * v), _ulps("erf"))


def power(x: Tracked, exponent: Tracked | float) -> Tracked:
    """``x ** exponent``, elementwise with broadcasting."""
    other = x.lift(exponent)
    with np.errstate(all="ignore"):
        value = np.power(x.value, other.value)
        by_base = None if x.error is None else _times(np.abs(other.value * value / x.value), x.error)
        logs = np.where(x.value > 0, np.log(np.where(x.value > 0, x.value, 1.0)), 0.0)
        by_exponent = None if other.error is None else _times(np.abs(value * logs), other.error)
    return x.rounded(value, by_base, by_exponent, weight=2 * _ulps("pow") + 1)


def either(*ways: Tracked) -> Tracked:
    """One number by several formulas, any of which a kernel may take: it may be off by what the worst of them errs."""
    errors = [way.error for way in ways if way.error is not None]
    return Tracked(ways[0].value, ways[0].arithmetic, np.maximum.reduce(errors) if errors else None)


def magnitude(x: Operand) -> Operand:
    """Absolute value; exact."""
    return Tracked(np.abs(x.value), x.arithmetic, x.error) if isinstance(x, Tracked) else np.abs(x)


def _extreme(choose: Callable[..., Any], left: Operand, right: Operand) -> Operand:
    if not isinstance(left, Tracked):
        return choose(left, right)
    other = left.lift(right)
    value = choose(left.value, other.value)
    # an infinite operand that was not chosen has no bearing on the one that was
    errors = [
        np.where(np.isinf(operand.value) & np.isfinite(value), 0.0, operand.error)
        for operand in (left, other)
        if operand.error is not None
    ]
    return Tracked(value, left.arithmetic, np.maximum.reduce(errors) if errors else None)


def maximum(left: Operand, right: Operand) -> Operand:
    """The larger, NaN if either is; exact."""
    return _extreme(np.maximum, left, right)


def minimum(left: Operand, right: Operand) -> Operand:
    return _extreme(np.minimum, left, right)


def select(mask: Array, left: Operand, right: Operand) -> Operand:
    """``left`` where ``mask`` holds, else ``right``."""
    if not isinstance(left, Tracked) and isinstance(right, Tracked):
        left = right.lift(left)
    elif isinstance(left, Tracked) and not isinstance(right, Tracked):
        right = left.lift(right)
    return move(lambda a, b: np.where(mask, a, b), left, right)


Axes = tuple[int, ...] | None


def _length(shape: Sequence[int], axes: Axes) -> int:
    return math.prod(shape if axes is None else [shape[axis] for axis in axes])


def _accumulated(x: Tracked, value: Array, magnitudes: Array, roundings: float, carried: Array | None) -> Tracked:
    """``value``, accumulated with ``roundings`` roundings from terms whose absolute values sum to ``magnitudes``."""
    model = x.arithmetic
    with np.errstate(invalid="ignore", over="ignore"):
        error = gamma(roundings) * model.u_acc * magnitudes
        if model.u_acc < model.u:
            error = error + model.u * np.abs(value)
    return Tracked(value, model, _plus(np.asarray(error), carried))


def total(x: Operand, axes: Axes = None, keepdims: bool = False) -> Operand:
    """The sum over ``axes`` (all of them when None)."""
    if not isinstance(x, Tracked):
        return np.sum(x, axis=axes, keepdims=keepdims)
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.asarray(np.sum(x.value, axis=axes, keepdims=keepdims))
        magnitudes = np.asarray(np.sum(np.abs(x.value), axis=axes, keepdims=keepdims))
    carried = None
    if x.error is not None:
        carried = np.asarray(np.sum(np.broadcast_to(x.error, x.shape), axis=axes, keepdims=keepdims))
    return _accumulated(x, value, magnitudes, _length(x.shape, axes) - 1, carried)


def running_sum(x: Operand, axis: int) -> Operand:
    """Cumulative sum along ``axis``; element i holds i roundings."""
    if not isinstance(x, Tracked):
        return np.cumsum(x, axis=axis)
    value = np.cumsum(x.value, axis=axis)
    steps = np.array([gamma(i) for i in range(x.shape[axis])])
    steps = steps.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    error = steps * x.arithmetic.u_acc * np.cumsum(np.abs(x.value), axis=axis)
    if x.arithmetic.u_acc < x.arithmetic.u:
        error = error + x.arithmetic.u * np.abs(value)
    carried = None if x.error is None else np.cumsum(np.broadcast_to(x.error, x.shape), axis=axis)
    return Tracked(value, x.arithmetic, _plus(error, carried))


def mean(x: Tracked, axes: Axes = None, keepdims: bool = False) -> Tracked:
    """The sum divided by the number of terms; NaN for none."""
    return total(x, axes, keepdims) / float(_length(x.shape, axes))  # type: ignore[no-any-return]


def product(x: Operand, axes: Axes = None, keepdims: bool = False) -> Operand:
    """The product over ``axes``: one rounding in the accumulator for each factor but the first."""
    if not isinstance(x, Tracked):
        return np.prod(x, axis=axes, keepdims=keepdims)
    value = np.asarray(np.prod(x.value, axis=axes, keepdims=keepdims))
    return _accumulated(x, value, np.abs(value), _length(x.shape, axes) - 1, None)


def scatter_sum(size: int, positions: Array, x: Tracked) -> Tracked:
    """Sums each element of ``x`` into a zeroed vector of ``size`` at ``positions`` (same shape; -1 drops it).

    Free of error where no position is met twice, as in the gradient of a permutation.
    """
    keep = positions.reshape(-1) >= 0
    where = positions.reshape(-1)[keep]

    def summed(values: Array) -> Array:
        result = np.zeros(size, dtype=values.dtype)
        np.add.at(result, where, np.broadcast_to(values, x.shape).reshape(-1)[keep])
        return result

    value = summed(x.value)
    carried = None if x.error is None else summed(x.error)
    terms = np.bincount(where, minlength=size)
    if terms.max(initial=0) <= 1:
        return Tracked(value, x.arithmetic, carried)
    steps = np.array([gamma(n) for n in range(int(terms.max()))])[np.maximum(terms - 1, 0)]
    error = steps * x.arithmetic.u_acc * summed(np.abs(x.value))
    if x.arithmetic.u_acc < x.arithmetic.u:
        error = error + np.where(terms > 1, x.arithmetic.u * np.abs(value), 0.0)
    return Tracked(value, x.arithmetic, _plus(error, carried))


def amax(x: Operand, axes: Axes = None, keepdims: bool = False) -> Operand:
    return _extreme_over(np.max, x, axes, keepdims)


def amin(x: Operand, axes: Axes = None, keepdims: bool = False) -> Operand:
    return _extreme_over(np.min, x, axes, keepdims)


def _extreme_over(choose: Callable[..., Any], x: Operand, axes: Axes, keepdims: bool) -> Operand:
    if not isinstance(x, Tracked):
        return choose(x, axis=axes, keepdims=keepdims)
    value = np.asarray(choose(x.value, axis=axes, keepdims=keepdims))
    error = None
    if x.error is not None:
        error = np.asarray(np.max(np.broadcast_to(x.error, x.shape), axis=axes, keepdims=keepdims))
    return Tracked(value, x.arithmetic, error)


def argselect(x: Operand, indices: Array, axis: int) -> Operand:
    """``np.take_along_axis`` on values and errors."""
    return move(lambda a: np.take_along_axis(a, indices, axis), x)


def dot(a: Tracked, b: Tracked) -> Tracked:
    """``np.matmul(a, b)``."""
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.matmul(a.value, b.value)
        magnitudes = np.matmul(np.abs(a.value), np.abs(b.value))
    a_error = _plus(a.error, _flushed(a.value, a.arithmetic))  # units for products take subnormal operands for zero
    b_error = _plus(b.error, _flushed(b.value, b.arithmetic))
    left = None if a_error is None else np.matmul(np.broadcast_to(a_error, a.shape), np.abs(b.value))
    right = None if b_error is None else np.matmul(np.abs(a.value), np.broadcast_to(b_error, b.shape))
    return _accumulated(a, value, magnitudes, a.shape[-1], _plus(left, right))
