"""Weights, corpus and shapes of the training workloads: reproducible, complete, and laid out as promised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapter_conform.models import LlamaShape, llama_weights, markov_batches, read_weights, write_weights
from adapter_conform.models.data import FIRST_TOKEN
from adapter_conform.models.weights import paddle_layout
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPE = LlamaShape()


def test_the_default_model_has_about_half_a_million_parameters() -> None:
    assert sum(array.size for array in llama_weights(SHAPE, 0).values()) == 434_816


@pytest.mark.parametrize(("hidden", "heads", "key_value_heads"), [(130, 4, 2), (128, 4, 3)])
def test_heads_that_do_not_fit_are_refused(hidden: int, heads: int, key_value_heads: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        LlamaShape(hidden=hidden, heads=heads, key_value_heads=key_value_heads)


def test_weights_depend_on_the_seed_alone() -> None:
    first, again, other = llama_weights(SHAPE, 7), llama_weights(SHAPE, 7), llama_weights(SHAPE, 8)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["lm_head.weight"], other["lm_head.weight"])


def test_weights_survive_their_file(tmp_path: Path) -> None:
    weights = llama_weights(SHAPE, 1)
    write_weights(tmp_path / "w.safetensors", weights)
    back = read_weights(tmp_path / "w.safetensors")
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], array)


def test_paddle_layout_transposes_linear_layers_only() -> None:
    weights = llama_weights(SHAPE, 1)
    paddle = paddle_layout(weights, base="llama")
    assert len(paddle) == len(weights)
    np.testing.assert_array_equal(paddle["llama.embed_tokens.weight"], weights["model.embed_tokens.weight"])
    np.testing.assert_array_equal(paddle["llama.norm.weight"], weights["model.norm.weight"])
    np.testing.assert_array_equal(paddle["lm_head.weight"], weights["lm_head.weight"].T)
    down = "layers.1.mlp.down_proj.weight"
    np.testing.assert_array_equal(paddle[f"llama.{down}"], weights[f"model.{down}"].T)
    # Square, so that its shape cannot tell whether it was transposed.
    query = "layers.0.self_attn.q_proj.weight"
    np.testing.assert_array_equal(paddle[f"llama.{query}"], weights[f"model.{query}"].T)


@given(
    vocabulary=st.integers(FIRST_TOKEN + 2, 60),
    steps=st.integers(1, 4),
    rows=st.integers(1, 5),
    length=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None)
def test_batches_are_walks_within_the_vocabulary(
    vocabulary: int, steps: int, rows: int, length: int, seed: int
) -> None:
    inputs, labels = markov_batches(vocabulary, steps, rows, length, seed)
    assert inputs.shape == labels.shape == (steps, rows, length)
    assert inputs.dtype == labels.dtype == np.int64
    np.testing.assert_array_equal(inputs[:, :, 1:], labels[:, :, :-1])
    assert min(inputs.min(), labels.min()) >= FIRST_TOKEN
    assert max(inputs.max(), labels.max()) < vocabulary
    np.testing.assert_array_equal(markov_batches(vocabulary, steps, rows, length, seed)[0], inputs)


def test_the_corpus_can_be_learned() -> None:
    """A table of bigrams, counted on the first half, predicts the second half far better than chance."""
    inputs, labels = markov_batches(64, 200, 8, 32, seed=3)
    counts = np.full((64, 64), 0.1)
    np.add.at(counts, (inputs[:100].ravel(), labels[:100].ravel()), 1.0)
    probability = counts / counts.sum(axis=1, keepdims=True)
    loss = -np.log(probability[inputs[100:].ravel(), labels[100:].ravel()]).mean()
    assert loss < 0.6 * np.log(64)


def test_a_vocabulary_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer than two tokens"):
        markov_batches(FIRST_TOKEN + 1, 1, 1, 1, 0)
