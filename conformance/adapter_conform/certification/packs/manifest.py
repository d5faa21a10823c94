"""``pack.json``: what a pack consists of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.certification.packs.errors import PackError

__all__ = ["FILE", "FORMAT", "OPERATORS_FILE", "Entry", "PackManifest", "final_path", "read_manifest"]

FILE = "pack.json"
FORMAT = 1
OPERATORS_FILE = "operators/operators.json"
"""Errors of operators, as :class:`adapter_conform.reference.OperatorPack` reads them."""

_LARGEST = 16 << 20
"""Bytes of the manifest itself."""
_PATH = re.compile(r"(measurements|weights|operators)/[A-Za-z0-9][A-Za-z0-9._-]{0,150}\.(json|json\.gz|safetensors)")
"""Everything a pack may hold; no part can be "..", absolute, or a device of some system."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def final_path(recipe_id: str) -> str:
    """Where a pack holds what a recipe has learned."""
    return f"weights/{recipe_id.replace('/', '.')}.safetensors"


@dataclass(frozen=True)
class Entry:
    sha256: str
    bytes: int


@dataclass
class PackManifest:
    name: str
    provenance: dict[str, Any]
    """Device, versions, settings, scale, seed, dates."""
    files: dict[str, Entry] = field(default_factory=dict)
    """Path within the pack, with "/" -> its content. All files but this one."""
    weights: dict[str, str] = field(default_factory=dict)
    """Id of a recipe -> path of the weights that it starts from."""

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> PackManifest:
    """Raises PackError: there is none, or it is not what :meth:`PackManifest.to_json` writes."""
    path = folder / FILE
    if path.is_symlink() or not path.is_file():
        raise PackError(f"{folder} is no reference pack: it holds no file {FILE}\nGive the folder that `record` wrote.")
    if path.stat().st_size > _LARGEST:
        raise PackError(f"{path} is larger than {_LARGEST >> 20} MiB: no manifest")
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError("no JSON object")
        if type(data.get("format")) is not int or data["format"] != FORMAT:  # True == 1
            raise ValueError(
                f"format {data.get('format')!r}, this release knows {FORMAT}: record the pack again, or use the "
                "release of adapter-conform that it was recorded with"
            )
        return _of(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:  # JSON errors are ValueErrors
        raise PackError(f"{path} cannot be used: {type(error).__name__}: {error}") from error


def _of(data: Mapping[str, Any]) -> PackManifest:
    """Raises ValueError, TypeError or KeyError for anything that is not as described above."""
    unknown = data.keys() - {"format", "name", "provenance", "files", "weights"}
    if unknown:
        raise ValueError(f"unknown entries {', '.join(sorted(unknown))}")
    name, provenance = data["name"], data["provenance"]
    if not isinstance(name, str) or not name or not isinstance(provenance, dict):
        raise ValueError("name or provenance is missing")
    device = provenance["device"]
    if not isinstance(device, dict) or not isinstance(device["name"], str) or device["kind"] not in ("cpu", "cuda"):
        raise ValueError("provenance names no device of kind cpu or cuda")
    files = {path: _entry(path, entry) for path, entry in data["files"].items()}
    weights = dict(data["weights"])
    for recipe, path in weights.items():
        if path not in files or not path.endswith(".safetensors"):
            raise ValueError(f"weights of {recipe}: {path!r} is no weights file of the pack")
    return PackManifest(name, provenance, files, weights)


def _entry(path: str, entry: Mapping[str, Any]) -> Entry:
    if not _PATH.fullmatch(path) or ".." in path:
        raise ValueError(f"file {path!r}: a pack holds measurements/*.json.gz, weights/*.safetensors, operators/*.json")
    sha256, size = entry["sha256"], entry["bytes"]
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"file {path}: {sha256!r} is no sha256")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"file {path}: {size!r} is no number of bytes")
    return Entry(sha256, size)
