"""Everything that can be checked of a bundle, offline: its seal, and every verdict from its raw records.

What it cannot find: raw records that were made up as a whole and signed by the holder of the key. They are compared
with a reference pack that others have too, and with the claims of each other; the rest is the signer's word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from adapter_conform.certification.bundle.checking.figures import Evidence, check_records
from adapter_conform.certification.bundle.checking.reference import check_reference
from adapter_conform.certification.bundle.checking.run_files import check_run_files, stored_result
from adapter_conform.certification.bundle.checking.seal import check_seal
from adapter_conform.certification.bundle.checking.verdict import check_page, check_verdict
from adapter_conform.certification.bundle.files import STATEMENT
from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.certification.bundle.keys import read_public
from adapter_conform.certification.bundle.statement import tool_version
from adapter_conform.certification.certifying import CertificateFiles, read_measurements
from adapter_conform.certification.packs.runs import run_files, run_of
from adapter_conform.certification.recipes import recipes_of
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.manifest import read_manifest

__all__ = ["verify"]


def verify(root: Path, public_key: Path, pack: Path | None = None) -> list[Finding]:
    """What is wrong with the bundle in ``root``; nothing for a good one.

    Raises:
        UsageProblem: ``root`` is no bundle at all, or the key cannot be used.
        ConformError: ``pack`` cannot be read.
    """
    if not (root / STATEMENT).is_file() and not CertificateFiles(root).certificate.is_file():
        raise UsageProblem(
            f"{root} holds no certificate\nGive the --out folder of `adapter-conform certify`; unpack the bundle first."
        )
    key = read_public(public_key)
    found = list(check_seal(root, key))
    for name, check in (
        ("run", lambda: check_run_files(root)),
        ("measurements", lambda: _records(root)),
        ("reference.json", lambda: check_reference(root, pack)),
        ("certificate.json", lambda: check_verdict(root)),
        ("report.html", lambda: check_page(root) if _same_release(root) else iter(())),
    ):
        found += _safely(name, check)
    return list(dict.fromkeys(found))


def _safely(where: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A damaged file is a finding, and hides none of the others."""
    try:
        return list(check())
    except (ConformError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return [Finding("record", where, f"cannot be checked: {type(error).__name__}: {error}")]


def _records(root: Path) -> Iterator[Finding]:
    files, manifest = CertificateFiles(root), read_manifest(root / "plan.json")
    settings = manifest.settings
    recipes = recipes_of(settings["level"], (), settings["scale"], manifest.seed)
    device = {path.name: run_of(path.read_bytes(), path.name) for path in run_files(files.measurements)}
    evidence = Evidence(
        {recipe.id: recipe for recipe in recipes}, device, read_measurements(files.reference_runs), manifest.rules()
    )
    yield from check_records(stored_result(root).records, evidence)


def _same_release(root: Path) -> bool:
    statement = json.loads((root / STATEMENT).read_bytes())
    return bool(statement["predicate"]["tool"]["version"] == tool_version())
