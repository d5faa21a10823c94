"""Calls that can be written down, and simpler examples to try. No Paddle."""

from __future__ import annotations

import ast
import builtins
from typing import Any

import numpy as np
import pytest
from adapter_conform import catalogue
from adapter_conform.catalogue.values import describe, make_inputs, tensor
from adapter_conform.repro.shrink import candidates, size_of
from adapter_conform.repro.transplant import TransplantError, transplant


@pytest.mark.parametrize("spec", catalogue.all_specs(), ids=lambda spec: spec.name)
def test_every_call_can_be_written_down(spec: catalogue.OperatorSpec) -> None:
    text = transplant(spec.call, "call")
    scope: dict[str, Any] = {}
    exec(compile(text, spec.name, "exec"), scope)
    assert callable(scope["call"])
    tree = ast.parse(text)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.asname or node.name for node in ast.walk(tree) if isinstance(node, ast.alias)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert used <= bound | arguments | set(scope) | set(dir(builtins))


def test_a_written_call_does_what_the_call_does() -> None:
    factor = 3

    def scaled(x: int, more: int = 2) -> int:
        return x * factor * more

    scope: dict[str, Any] = {}
    exec(transplant(scaled, "call"), scope)
    assert scope["call"](5) == scaled(5)


def test_what_has_no_literal_is_refused() -> None:
    thing = object()

    def uses_it() -> Any:
        return thing

    with pytest.raises(TransplantError, match="'thing' is a object"):
        transplant(uses_it, "call")


def payload(example: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"example": example, "static": False, "backward": False, "repeats": 0, "streams": 0, **changes}


def test_simpler_ways_come_before_smaller_sides() -> None:
    example = {**describe(tensor([6, 8]), tensor([8, 5]), transpose_x=False, transpose_y=False), "layout": "sliced"}
    tried = list(candidates(catalogue.get("matmul"), "float32", payload(example, static=True, backward=True)))
    assert (tried[0]["static"], tried[1]["backward"], tried[2]["example"]["layout"]) == (False, False, "plain")
    sizes = [size_of(item["example"]) for item in tried[3:]]
    assert min(sizes) < size_of(example)


def test_a_side_that_two_inputs_share_shrinks_in_both() -> None:
    example = describe(tensor([6, 8]), tensor([8, 5]), transpose_x=False, transpose_y=False)
    tried = list(candidates(catalogue.get("matmul"), "float32", payload(example)))
    pairs = [[part["shape"] for part in item["example"]["inputs"]] for item in tried]
    assert [[6, 1], [1, 5]] in pairs
    assert [[1, 8], [8, 5]] in pairs


def test_a_side_that_an_attribute_repeats_shrinks_there_too() -> None:
    example = describe(tensor([3, 7]), tensor([7]), tensor([7]), normalized_shape=[7], epsilon=1e-5)
    tried = [item["example"] for item in candidates(catalogue.get("layer_norm"), "float32", payload(example))]
    assert any(item["attributes"]["normalized_shape"] == [1] and item["inputs"][1]["shape"] == [1] for item in tried)


def test_indices_stay_within_what_they_index() -> None:
    example = describe(tensor([6, 4]), tensor([5], "labels", "int64", classes=6), axis=0)
    for item in candidates(catalogue.get("gather"), "float32", payload(example)):
        table, index = make_inputs({**item["example"], "seed": 1}, "float32")
        if table.ndim == 2 and item["example"]["inputs"][1].get("classes") == table.shape[0]:
            assert np.all(index < table.shape[0])
