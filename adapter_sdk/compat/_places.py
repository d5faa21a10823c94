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


def current_device_type() -> str:
    """That of ``paddle.set_device``, e.g. "cpu".

    Asked by name: while a static graph is traced, the expected place itself may be undefined.
    """
    import paddle

    return str(paddle.get_device()).split(":")[0]
