"""Normalisations, the language-model loss, and the norm that gradient clipping takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from adapter_conform.catalogue import bounds as b
from adapter_conform.catalogue.bounds import Array, Operand, Tracked, value_of
from adapter_conform.catalogue.draw import unary, unary_corners
from adapter_conform.catalogue.precision import Arithmetic
from adapter_conform.catalogue.reduction import log_softmax_of, softmax_of
from adapter_conform.catalogue.registry import register
from adapter_conform.catalogue.spec import Attributes, Description, Kind, OperatorSpec
from adapter_conform.catalogue.values import describe, tensor

__all__: list[str] = []


def _last(x: Tracked, a: Attributes) -> tuple[int, ...]:
    """The axes that are normalised: as many of the last ones as the weight has."""
    return tuple(range(x.ndim - len(a["normalized_shape"]), x.ndim))


def _lead(x: Tracked, a: Attributes) -> tuple[int, ...]:
    return tuple(range(x.ndim - len(a["normalized_shape"])))


def _epsilon(a: Attributes) -> float:
    """The kernels take it as a C float, whatever the dtype of their tensors."""
    return float(np.float32(a["epsilon"]))


def _centred(x: Tracked, a: Attributes) -> tuple[Tracked, Tracked]:
    """(x - mean) / sqrt(variance + epsilon), and 1 / sqrt(variance + epsilon)."""
    axes = _last(x, a)
    apart = x - b.mean(x, axes, True)
    spread = b.inverse_root(b.mean(apart * apart, axes, True) + _epsilon(a))
    return apart * spread, spread


def _layer_norm_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    normal, spread = _centred(x[0], a)
    axes = _last(x[0], a)
    flow = d[0] * x[1]
    inner = flow - b.mean(flow, axes, True) - normal * b.mean(flow * normal, axes, True)
    lead = _lead(x[0], a)
    return [spread * inner, b.total(d[0] * normal, lead), b.total(d[0], lead)]


def _normalised(shape: Sequence[int], inputs: int, epsilon: float = 1e-5) -> Description:
    side = [shape[-1]]
    return describe(tensor(shape), *[tensor(side, "near_one")] * inputs, normalized_shape=side, epsilon=epsilon)


def _norm_examples(inputs: int) -> Any:
    return lambda dtype: st.builds(
        lambda shape: _normalised(shape, inputs),
        st.lists(st.integers(2, 17), min_size=2, max_size=3),
    )


def _norm_corners(inputs: int) -> Any:
    return lambda dtype: [_normalised(shape, inputs) for shape in ((3, 7), (2, 5, 16), (1, 33), (4, 32, 128))]


register(
    OperatorSpec(
        name="layer_norm",
        call=lambda paddle, t, a: paddle.nn.functional.layer_norm(
            t[0], a["normalized_shape"], t[1], t[2], epsilon=a["epsilon"]
        ),
        oracle=lambda x, a: [_centred(x[0], a)[0] * x[1] + x[2]],
        gradient=_layer_norm_gradient,
        kind=Kind.NORM,
        examples=_norm_examples(2),
        corners=_norm_corners(2),
        aliases=("paddle.nn.functional.layer_norm",),
    )
)


def _root_mean(x: Tracked, a: Attributes) -> tuple[Tracked, Tracked]:
    spread = b.inverse_root(b.mean(x * x, _last(x, a), True) + _epsilon(a))
    return x * spread, spread


def _rms_norm_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    normal, spread = _root_mean(x[0], a)
    flow = d[0] * x[1]
    inner = flow - normal * b.mean(flow * normal, _last(x[0], a), True)
    return [spread * inner, b.total(d[0] * normal, _lead(x[0], a))]


def _rms_norm_call(paddle: Any, tensors: Sequence[Any], a: Attributes) -> Any:
    result = paddle.nn.functional.rms_norm(tensors[0], a["normalized_shape"], tensors[1], a["epsilon"])
    return result[0] if isinstance(result, list | tuple) else result  # the inverse deviation comes along


register(
    OperatorSpec(
        name="rms_norm",
        call=_rms_norm_call,
        oracle=lambda x, a: [_root_mean(x[0], a)[0] * x[1]],
        gradient=_rms_norm_gradient,
        kind=Kind.NORM,
        examples=_norm_examples(1),
        corners=_norm_corners(1),
        dtypes=(),
        offered=("float32", "float16", "bfloat16"),
        aliases=("paddle.nn.functional.rms_norm",),
    )
)


def _rows_of(lead: Sequence[int], width: int) -> Description:
    return describe(tensor([*lead, width]), tensor([width]), normalized_shape=[width], epsilon=1e-5)


register(
    OperatorSpec(
        name="fast_rms_norm",
        call=lambda paddle, t, a: paddle._C_ops.fast_rms_norm(t[0], t[1], a["epsilon"])[0],
        oracle=lambda x, a: [_root_mean(x[0], a)[0] * x[1]],
        gradient=_rms_norm_gradient,
        kind=Kind.NORM,
        examples=lambda dtype: st.builds(
            _rows_of, st.lists(st.integers(1, 7), min_size=1, max_size=2), st.integers(1, 33)
        ),
        corners=lambda dtype: [_rows_of((3,), 5), _rows_of((2, 7), 128), _rows_of((1,), 1031)],
        dtypes=(),
        static=False,
        offered=("float32", "float16", "bfloat16"),
        aliases=("paddle.incubate.nn.functional.fast_rms_norm",),
    )
)

register(
    OperatorSpec(
        name="squared_l2_norm",
        call=lambda paddle, t, a: paddle.nn.clip._squared_l2_norm(t[0]),
        oracle=lambda x, a: [b.move(lambda v: np.reshape(v, (1,)), b.total(x[0] * x[0]))],
        gradient=lambda x, out, d, a: [x[0] * 2.0 * d[0][0]],
        kind=Kind.REDUCTION,
        examples=unary(("normal",), min_rank=1),
        corners=lambda dtype: [
            describe(tensor((3, 5), "integers"), probe=True),
            *[item for item in unary_corners(("normal",))(dtype) if item["inputs"][0]["shape"]],
        ],
        aliases=("paddle.nn.ClipGradByGlobalNorm",),
    )
)


def _flat_labels(x: list[Operand], a: Attributes) -> Array:
    """Labels with a trailing unit axis, as the logits' class axis is the last."""
    labels = value_of(x[1])
    return labels if labels.ndim == value_of(x[0]).ndim else labels[..., None]


