"""Makes sure that the supervisor will live through loading the plugin."""

from __future__ import annotations

from adapter_conform.errors import ConformError
from adapter_sdk._probe import why_loading_dies

__all__ = ["probe_plugin"]


def probe_plugin(name: str, limit: float = 60.0) -> None:
    """Returns when a process lives through loading plugin ``name``; errors that loading raises are left to the caller.

    ``limit`` is in seconds.

    Raises:
        ConformError: the process died, ended itself, or was still at it after ``limit``.
    """
    fault = why_loading_dies(name, limit)
    if fault is not None:
        raise ConformError(
            f"loading plugin {name!r} {fault}\n"
            "Its import, a hook, or its library's table does this: see what `adapter-sdk devices` says of it."
        )
