"""What mixed precision and clipping do to gradients: unscaling, loss scales, norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Operand, Tracked
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _state_dtype(dtype: str) -> str:
    """Scales are held in float32 for the half types."""
    return "float64" if dtype == "float64" else "float32"


def _scalar(value: float, dtype: str) -> Any:
    return tensor([1], "listed", dtype, values=[value])


def _unscale_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    gradients, found = paddle._C_ops.check_finite_and_unscale_(list(t[1:]), t[0])
    return [found] if a["flag"] else [*gradients, found]


def _unscaled(x: list[Operand], a: Attributes) -> list[Operand]:
    """x / scale, or x * (1 / scale); whether any of all numbers is NaN or infinite.

    Of a bad step the flag alone counts: nobody uses its gradients.
    """
    scale = x[0].value
    results = [item * (Tracked(1.0, item.arithmetic) / Tracked(scale, item.arithmetic)) for item in x[1:]]
    found = np.asarray([not all(np.isfinite(item.value).all() for item in x[1:])])
    return [found] if a["flag"] else [*results, found]


def _unscale(shapes: Sequence[Sequence[int]], scale: float, dtype: str, regime: str = "normal") -> Description:
    return describe(
        _scalar(scale, _state_dtype(dtype)), *[tensor(shape, regime) for shape in shapes], flag=regime == "special"
    )


register(
    OperatorSpec(
        name="check_finite_and_unscale",
        call=_unscale_call,
        oracle=_unscaled,
        kind=Kind.ELEMENTWISE,
        left_out={"special": "the gradients of a bad step are of no use; a corner case looks at the flag"},
        examples=lambda dtype: st.builds(
            lambda shapes, scale: _unscale(shapes, scale, dtype),
            st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=3),
            st.sampled_from([1024.0, 3.0, 1.0]),
        ),
        corners=lambda dtype: [
            _unscale([(3, 5), (7,)], 1024.0, dtype),
            _unscale([(4, 6)], 3.0, dtype, "special"),
            _unscale([(64, 65), (1,), (2, 3)], 65536.0, dtype),
        ],
        static=False,
        mutates=(1, 2, 3),
        aliases=("paddle.amp.GradScaler",),
    )
)


def _scaling_call(paddle: Any, t: Sequence[Any], a: Attributes) -> Any:
    gradient, found, scale, good, bad = t
    results = paddle._C_ops.update_loss_scaling_(
        [gradient], found, scale, good, bad, a["grow_after"], a["shrink_after"], 2.0, 0.5, False
    )
    return [results[0][0], *results[1:]]


def _scaling(x: list[Operand], a: Attributes) -> list[Operand]:
    """A bad step empties the gradients; the scale doubles after enough good steps and halves after enough bad ones."""
    gradient, found, scale, good, bad = x
    broken = bool(found[0])
    good, bad = (np.zeros_like(good), bad + 1) if broken else (good + 1, np.zeros_like(bad))
    factor = 1.0
    if broken and bad[0] == a["shrink_after"]:
        factor, bad = 0.5, np.zeros_like(bad)
    elif not broken and good[0] == a["grow_after"]:
        factor, good = 2.0, np.zeros_like(good)
    kept = b.move(np.zeros_like, gradient) if broken else gradient
    return [kept, b.move(lambda v: np.maximum(v * factor, 1.0), scale), good, bad]


def _step(found: bool, good: int, bad: int, dtype: str, scale: float = 1024.0) -> Description:
    return describe(
        tensor([4, 6]),
        tensor([1], "listed", "bool", values=[found]),
        _scalar(scale, _state_dtype(dtype)),
        tensor([1], "listed", "int32", values=[good]),
        tensor([1], "listed", "int32", values=[bad]),
        grow_after=4,
        shrink_after=2,
    )


register(
    OperatorSpec(
        name="update_loss_scaling",
        call=_scaling_call,
        oracle=_scaling,
        result_dtypes=lambda a, dtype: [dtype, _state_dtype(dtype), "int32", "int32"],
        kind=Kind.EXACT,
        stress=False,
        examples=lambda dtype: st.builds(
            lambda found, good, bad: _step(found, good, bad, dtype),
            st.booleans(),
            st.integers(0, 3),
            st.integers(0, 1),
        ),
        corners=lambda dtype: [
            _step(False, 3, 0, dtype),
            _step(True, 2, 1, dtype),
            _step(True, 0, 0, dtype),
            _step(True, 1, 1, dtype, scale=1.0),
        ],
        static=False,
        mutates=(0, 2, 3, 4),
        aliases=("paddle.amp.GradScaler",),
    )
)


def _clipped(x: list[Operand], a: Attributes) -> list[Operand]:
    """x, or x * (max_norm / |x|) where its Euclidean norm is larger."""
    norm = b.root(b.total(x[0] * x[0]))
    if norm.value <= a["max_norm"]:
        return [x[0]]
    return [x[0] * (norm.lift(float(a["max_norm"])) / norm)]


register(
    OperatorSpec(
        name="clip_by_norm",
        call=lambda paddle, t, a: paddle.nn.clip.clip_by_norm(t[0], a["max_norm"]),
        oracle=_clipped,
        kind=Kind.NORM,
        examples=lambda dtype: st.builds(
            lambda shape, limit: describe(tensor(shape), max_norm=limit),
            st.lists(st.integers(2, 9), min_size=1, max_size=3),
            st.sampled_from([0.5, 1.0]),
        ),
        corners=lambda dtype: [
            describe(tensor((4, 6)), max_norm=1.0),
            describe(tensor((7, 13)), max_norm=1e4),
            describe(tensor((64, 128)), max_norm=2.5),
        ],
        offered=("float16", "bfloat16"),
        left_out={
            "special": "what becomes of a tensor whose norm is NaN or infinite is nowhere said",
            "wide_range": "squares of 2^40 fit, those of a half type's largest numbers do not",
        },
        aliases=("paddle.nn.ClipGradByNorm",),
    )
)
