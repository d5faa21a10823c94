"""Optimizer steps, through Paddle's optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _parameter(paddle: Any, tensor_: Any) -> Any:
    """A trainable parameter that holds the tensor."""
    return paddle.base.framework.EagerParamBase.from_tensor(tensor_, trainable=True)


def _adamw_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = _parameter(paddle, tensors[0])
    optimizer = paddle.optimizer.AdamW(
        learning_rate=a["learning_rate"],
        beta1=a["beta1"],
        beta2=a["beta2"],
        epsilon=a["epsilon"],
        weight_decay=a["weight_decay"],
        parameters=[parameter],
    )
    for gradient in tensors[1:]:
        parameter.grad = gradient
        optimizer.step()
    state = optimizer.state_dict()
    moments = [next(v for k, v in state.items() if k.endswith(f"_{name}_0")) for name in ("moment1", "moment2")]
    return [parameter, *moments]


def _adamw(x: list[Operand], a: Attributes) -> list[Operand]:
    """Decoupled weight decay, then Adam with bias correction; one step per gradient."""
    parameter = x[0]
    rate = parameter.lift(float(a["learning_rate"]))
    beta1, beta2 = parameter.lift(float(a["beta1"])), parameter.lift(float(a["beta2"]))
    first, second = parameter.lift(0.0), parameter.lift(0.0)
    power1, power2 = parameter.lift(1.0), parameter.lift(1.0)
    for gradient in x[1:]:
        power1, power2 = power1 * beta1, power2 * beta2
        parameter = parameter * (1.0 - rate * float(a["weight_decay"]))
        first = beta1 * first + (1.0 - beta1) * gradient
        second = beta2 * second + (1.0 - beta2) * (gradient * gradient)
        size = b.root(second) / b.root(1.0 - power2) + float(a["epsilon"])
        parameter = (parameter - first / size * (rate / (1.0 - power1))).stored()
        first, second = first.stored(), second.stored()
    return [parameter, first, second]


def _steps(shape: Sequence[int], steps: int, **changes: Any) -> Description:
    attributes = {
        "learning_rate": 1e-2,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.01,
        **changes,
    }
    return describe(tensor(shape), *[tensor(shape)] * steps, **attributes)


register(
    OperatorSpec(
        name="adamw",
        call=_adamw_call,
        oracle=_adamw,
        kind=Kind.OPTIMIZER,
        examples=lambda dtype: st.builds(
            lambda shape, steps, rate: _steps(shape, steps, learning_rate=rate),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
            st.integers(1, 4),
            st.sampled_from([1e-3, 1e-2, 0.1]),
        ),
        corners=lambda dtype: [
            _steps((4, 6), 1),
            _steps((7, 3), 3),
            _steps((1,), 2, weight_decay=0.0, learning_rate=3e-4),
            _steps((128, 352), 1, beta2=0.95),
        ],
        offered=(),
        static=False,
        mutates=(0,),
        aliases=("paddle.optimizer.AdamW",),
    )
)


def _sgd_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = _parameter(paddle, tensors[0])
    parameter.grad = tensors[1]
    paddle.optimizer.SGD(learning_rate=a["learning_rate"], parameters=[parameter]).step()
    return parameter


register(
    OperatorSpec(
        name="sgd",
        call=_sgd_call,
        oracle=lambda x, a: [x[0] - x[0].lift(float(a["learning_rate"])) * x[1]],
        kernels=lambda a, dtype: [Kernel(("sgd",), dtype)],
        kind=Kind.OPTIMIZER,
        examples=lambda dtype: st.builds(
            lambda shape: describe(tensor(shape), tensor(shape), learning_rate=0.05),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
        ),
        corners=lambda dtype: [
            describe(tensor(shape), tensor(shape), learning_rate=0.1) for shape in ((4, 6), (1,), (128, 64))
        ],
        offered=(),
        static=False,
        mutates=(0,),
        aliases=("paddle.optimizer.SGD",),
    )
)
