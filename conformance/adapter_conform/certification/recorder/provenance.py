"""Where and with what a pack was recorded."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["device_of", "sources_digest", "versions"]


def device_of(kind: str) -> dict[str, Any]:
    """``kind`` (cuda, cpu), ``name``, and of a GPU driver, compute capability, memory, number.

    Raises:
        ValueError: PyTorch has no such device here.
    """
    import torch

    if kind == "cpu":
        return {"kind": "cpu", "name": _processor(), "cores": os.cpu_count()}
    if not torch.cuda.is_available():
        raise ValueError(
            f"PyTorch {torch.__version__} of {sys.executable} sees no CUDA device; give another interpreter, see that "
            "`nvidia-smi` works, or record with --device cpu (which cannot stand for a GPU)"
        )
    properties = torch.cuda.get_device_properties(0)
    return {
        "kind": "cuda",
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
        "number": torch.cuda.device_count(),
        "driver": _driver(),
    }


def versions() -> dict[str, str]:
    import numpy
    import safetensors
    import torch
    import transformers

    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
        "system": platform.platform(),
    }
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
        found["cudnn"] = str(torch.backends.cudnn.version())
    return found


def sources_digest() -> str:
    """sha256 of the recorder and the recipes, whether they lie in a folder or in an archive."""
    from importlib.resources import files

    found = hashlib.sha256()
    for package in ("recipes", "recorder", "recorder.diffusion"):
        folder = files(f"adapter_conform.certification.{package}")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                found.update(f"{package}/{entry.name}\n".encode() + entry.read_bytes())
    return found.hexdigest()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _driver() -> str:
    """Empty where nothing tells."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        lines = done.stdout.split()
        if done.returncode == 0 and lines:
            return lines[0]
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return ""
