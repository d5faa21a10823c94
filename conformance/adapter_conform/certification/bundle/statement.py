"""The statement that is signed: in-toto Statement v1, its subjects every file of the bundle."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from adapter_conform.certification.bundle.files import bundle_files, sha256
from adapter_conform.certification.certifying import CertificateFiles
from adapter_conform.manifest import read_manifest

__all__ = ["PREDICATE", "make_statement", "tool_version"]

_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:adapter-conform:certificate:v1"


def make_statement(root: Path) -> dict[str, Any]:
    """Over the bundle in ``root`` as it lies there now. Raises OSError, UsageProblem."""
    manifest = read_manifest(root / "plan.json")
    certificate = json.loads(CertificateFiles(root).certificate.read_text(encoding="utf-8"))
    reference = json.loads(CertificateFiles(root).reference.read_text(encoding="utf-8"))
    plugin = manifest.plugin
    return {
        "_type": _TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256(root / name)}} for name in bundle_files(root)],
        "predicateType": PREDICATE,
        "predicate": {
            **{key: certificate[key] for key in ("level", "scale", "title", "verdict")},
            "request": certificate["request"],
            "reference": {key: reference[key] for key in ("name", "digest", "label", "is_gpu")},
            "plugin": {
                "name": manifest.plugin_name,
                "distribution": plugin.get("distribution"),
                "version": plugin.get("distribution_version"),
                "library_sha256": manifest.library_sha256,
                "installed_files_sha256": _installed(plugin.get("distribution")),
            },
            "versions": dict(manifest.versions),
            "tool": {"version": tool_version(), "installed_files_sha256": _installed("adapter-sdk")},
            "sealed": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        },
    }


def tool_version() -> str:
    """Of adapter-sdk; "unknown" in a checkout that is not installed."""
    try:
        return metadata.version("adapter-sdk")
    except metadata.PackageNotFoundError:
        return "unknown"


def _installed(distribution: Any) -> str:
    """sha256 of the wheel's RECORD, which lists the digests of all its files; empty for what came by no wheel."""
    try:
        record = metadata.distribution(str(distribution)).read_text("RECORD") if distribution else None
    except metadata.PackageNotFoundError:
        return ""
    return hashlib.sha256(record.encode()).hexdigest() if record else ""


def subjects(statement: Mapping[str, Any]) -> dict[str, str]:
    """Name -> sha256. Raises KeyError, TypeError for another form."""
    return {str(entry["name"]): str(entry["digest"]["sha256"]) for entry in statement["subject"]}