def _cross_entropy(x: list[Operand], a: Attributes) -> list[Operand]:
    labels = _flat_labels(x, a)
    ignored = labels == a["ignore_index"]
    chosen = b.argselect(-log_softmax_of(x[0], -1), np.where(ignored, 0, labels), -1)
    losses = b.move(lambda v: np.where(ignored, 0.0, v), chosen)
    if a["reduction"] == "mean":  # with a negative ignore_index Paddle divides by the number of all labels
        return [b.mean(losses.stored())]  # Paddle calls another kernel for that
    return [losses.reshape(value_of(x[1]).shape)]


def _saved_softmax(x: Tracked) -> Tracked:
    """As the forward call left it: its sum held in float32 for the half types, whatever the gradient sums in."""
    model = x.arithmetic
    forward = Arithmetic.of(model.storage, "float32") if model.storage in ("float16", "bfloat16") else model
    saved = softmax_of(Tracked(x.value, forward, x.error), -1).stored()
    return Tracked(saved.value, model, saved.error)


def _cross_entropy_gradient(x: list[Operand], out: list[Operand], d: list[Operand], a: Attributes) -> list[Operand]:
    labels = _flat_labels(x, a)
    ignored = labels == a["ignore_index"]
    hot = (np.where(ignored, 0, labels) == np.arange(x[0].shape[-1])).astype(np.float64)
    flow = d[0] / float(labels.size) if a["reduction"] == "mean" else d[0].reshape(labels.shape)
    result = flow * (_saved_softmax(x[0]) - hot)
    return [b.move(lambda v: np.where(ignored, 0.0, v), result), None]


def _loss(
    lead: Sequence[int], classes: int, ignore: bool = False, reduction: str = "none", unit: bool = False
) -> Description:
    labels = tensor([*lead, 1] if unit else lead, "labels", "int64", classes=classes, ignore=-100 if ignore else None)
    return describe(tensor([*lead, classes]), labels, ignore_index=-100, reduction=reduction)


register(
    OperatorSpec(
        name="cross_entropy_with_softmax",
        call=lambda paddle, t, a: paddle.nn.functional.cross_entropy(
            t[0], t[1], ignore_index=a["ignore_index"], reduction=a["reduction"]
        ),
        oracle=_cross_entropy,
        gradient=_cross_entropy_gradient,
        kind=Kind.REDUCTION,
        examples=lambda dtype: st.builds(
            _loss,
            st.lists(st.integers(1, 6), min_size=1, max_size=2),
            st.integers(2, 40),
            st.booleans(),
            st.sampled_from(["none", "mean"]),
            st.booleans(),
        ),
        corners=lambda dtype: [
            _loss((5,), 7),
            _loss((3, 4), 11, ignore=True),
            _loss((6,), 9, reduction="mean"),
            _loss((2, 3), 5, unit=True),
            _loss((2, 31), 320, ignore=True),
            _loss((1,), 2),
        ],
        aliases=("paddle.nn.functional.cross_entropy",),
    )
)
