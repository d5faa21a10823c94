"""Optimizer steps, through Paddle's optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _parameter(paddle: Any, tensor_: Any) -> Any:
    """A trainable parameter that holds the tensor."""
    return paddle.base.framework.EagerParamBase.from_tensor(tensor_, trainable=True)


def _stepped(optimizer: Any, parameter: Any, gradients: Sequence[Any], state: Sequence[str]) -> list[Any]:
    """One step for each gradient; gives the parameter, and what the optimizer keeps of it under these names."""
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    kept = optimizer.state_dict()
    return [parameter, *(next(v for k, v in kept.items() if k.endswith(f"_{name}_0")) for name in state)]


MOMENTS = ("moment1", "moment2")


def _adam_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = _parameter(paddle, tensors[0])
    betas = {"beta1": a["beta1"], "beta2": a["beta2"], "epsilon": a["epsilon"]}
    optimizer = paddle.optimizer.Adam(a["learning_rate"], **betas, parameters=[parameter])
    return _stepped(optimizer, parameter, tensors[1:], MOMENTS)


def _adamw_of(paddle: Any, parameter: Any, a: Attributes, **extra: Any) -> Any:
    betas = {"beta1": a["beta1"], "beta2": a["beta2"], "epsilon": a["epsilon"], "weight_decay": a["weight_decay"]}
    return paddle.optimizer.AdamW(a["learning_rate"], **betas, parameters=[parameter], **extra)


def _adamw_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = _parameter(paddle, tensors[0])
    return _stepped(_adamw_of(paddle, parameter, a), parameter, tensors[1:], MOMENTS)


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


register(
    OperatorSpec(
        name="adam",
        call=_adam_call,
        oracle=_adamw,
        kind=Kind.OPTIMIZER,
        examples=lambda dtype: st.builds(
            lambda shape, steps, rate: _steps(shape, steps, learning_rate=rate, weight_decay=0.0),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
            st.integers(1, 4),
            st.sampled_from([1e-3, 1e-2, 0.1]),
        ),
        corners=lambda dtype: [
            _steps((4, 6), 1, weight_decay=0.0),
            _steps((7, 3), 3, weight_decay=0.0),
            _steps((64, 65), 2, weight_decay=0.0, beta2=0.95),
        ],
        offered=("float64",),
        static=False,
        mutates=(0,),
        aliases=("paddle.optimizer.Adam",),
    )
)


def _several(paddle: Any, tensors: Sequence[Any], a: Attributes, update: Any) -> Any:
    """Parameters and gradients alternate; one step from moments of zero. Gives parameters, then both moments of each.

    ``update(parameters, gradients, rate, firsts, seconds, powers1, powers2)`` works in place.
    """
    parameters, gradients = list(tensors[::2]), list(tensors[1::2])
    state = "float32" if a["dtype"] in ("float16", "bfloat16") else a["dtype"]
    firsts, seconds = ([paddle.zeros(item.shape, state) for item in parameters] for _ in range(2))
    powers1 = [paddle.full([1], a["beta1"], state) for _ in parameters]
    powers2 = [paddle.full([1], a["beta2"], state) for _ in parameters]
    rate = paddle.full([1], a["learning_rate"], state)
    update(parameters, gradients, rate, firsts, seconds, powers1, powers2)
    return [*parameters, *firsts, *seconds]


def _merged_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    def update(parameters: Any, gradients: Any, rate: Any, m: Any, v: Any, p1: Any, p2: Any) -> None:
        rates = [rate] * len(parameters)
        none = None
        settings = (a["beta1"], a["beta2"], a["epsilon"], False, False, False)
        paddle._C_ops.merged_adam_(parameters, gradients, rates, m, v, none, p1, p2, none, *settings)

    return _several(paddle, tensors, a, update)


def _fused_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    def update(parameters: Any, gradients: Any, rate: Any, m: Any, v: Any, p1: Any, p2: Any) -> None:
        settings = (a["beta1"], a["beta2"], a["epsilon"], 32 * 2048, a["weight_decay"])
        flags = (a["weight_decay"] > 0, False, False, False)
        paddle._C_ops.fused_adam_(parameters, gradients, rate, m, v, None, p1, p2, None, None, *settings, *flags)

    return _several(paddle, tensors, a, update)


def _merged(x: list[Operand], a: Attributes) -> list[Operand]:
    results = [_adamw([parameter, gradient], a) for parameter, gradient in zip(x[::2], x[1::2], strict=True)]
    return [result[part] for part in range(3) for result in results]


def _pairs(shapes: Sequence[Sequence[int]], dtype: str, decay: float = 0.0) -> Description:
    made = _steps((1,), 1, weight_decay=decay)
    inputs = [tensor(shape) for shape in shapes for _ in range(2)]
    return {**made, "inputs": inputs, "attributes": {**made["attributes"], "dtype": dtype}}


def _together(name: str, call: Any, decays: Sequence[float]) -> None:
    register(
        OperatorSpec(
            name=name,
            call=call,
            oracle=_merged,
            kind=Kind.OPTIMIZER,
            examples=lambda dtype: st.builds(
                lambda shapes, decay: _pairs(shapes, dtype, decay),
                st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=2), min_size=1, max_size=4),
                st.sampled_from(list(decays)),
            ),
            corners=lambda dtype: [
                _pairs([(4, 6), (7,)], dtype),
                _pairs([(1,)], dtype, decays[-1]),
                _pairs([(64, 65), (3, 5), (2,)], dtype, decays[-1]),
            ],
            offered=("float64",),
            static=False,
            mutates=tuple(range(0, 8, 2)),
            aliases=("paddle.optimizer.Adam",),
        )
    )


_together("merged_adam", _merged_call, [0.0])
_together("fused_adam", _fused_call, [0.0, 2.0**-7])  # a C float, like the numbers of momentum


def _momentum_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = _parameter(paddle, tensors[0])
    optimizer = paddle.optimizer.Momentum(
        learning_rate=a["learning_rate"],
        momentum=a["momentum"],
        use_nesterov=a["nesterov"],
        weight_decay=paddle.regularizer.L2Decay(a["decay"]) if a["decay"] else None,
        parameters=[parameter],
    )
    return _stepped(optimizer, parameter, tensors[1:], ["velocity"])


def _momentum(x: list[Operand], a: Attributes) -> list[Operand]:
    """v = momentum v + g + decay p; p -= rate v, or with Nesterov rate (g + decay p + momentum v)."""
    parameter = x[0]
    rate, mu = parameter.lift(float(a["learning_rate"])), parameter.lift(float(a["momentum"]))
    velocity = parameter.lift(0.0)
    for gradient in x[1:]:
        slope = gradient + parameter * float(a["decay"]) if a["decay"] else gradient
        velocity = velocity * mu + slope
        step = slope + velocity * mu if a["nesterov"] else velocity
        parameter = (parameter - rate * step).stored()
        velocity = velocity.stored()
    return [parameter, velocity]


def _moved(shape: Sequence[int], steps: int, nesterov: bool, decay: float = 0.0) -> Description:
    return describe(
        tensor(shape), *[tensor(shape)] * steps, learning_rate=0.0625, momentum=0.875, nesterov=nesterov, decay=decay
    )


register(
    OperatorSpec(
        name="momentum",
        call=_momentum_call,
        oracle=_momentum,
        kind=Kind.OPTIMIZER,
        examples=lambda dtype: st.builds(
            _moved,
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
            st.integers(1, 4),
            st.booleans(),
            st.sampled_from([0.0, 2.0**-7]),
        ),
        corners=lambda dtype: [
            _moved((4, 6), 2, False, 2.0**-7),
            _moved((7, 3), 3, True),
            _moved((64, 65), 1, True, 0.125),
        ],
        offered=("float64",),
        static=False,
        mutates=(0,),
        aliases=("paddle.optimizer.Momentum",),
    )
)


def _master_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = _parameter(paddle, tensors[0])
    optimizer = _adamw_of(paddle, parameter, a, multi_precision=True)
    results = _stepped(optimizer, parameter, tensors[1:], MOMENTS)
    return [*results, *optimizer.state_dict()["master_weights"].values()]


def _with_master(x: list[Operand], a: Attributes) -> list[Operand]:
    """AdamW in float32 on a copy of the weights; the parameter is that copy, rounded."""
    storage = x[0].arithmetic.storage
    single = Arithmetic.of("float32")
    master, first, second = _adamw([Tracked(item.value, single) for item in x], a)
    return [Tracked(master.value, Arithmetic.of(storage, "float32"), master.error), first, second, master]


register(
    OperatorSpec(
        name="adamw_master",
        call=_master_call,
        oracle=_with_master,
        kernels=lambda a, dtype: [Kernel(("adamw",), dtype)],
        result_dtypes=lambda a, dtype: [dtype, "float32", "float32", "float32"],
        kind=Kind.OPTIMIZER,
        examples=lambda dtype: st.builds(
            lambda shape, steps, rate: _steps(shape, steps, learning_rate=rate),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
            st.integers(1, 4),
            st.sampled_from([1e-3, 1e-2]),
        ),
        corners=lambda dtype: [_steps((4, 6), 3), _steps((7, 3), 2, weight_decay=0.1), _steps((64, 65), 1)],
        dtypes=(),
        offered=("float16", "bfloat16"),
        static=False,
        mutates=(0,),
        aliases=("paddle.optimizer.AdamW",),
    )
)
