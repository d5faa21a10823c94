"""Drawn convolutions: each result depends on the image."""

from __future__ import annotations

import pytest
from adapter_conform.catalogue.draw import draw
from adapter_conform.catalogue.registry import get


@pytest.mark.parametrize("name", ["conv2d", "depthwise_conv2d"])
def test_no_window_lies_in_the_padding_altogether(name: str) -> None:
    for seed in range(20):
        for example in draw(get(name), "float32", 10, seed):
            attributes, window = example["attributes"], example["inputs"][1]["shape"][2:]
            if not isinstance(attributes["padding"], str):
                reach = [attributes["dilation"][side] * (window[side] - 1) for side in (0, 0, 1, 1)]
                assert all(padding <= most for padding, most in zip(attributes["padding"], reach, strict=True)), example
