"""Where fleet cannot work, cases say so instead of failing the device."""

from __future__ import annotations

import pytest
from adapter_conform.models import paddlenlp_adapter
from adapter_conform.parallel.requirements import why_no_fleet


@pytest.mark.parametrize(
    ("paddle", "protobuf", "fits"),
    [
        ("3.3.0", "7.36.2", False),
        ("3.0.0", "7.0.0", False),
        ("3.3.0", "6.33.6", True),
        ("3.3.1", "7.36.2", True),
        ("3.3.1.post1", "7.36.2", True),
        ("3.4.0", "8.0.0", True),
    ],
)
def test_protobuf_that_a_release_does_not_go_with(
    paddle: str, protobuf: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paddlenlp_adapter, "why_unavailable", lambda: None)
    why = why_no_fleet({"paddlepaddle": paddle, "protobuf": protobuf}.__getitem__)
    assert (why is None) is fits
    if why is not None:
        assert f"Paddle {paddle} does not go with protobuf {protobuf}; pip install 'protobuf<7'" in why


def test_without_models_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddlenlp_adapter, "why_unavailable", lambda: "no PaddleNLP")
    assert why_no_fleet() == "no PaddleNLP"
