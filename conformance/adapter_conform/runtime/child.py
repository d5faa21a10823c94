"""Checks that cost the process its life, or are about its end, run in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapter_conform.runtime.errors import CheckFailed

if TYPE_CHECKING:
    from adapter_conform.runtime.bench import Bench

__all__ = ["Child", "run_child"]

_MODULE = "adapter_conform.runtime.actions"
_TIMEOUT = 90.0
"""Seconds; an import of Paddle takes a busy machine ten."""


@dataclass(frozen=True)
class Child:
    status: int
    """As ``subprocess`` gives it: below 0 for a signal."""
    ending: str
    reported: dict[str, Any]
    """What it said before its end."""
    log: str


def run_child(bench: Bench, action: str) -> Child:
    """Runs an action of :mod:`adapter_conform.runtime.actions` on the bench's plugin and card, and waits for its end.

    Raises:
        CheckFailed: it did not end within 90 s, or never got as far as the action.
    """
    command = [sys.executable, "-m", _MODULE, bench.session.target, str(bench.seed), str(bench.card), action]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""  # bytes or text, as Python pleases
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        raise CheckFailed(f"the process did not end within {_TIMEOUT:g} s; it had said {text.strip()!r}") from error
    reported: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            reported.update(json.loads(line))
    log = (done.stderr or done.stdout)[-2000:]
    bench.notes["process"] = {"action": action, "status": done.returncode, "reported": reported, "log": log}
    if "place" not in reported:
        raise CheckFailed(f"the process got no data onto the device; it ended with {done.returncode}: {log[-500:]}")
    return Child(done.returncode, _describe(done.returncode), reported, log)


def _describe(status: int) -> str:
    return f"died of signal {-status}" if status < 0 else f"ended with exit code {status}"
