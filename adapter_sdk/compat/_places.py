"""Of which device type a place is."""

from __future__ import annotations

from typing import Any

__all__ = ["current_device_type", "device_type_of"]


def device_type_of(place: Any) -> str | None:
    """``None`` for Paddle's own places."""
    if hasattr(place, "is_custom_place"):  # a tensor's place, whatever its kind
        return str(place.custom_device_type()) if place.is_custom_place() else None
    if hasattr(place, "get_device_type"):
        return str(place.get_device_type())
    return None


def current_device_type() -> str | None:
    """That of ``paddle.set_device``."""
    import paddle

    return device_type_of(paddle.framework._current_expected_place())
