"""Loads a plugin in a process of its own first.

What a plugin's Python and native code does to the process that loads it, it would do to the caller: a crash, a hang, or
an ``exit(0)`` that a caller's caller would take for success.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import NoReturn

__all__ = ["describe_exit", "main", "why_loading_dies"]

_SURVIVED = 86
"""An exit status that no plugin ends with by chance."""
_LIMIT_SECONDS = 60.0
_TAIL_CHARACTERS = 2000


def describe_exit(status: int) -> str:
    """``"SIGSEGV"`` for a death by signal, ``"exit status 3"`` otherwise."""
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def why_loading_dies(name: str, limit: float = _LIMIT_SECONDS) -> str | None:
    """None when a process lives through loading plugin ``name``; errors that loading raises are left to the caller.

    Otherwise what became of the process (it died, ended itself, or was still at it after ``limit`` seconds) and the end
    of what it printed.
    """
    command = [sys.executable, "-m", "adapter_sdk._probe", name]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        return f"did not end within {limit:g} s\n{_tail(error.stderr)}"
    if done.returncode == _SURVIVED:
        return None
    return f"ended its process: {describe_exit(done.returncode)}\n{_tail(done.stderr)}"


def _tail(stderr: bytes | None) -> str:
    return (stderr or b"").decode(errors="replace")[-_TAIL_CHARACTERS:].strip() or "nothing was printed"


def main() -> NoReturn:
    """Loads the plugin that the command line names, and says by the exit status that it came back."""
    import faulthandler

    from adapter_sdk.errors import AdapterError
    from adapter_sdk.manager import load

    faulthandler.enable()
    with contextlib.suppress(AdapterError):  # it will be raised again where it is reported
        load(sys.argv[1])
    os._exit(_SURVIVED)


if __name__ == "__main__":
    main()
