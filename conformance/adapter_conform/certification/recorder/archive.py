"""The recorder as one file that any Python with PyTorch runs: a zip application (PEP 441)."""

from __future__ import annotations

import shutil
import tempfile
import zipapp
from pathlib import Path

__all__ = ["write_archive"]

_PARTS = (
    "errors.py",
    "models/__init__.py",
    "models/data.py",
    "models/diffusion_names.py",
    "models/diffusion_settings.py",
    "models/shape.py",
    "models/weights.py",
    "certification/__init__.py",
    "certification/arrays.py",
    "certification/digests.py",
    "certification/logits.py",
    "certification/measurement.py",
    "certification/packs",
    "certification/recipes",
    "certification/recorder",
    "certification/recorder/diffusion",
    "quantization/__init__.py",
    "quantization/calibration.py",
    "quantization/integers.py",
)
"""Of the package ``adapter_conform``; whatever these import must be among them."""

_AT_HOME = ("operator_cases.py",)
"""Prepares what is recorded, with the operator suite; runs where that is."""


def write_archive(target: Path) -> None:
    """Writes ``target``, e.g. ``recorder.pyz``. Raises OSError where that cannot be written."""
    package = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "adapter_conform"
        for part in _PARTS:
            for source in _sources(package / part):
                copy = root / source.relative_to(package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
        # The package's own __init__ imports the whole frame, which the recorder does without.
        (root / "__init__.py").write_text('"""What the recorder needs of adapter-conform."""\n', "utf-8")
        zipapp.create_archive(
            folder,
            target,
            interpreter="/usr/bin/env python3",
            main="adapter_conform.certification.recorder.cli:main",
            compressed=True,
        )


def _sources(path: Path) -> list[Path]:
    found = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return [source for source in found if source.name not in _AT_HOME]
