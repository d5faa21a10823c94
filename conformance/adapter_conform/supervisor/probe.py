"""Loads the plugin in a process of its own before the supervisor does.

What the plugin's Python and native code does to the process that loads it, it would do to the supervisor: a crash, a
hang, or an ``exit(0)`` that the caller would take for "conformant".
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import NoReturn

from adapter_conform.errors import ConformError
from adapter_conform.supervisor.process import describe_exit

__all__ = ["main", "probe_plugin"]

_SURVIVED = 86
"""An exit status that no plugin ends with by chance."""
_LIMIT_SECONDS = 60.0
_TAIL_CHARACTERS = 2000


def probe_plugin(name: str, limit: float = _LIMIT_SECONDS) -> None:
    """Returns when a process lives through loading plugin ``name``; errors that loading raises are left to the caller.

    ``limit`` is in seconds.

    Raises:
        ConformError: the process died, ended itself, or was still at it after ``limit``.
    """
    command = [sys.executable, "-m", "adapter_conform.supervisor.probe", name]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise _fault(name, f"did not end within {limit:g} s", error.stderr) from error
    if done.returncode != _SURVIVED:
        raise _fault(name, f"ended its process: {describe_exit(done.returncode)}", done.stderr)


def _fault(name: str, what: str, stderr: bytes | None) -> ConformError:
    tail = (stderr or b"").decode(errors="replace")[-_TAIL_CHARACTERS:].strip() or "nothing was printed"
    return ConformError(
        f"loading plugin {name!r} {what}\n{tail}\n"
        "Its import, a hook, or its library's table does this: see what `adapter-sdk devices` does with it installed."
    )


def main() -> NoReturn:
    """Loads the plugin that the command line names, and says by the exit status that it came back."""
    import faulthandler

    from adapter_sdk import load
    from adapter_sdk.errors import AdapterError

    faulthandler.enable()
    with contextlib.suppress(AdapterError):  # it will be raised again where it is reported
        load(sys.argv[1])
    os._exit(_SURVIVED)


if __name__ == "__main__":
    main()
