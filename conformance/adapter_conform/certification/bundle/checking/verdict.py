"""The certificate says what the raw records give, and the page shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapter_conform.certification.acceptance import LevelVerdict, judge_level
from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.certification.certifying import CertificateFiles, read_extras, read_measurements
from adapter_conform.certification.packs.manifest import read_manifest as read_pack_manifest
from adapter_conform.certification.pages import render_bundle
from adapter_conform.certification.recipes import recipes_of
from adapter_conform.certification.standard import load_standard
from adapter_conform.jsondata import compact, jsonable
from adapter_conform.manifest import read_manifest

__all__ = ["check_page", "check_verdict", "judged_again"]


def judged_again(root: Path) -> LevelVerdict:
    """The verdict on the raw records in ``root``. Raises ValueError, OSError, ConformError."""
    files = CertificateFiles(root)
    manifest = read_manifest(root / "plan.json")
    settings = manifest.settings
    tasks = tuple(filter(None, settings["task"].split(",")))
    return judge_level(
        load_standard(),
        settings["level"],
        tasks,
        recipes_of(settings["level"], tasks, settings["scale"], manifest.seed),
        read_measurements(files.measurements),
        read_measurements(files.reference_runs),
        read_extras(files),
        read_pack_manifest(files.reference_manifest.parent).provenance,
    )


def check_verdict(root: Path) -> Iterator[Finding]:
    files = CertificateFiles(root)
    settings = read_manifest(root / "plan.json").settings
    certificate = json.loads(files.certificate.read_bytes())
    request = {name: certificate.get("request", {}).get(name) for name in ("level", "task", "scale")}
    if request != {name: settings[name] for name in request}:
        yield Finding("verdict", files.certificate.name, f"it was asked for {request}, the plan is of {dict(settings)}")
    expected = json.loads(compact(jsonable(judged_again(root).to_json())))
    yield from _differences(certificate, expected)
    if json.loads(files.extras.read_bytes()) != json.loads(read_extras(files).to_json()):
        yield Finding("figure", files.extras.name, "peaks, restarts or attachments are not those of the records")


def check_page(root: Path) -> Iterator[Finding]:
    """Only by the release that wrote the page: another one may draw it otherwise."""
    if (root / "report.html").read_text(encoding="utf-8") != render_bundle(root):
        yield Finding("page", "report.html", "the page does not show what the records give")


def _differences(written: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Finding]:
    for key in sorted(expected):
        if written.get(key) == expected[key]:
            continue
        if key != "tasks" or not isinstance(written.get(key), list) or len(written[key]) != len(expected[key]):
            words = f"{_short(written.get(key))} is written, the raw records give {_short(expected[key])}"
            yield Finding("verdict", "certificate.json", f"{key}: {words}")
            continue
        for one, other in zip(written[key], expected[key], strict=True):
            if one != other:
                name = f"{other['model']} {other['task']}"
                words = f"{one.get('verdict')!r} is written, the raw records give {other['verdict']!r}"
                same = one.get("verdict") == other["verdict"]
                yield Finding("verdict", "certificate.json", f"{name}: {'its reasons were changed' if same else words}")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 120 else text[:117] + "..."
