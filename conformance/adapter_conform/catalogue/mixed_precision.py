"""What training in half precision rests on: master weights, and the loss scale with its check for overflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked, value_of
from adapter_conform.catalogue.optimizer import adamw_of, parameter_of, steps
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kernel, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []

HALVES = ("float16", "bfloat16")


def _master_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    parameter = parameter_of(paddle, tensors[0])
    optimizer = paddle.optimizer.AdamW(
        learning_rate=a["learning_rate"],
        beta1=a["beta1"],
        beta2=a["beta2"],
        epsilon=a["epsilon"],
        weight_decay=a["weight_decay"],
        parameters=[parameter],
        multi_precision=True,
    )
    for gradient in tensors[1:]:
        parameter.grad = gradient
        optimizer.step()
    (master,) = optimizer.state_dict()["master_weights"].values()
    return [parameter, master]


def _with_master(x: list[Operand], a: Attributes) -> list[Operand]:
    """The step is taken in float32 by the copy that starts out as the parameter; the parameter is its rounding."""
    single = Arithmetic.of("float32")
    master = adamw_of([Tracked(item.value, single) for item in x], a)[0]
    return [Tracked(master.value, Arithmetic.of(x[0].arithmetic.storage, "float32"), master.error), master]


register(
    OperatorSpec(
        name="adamw_master",
        call=_master_call,
        oracle=_with_master,
        kernels=lambda a, dtype: [Kernel(("adamw",), dtype)],
        result_dtypes=lambda a, dtype: [dtype, "float32"],
        kind=Kind.OPTIMIZER,
        examples=lambda dtype: st.builds(
            lambda shape, count, rate: steps(shape, count, learning_rate=rate),
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
            st.integers(1, 4),
            st.sampled_from([1e-3, 1e-2]),
        ),
        corners=lambda dtype: [steps((4, 6), 3), steps((1,), 2, learning_rate=3e-4), steps((64, 33), 2)],
        dtypes=(),
        offered=HALVES,
        static=False,
        mutates=(0,),
        aliases=("paddle.optimizer.AdamW",),
    )
)


def _unscale_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    gradients, found = paddle._C_ops.check_finite_and_unscale_(list(tensors[:-1]), tensors[-1])
    return [*gradients, found]


def _finite(x: Sequence[Operand]) -> bool:
    return all(bool(np.isfinite(value_of(item)).all()) for item in x)


def _unscaled(x: list[Operand], a: Attributes) -> list[Operand]:
    """x / scale, a power of two; whether any element of any gradient is NaN or infinite."""
    *gradients, scale = x
    factor = 1.0 / float(value_of(scale)[0])
    return [*(item * factor for item in gradients), np.asarray([not _finite(gradients)])]


def _scaled(shapes: Sequence[Sequence[int]], regime: str, scale: float) -> Description:
    """``regime`` is that of the last gradient; the others are normal."""
    regimes = ["normal"] * (len(shapes) - 1) + [regime]
    gradients = [tensor(shape, name) for shape, name in zip(shapes, regimes, strict=True)]
    return describe(*gradients, tensor([1], "listed", "float32", values=[scale]))


register(
    OperatorSpec(
        name="check_finite_and_unscale",
        call=_unscale_call,
        oracle=_unscaled,
        kind=Kind.ELEMENTWISE,
        examples=lambda dtype: st.builds(
            lambda shapes, regime, power: _scaled(shapes, regime, 2.0**power),
            st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=3),
            st.sampled_from(["normal", "special"]),
            st.integers(1, 8),
        ),
        corners=lambda dtype: [
            _scaled([(3, 5)], "normal", 128.0),
            _scaled([(4, 2), (7,)], "special", 64.0),
            _scaled([(9,), (1,), (64, 33)], "normal", 1024.0),
            _scaled([(1031,)], "special", 2.0),
        ],
        offered=HALVES,
        static=False,
        mutates=tuple(range(8)),
        stress=False,
        aliases=("paddle.amp.GradScaler",),
    )
)

GROW_AFTER, SHRINK_AFTER, GROWTH, SHRINKAGE = 4, 2, 2.0, 0.5


def _update_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    gradients, *state = paddle._C_ops.update_loss_scaling_(
        [tensors[0]], *tensors[1:], GROW_AFTER, SHRINK_AFTER, GROWTH, SHRINKAGE, False
    )
    return [*gradients, *state]


def _updated(x: list[Operand], a: Attributes) -> list[Operand]:
    """The scale grows after GROW_AFTER good steps in a row and shrinks after SHRINK_AFTER bad ones; the gradients of
    a bad step become 0."""
    gradient, bad_step, scale, good, bad = x
    size, overflow = float(value_of(scale)[0]), bool(bad_step[0])
    goods, bads = (0, int(bad[0]) + 1) if overflow else (int(good[0]) + 1, 0)
    if bads == SHRINK_AFTER:
        size, bads = size * SHRINKAGE, 0
    elif goods == GROW_AFTER:
        size, goods = size * GROWTH, 0
    kept = b.move(lambda v: np.zeros_like(v) if overflow else v, gradient)
    return [kept, Tracked([size], scale.arithmetic), *(np.asarray([n], np.int32) for n in (goods, bads))]


def _state(shape: Sequence[int], overflow: bool, scale: float, good: int, bad: int) -> Description:
    numbers = [tensor([1], "listed", "int32", values=[n]) for n in (good, bad)]
    found = tensor([1], "listed", "bool", values=[overflow])
    return describe(tensor(shape), found, tensor([1], "listed", "float32", values=[scale]), *numbers)


register(
    OperatorSpec(
        name="update_loss_scaling",
        call=_update_call,
        oracle=_updated,
        result_dtypes=lambda a, dtype: [dtype, "float32", "int32", "int32"],
        kind=Kind.EXACT,
        examples=lambda dtype: st.builds(
            _state,
            st.lists(st.integers(1, 9), min_size=1, max_size=3),
            st.booleans(),
            st.sampled_from([2.0, 1024.0, 65536.0]),
            st.integers(0, GROW_AFTER - 1),
            st.integers(0, SHRINK_AFTER - 1),
        ),
        corners=lambda dtype: [
            _state((3, 5), False, 1024.0, 0, 0),
            _state((7,), True, 1024.0, 2, SHRINK_AFTER - 1),
            _state((4, 6), False, 512.0, GROW_AFTER - 1, 0),
            _state((2, 2), True, 65536.0, 3, 0),
        ],
        offered=HALVES,
        static=False,
        mutates=tuple(range(5)),
        stress=False,
        aliases=("paddle.amp.GradScaler",),
    )
)
