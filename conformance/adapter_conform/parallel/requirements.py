"""What fleet needs besides Paddle."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

from adapter_conform.models import paddlenlp_adapter

__all__ = ["why_no_fleet"]

_MENDED = (3, 3, 1)
"""The first release whose ``DistributedStrategy`` does without ``FieldDescriptor.label``, which protobuf 7 has not."""


def why_no_fleet(version_of: Callable[[str], str] = importlib.metadata.version) -> str | None:
    """Why models cannot be trained with fleet here, and what to do; ``None`` where they can. Imports no Paddle.

    Args:
        version_of: version of an installed distribution.
    """
    if (missing := paddlenlp_adapter.why_unavailable()) is not None:
        return missing
    try:
        paddle, protobuf = version_of("paddlepaddle"), version_of("protobuf")
    except importlib.metadata.PackageNotFoundError:  # a Paddle under another name; its ranks will tell
        return None
    if _numbers(paddle) < _MENDED and _numbers(protobuf) >= (7,):
        return f"fleet of Paddle {paddle} does not go with protobuf {protobuf}; pip install 'protobuf<7'"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
