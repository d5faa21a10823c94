"""What the installed wheel of refchip, the example that vendors copy, declares and brings along."""

from __future__ import annotations

from importlib import metadata

import pytest

pytestmark = pytest.mark.device


def test_only_the_library_goes_into_the_shared_folder() -> None:
    files = metadata.distribution("adapter-refchip").files or []
    shared = [str(file) for file in files if "paddle_custom_device" in file.parts]
    assert shared == ["paddle_custom_device/librefchip.so"]


def test_the_supported_paddle_is_declared() -> None:
    requirements = metadata.requires("adapter-refchip") or []
    assert any(text.startswith("paddlepaddle") and ">=" in text and "<" in text for text in requirements), requirements
