"""What a worker tells of the plugin's kernels and of the software around it, for the report."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from adapter_conform.jsondata import jsonable

__all__ = ["describe_environment", "describe_host", "describe_kernels", "describe_plugin"]

_KERNEL_FIELDS = ("operator", "dtype", "registration", "refusal", "accumulator", "provenance")
_PLUGIN_FIELDS = ("name", "distribution", "distribution_version")
_DISTRIBUTIONS = ("adapter-sdk", "paddlepaddle", "numpy", "ml_dtypes", "paddlenlp", "torch")


def describe_kernels(session: Any) -> list[dict[str, Any]]:
    """One row per operator and dtype that the plugin declares, with whether Paddle's own registry holds it.

    A library may bring a kernel several times, with a signature for each range of Paddle releases; the one that was
    registered stands for them all. ``refusals`` holds, without repetition, what was said of those that were not.
    """
    library = getattr(session, "library", None) or session.plugin.library
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for kernel in session.plugin.kernels if library is None else library.kernels():
        row = {name: jsonable(getattr(kernel, name, None)) for name in _KERNEL_FIELDS}
        key = (kernel.operator, kernel.dtype)
        known = rows.get(key)
        row["refusals"] = [] if known is None else known["refusals"]
        if row["registration"] == "refused" and row["refusal"] not in row["refusals"]:
            row["refusals"].append(row["refusal"])
        if known is None or row["registration"] == "registered":
            row["in_paddle_registry"] = bool(session.is_registered(*key))
            rows[key] = row
    return list(rows.values())


def describe_environment(session: Any) -> dict[str, Any]:
    """What only a worker knows: the device in use and the Paddle that was imported."""
    paddle = getattr(session, "paddle", None)
    found: dict[str, Any] = {"device": str(getattr(session, "device", ""))}
    if paddle is not None:
        found["paddle"] = str(paddle.__version__)
        found["paddle_commit"] = str(getattr(paddle.version, "commit", ""))
    return found


def describe_host() -> dict[str, Any]:
    """The machine and the installed packages, without a name that would identify the machine."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "packages": {name: version for name in _DISTRIBUTIONS if (version := _version(name)) is not None},
    }


def describe_plugin(plugin: Any) -> dict[str, Any]:
    """Identity of a plugin as it stands in ``results.json``: its own fields and those of its device."""
    found = {name: jsonable(getattr(plugin, name)) for name in _PLUGIN_FIELDS if hasattr(plugin, name)}
    device = getattr(plugin, "device", None)
    if device is not None:
        found["device"] = jsonable(device)
    misfits = getattr(getattr(plugin, "description", None), "misfits", None)
    if misfits is not None:  # a bare device
        found["bare"] = True
        found["misfits"] = {"/".join(kernel): why for kernel, why in misfits.items()}
    return found


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
