"""What a measurement has to say about where and when it was made."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """Date, processor, load and versions, in three lines. No host name."""
    versions = ", ".join(f"{name} {_version(name)}" for name in ("paddlepaddle", "adapter-sdk", "numpy"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"date     {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC\n"
        f"machine  {_processor()}, {os.cpu_count()} cores, load average {load} (1, 5, 15 minutes)\n"
        f"versions Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
