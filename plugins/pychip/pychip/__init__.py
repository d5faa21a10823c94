"""pychip, a device written in Python: memory, streams and the kernels of an MLP and of a small LLaMA, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from adapter_sdk import (
    DeviceDescription,
    FusedOperatorDescription,
    KernelDescription,
    MemoryDescription,
    MemoryFunctions,
    StreamDescription,
    StreamFunctions,
    hookimpl,
)

Array = Any  # a NumPy array that views device memory during one call
FLOATS, NUMBERS, ALL = ("float32",), ("float32", "int32", "int64"), ("float32", "int32", "int64", "bool")
KERNELS: list[KernelDescription] = []
MEMORY = 1 << 30  # bytes; the pages that nobody touches cost nothing
regions: list[Array] = []


# [memory]
def allocate(_card: int, size: int) -> int:
    regions.append(np.empty(size, np.uint8))
    return int(regions[-1].__array_interface__["data"][0])


memory = MemoryFunctions(
    allocate=allocate,
    copy=lambda _card, _kind, destination, source: np.copyto(destination, source),
    fill=lambda _card, destination, value: destination.fill(value),
)
# [end]


# [streams]
def finish(stream: ThreadPoolExecutor) -> None:
    stream.submit(int).result()


def record(_card: int, stream: ThreadPoolExecutor) -> Future[int]:
    return stream.submit(int)


streams = StreamFunctions(  # a stream is a thread that takes one piece of work after the other
    create=lambda _card: ThreadPoolExecutor(1),
    destroy=lambda _card, stream: stream.shutdown(),
    synchronize=lambda _card, stream: finish(stream),
    done=lambda _card, stream: stream._work_queue.empty(),
    record=record,
    wait=lambda _card, stream, event: stream.submit(event.result),
    event_done=lambda event: event.done(),
    synchronize_event=lambda event: event.result(),
    call=lambda _card, stream, function: stream.submit(function),
)
# [end]


# [kernels]
def kernel(
    operator: str, signature: str, dtypes: tuple[str, ...] = FLOATS, accumulator: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        fused = operator in ("rms_norm", "swiglu")
        KERNELS.extend(KernelDescription(operator, d, signature, accumulator, "own", fused, function) for d in dtypes)
        return function

    return add


def store(out: Array, value: Array) -> None:
    np.copyto(out, value, casting="unsafe")


UNARY, BINARY = "Tensor||Tensor", "Tensor,Tensor||Tensor"
for name, ufunc in {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}.items():
    kernel(name, BINARY, NUMBERS)(lambda _, x, y, out, f=ufunc: f(x, y, out=out))
for name, ufunc in {"less_equal": np.less_equal, "greater_than": np.greater, "equal": np.equal}.items():
    kernel(name, BINARY, ALL)(lambda _, x, y, out, f=ufunc: f(x, y, out=out))
for name, ufunc in {"sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "exp": np.exp}.items():
    kernel(name, UNARY)(lambda _, x, out, f=ufunc: f(x, out=out))
kernel("divide", BINARY)(lambda _, x, y, out: np.divide(x, y, out=out))
kernel("elementwise_pow", BINARY)(lambda _, x, y, out: np.power(x, y, out=out))
kernel("bitwise_and", BINARY, ("bool",))(lambda _, x, y, out: np.bitwise_and(x, y, out=out))
kernel("div_scale", "Tensor|Scalar|Tensor")(lambda _, x, divisor, out: store(out, x / x.dtype.type(divisor)))
kernel("pow", "Tensor|Scalar|Tensor")(lambda _, x, exponent, out: store(out, np.power(x, x.dtype.type(exponent))))
kernel("contiguous", UNARY, ALL)(lambda _, x, out: store(out, x))
kernel("assign", UNARY, ALL)(lambda _, x, out: store(out, x))
kernel("cast", "Tensor|DType|Tensor", ALL)(lambda _, x, dtype, out: store(out, x))
kernel("expand", "Tensor|IntArray|Tensor", ALL)(lambda _, x, shape, out: store(out, x))
kernel("tile", "Tensor|IntArray|Tensor", ALL)(lambda _, x, repeats, out: store(out, np.tile(x, repeats)))
kernel("tril", "Tensor|int|Tensor", ALL)(lambda _, x, diagonal, out: store(out, np.tril(x, diagonal)))
kernel("transpose", "Tensor|vector<int>|Tensor", ALL)(lambda _, x, order, out: store(out, x.transpose(order)))
kernel("strided_copy", "Tensor|vector<int64>,vector<int64>,int64|Tensor", ALL)(lambda _, x, *rest: store(rest[-1], x))
kernel("full", "|IntArray,Scalar,DType|Tensor", ALL)(lambda _, shape, value, dtype, out: out.fill(value))
kernel("full_like", "Tensor|Scalar,DType|Tensor", ALL)(lambda _, x, value, dtype, out: out.fill(value))
kernel("fill", "Tensor|Scalar|Tensor", ALL)(lambda _, x, value, out: out.fill(value))
kernel("concat", "TensorList|Scalar|Tensor", NUMBERS)(lambda _, x, axis, out: np.concatenate(x, int(axis), out=out))
kernel("where", "Tensor,Tensor,Tensor||Tensor", NUMBERS)(lambda _, c, x, y, out: store(out, np.where(c, x, y)))
kernel("relu", UNARY)(lambda _, x, out: store(out, np.where(x > 0, x, 0)))
kernel("rsqrt", UNARY)(lambda _, x, out: np.divide(1, np.sqrt(x), out=out))
kernel("sigmoid", UNARY)(lambda _, x, out: store(out, logistic(x)))
kernel("relu_grad", BINARY)(lambda _, y, slope, out: store(out, np.where(y > 0, slope, 0)))
kernel("sigmoid_grad", BINARY)(lambda _, y, slope, out: store(out, slope * y * (1 - y)))
kernel("silu", UNARY)(lambda _, x, out: np.multiply(x, logistic(x), out=out))


def logistic(x: Array) -> Array:
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


@kernel("swiglu", "Tensor,OptionalTensor||Tensor")
def swiglu(_: object, x: Array, y: Array | None, out: Array) -> None:
    x, y = np.split(x, 2, axis=-1) if y is None else (x, y)
    np.multiply(x * logistic(x), y, out=out)


@kernel("scale", "Tensor|Scalar,Scalar,bool|Tensor", NUMBERS)
def scale(_: object, x: Array, factor: float, bias: float, bias_after: bool, out: Array) -> None:
    store(out, x * factor + bias if bias_after else (x + bias) * factor)


@kernel("matmul", "Tensor,Tensor|bool,bool|Tensor", FLOATS, "float32")
def matmul(_: object, x: Array, y: Array, turn_x: bool, turn_y: bool, out: Array) -> None:
    x = x.swapaxes(-1, -2) if turn_x and x.ndim > 1 else x
    y = y.swapaxes(-1, -2) if turn_y and y.ndim > 1 else y
    store(out, np.matmul(x, y))


@kernel("einsum", "TensorList|string|Tensor,TensorList,TensorList", FLOATS, "float32")
def einsum(context: Any, operands: tuple[Array, ...], equation: str, out: Array | None, *_caches: object) -> None:
    result = np.einsum(equation, *operands)
    store(context.allocate(0, result.shape) if out is None else out, result)


@kernel("softmax", "Tensor|int|Tensor", FLOATS, "float64")
def softmax(_: object, x: Array, axis: int, out: Array) -> None:
    x = np.atleast_1d(x).astype("float64")
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    store(out, (powers / powers.sum(axis=axis, keepdims=True)).reshape(out.shape))


@kernel("mean", "Tensor|IntArray,bool|Tensor", FLOATS, "float64")
def mean(_: object, x: Array, axes: tuple[int, ...], keep: bool, out: Array) -> None:
    store(out, np.mean(x, axis=axes or None, dtype="float64").reshape(out.shape))


@kernel("rms_norm", "Tensor,OptionalTensor|vector<int64>,double|Tensor,Tensor", FLOATS, "float64")
def rms_norm(_: object, x: Array, weight: Array | None, shape: tuple[int, ...], epsilon: float, *out: Array) -> None:
    rows = x.reshape(*x.shape[: x.ndim - len(shape)], -1).astype("float64")
    inverse = 1 / np.sqrt((rows * rows).mean(axis=-1, keepdims=True) + epsilon)
    y = (rows * inverse).reshape(x.shape)
    store(out[0], y if weight is None else y * weight)
    store(out[1], inverse.reshape(out[1].shape))


@kernel("embedding", "Tensor,Tensor|int64|Tensor")
def embedding(_: object, ids: Array, table: Array, padding: int, out: Array) -> None:
    store(out, table[ids] if padding < 0 else np.where((ids == padding)[..., None], 0, table[ids]))


@kernel("index_elementwise_get", f"Tensor,TensorList|{'vector<int64>,' * 4}int64,bool,bool|Tensor", ALL)
def pick(
    _: object, x: Array, index: Any, dims: Any, strides: Any, shapes: Any, steps: Any, offset: int, *rest: Any
) -> None:
    lengths, shape = shapes[: len(index)], (*shapes, -1)[len(index) + 1 :]  # steps and offset are in bytes
    shape = shape[: shape.index(-1)]
    space = np.broadcast_shapes(dims, shape)
    place = sum(i * s for i, s in zip(np.indices(space, sparse=True)[len(space) - len(dims) :], strides, strict=True))
    for ids, length, step in zip(index, lengths, steps, strict=True):
        if ((ids < -length) | (ids >= length)).any():
            raise IndexError(f"an index is outside an axis of length {length}")
        place = place + (ids % length).reshape(shape) * (step // x.itemsize)
    np.take(x, place + offset // x.itemsize, out=rest[-1])


@kernel("arange", "|Scalar,Scalar,Scalar|Tensor", NUMBERS)
def arange(context: Any, start: float, end: float, step: float, out: Array | None) -> None:
    values = start + step * np.arange(max(0, math.ceil((end - start) / step)))
    store(context.allocate(0, values.shape) if out is None else out, values)


@kernel("arange_tensor", "Tensor,Tensor,Tensor||Tensor", NUMBERS)
def arange_tensor(context: Any, start: Array, end: Array, step: Array, out: Array | None) -> None:
    arange(context, start[()], end[()], step[()], out)


@kernel("gaussian", "|IntArray,float,float,int,DType|Tensor")
def gaussian(context: Any, shape: object, middle: float, spread: float, seed: int, dtype: object, out: Array) -> None:
    store(out, np.random.default_rng(seed or context.random(1)).normal(middle, spread, out.shape))


@kernel("uniform", "|IntArray,DType,Scalar,Scalar,int|Tensor")
def uniform(context: Any, shape: object, dtype: object, low: float, high: float, seed: int, out: Array) -> None:
    store(out, np.random.default_rng(seed or context.random(1)).uniform(low, high, out.shape))


# [end]


# [hooks]
@hookimpl
def adapter_device() -> DeviceDescription:
    return DeviceDescription("pychip", "adapter-sdk", "pychip", "0.1.0", 1, (MEMORY,), ">=3.0,<3.4", (1, 1))


@hookimpl
def adapter_memory() -> MemoryDescription:
    return MemoryDescription(host_readable=True, functions=memory)


@hookimpl
def adapter_streams() -> StreamDescription:
    return StreamDescription(asynchronous=False, functions=streams)


@hookimpl
def adapter_kernels() -> list[KernelDescription]:
    return KERNELS


@hookimpl
def adapter_fused_operators() -> list[FusedOperatorDescription]:
    return [FusedOperatorDescription(operator, FLOATS) for operator in ("rms_norm", "swiglu")]


# [end]
