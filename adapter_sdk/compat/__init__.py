"""Mends of Paddle's Python tables that are hard-coded by device name.

Paddle's kernels and runtime know a custom device by what it registers, but some of its Python modules ask for the name
of a device instead, or for how Paddle was built, and treat any other as less able. Each such place is one :class:`Mend`
or :class:`TableMend` in a file of its own topic, with the reason, and a test that fails when Paddle no longer needs it.
A device's abilities are read from what its plugin declares, never from its name.

    mounted = adapter_sdk.mount("mychip")
    import paddle
    adapter_sdk.compat.apply(mounted)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapter_sdk.compat import amp, attention, distributed
from adapter_sdk.compat._mend import Applied, Mend, TableMend
from adapter_sdk.versions import matches

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["Applied", "Mend", "TableMend", "apply", "mends"]


def mends() -> Sequence[Mend | TableMend]:
    """Every mend, whether or not a device wants it."""
    return (*amp.MENDS, *attention.MENDS, *distributed.MENDS)


def apply(plugin: LoadedPlugin) -> list[Applied]:
    """Mends the imported Paddle for the device of ``plugin``; a second call changes nothing.

    Returns:
        what was mended now, each with its ``undo``. Empty where the device declares nothing that needs it.

    Raises:
        RuntimeError: Paddle is not imported, or lacks a place that a mend knows (a release that nobody has tried).
    """
    applied = []
    paddle = sys.modules.get("paddle")
    release = None if paddle is None else str(paddle.__version__)
    for mend in mends():
        if (release is None or matches(release, mend.releases)) and mend.wanted(plugin):
            done = mend.apply(plugin)
            if done is not None:
                applied.append(done)
    return applied
