"""The reference runs in a bundle are those of the pack that it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from adapter_conform.certification.bundle.files import sha256
from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.certification.certifying import CertificateFiles
from adapter_conform.certification.packs import read_pack
from adapter_conform.certification.packs.manifest import read_manifest
from adapter_conform.errors import ConformError

__all__ = ["check_reference"]


def check_reference(root: Path, pack: Path | None) -> Iterator[Finding]:
    """Raises ConformError when ``pack`` itself cannot be read."""
    files = CertificateFiles(root)
    where = files.reference.name
    try:
        summary = json.loads(files.reference.read_bytes())
        digest = hashlib.sha256(files.reference_manifest.read_bytes()).hexdigest()
        manifest = read_manifest(files.reference_manifest.parent)
    except (OSError, ValueError, ConformError) as error:
        yield Finding("reference", where, f"the reference cannot be read: {error}")
        return
    if digest != summary.get("digest"):
        yield Finding("reference", "reference/pack.json", "it is not the manifest that reference.json names")
    provenance = manifest.provenance
    if summary.get("provenance") != provenance or summary.get("name") != manifest.name:
        yield Finding("reference", where, "name or provenance is not that of the pack's manifest")
    if summary.get("is_gpu") != (provenance["device"]["kind"] == "cuda"):
        yield Finding("reference", where, "it claims another kind of device than the pack was recorded on")
    wanted = {name: entry.sha256 for name, entry in manifest.files.items() if name.startswith("measurements/")}
    for name, expected in wanted.items():
        path = root / "reference" / name
        if not path.is_file():
            yield Finding("missing", f"reference/{name}", "a run of the reference pack is not there")
        elif sha256(path) != expected:
            yield Finding("reference", f"reference/{name}", "it is not the run of the pack: its digest differs")
    for path in sorted(files.reference_runs.glob("*")):
        if f"measurements/{path.name}" not in wanted:
            yield Finding("stray", f"reference/measurements/{path.name}", "the reference pack has no such run")
    if pack is not None and read_pack(pack).digest != summary.get("digest"):
        yield Finding("reference", where, f"the bundle was held against another pack than {pack}")
