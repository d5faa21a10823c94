"""Writes the page of a bundle, then the statement over all files, then the signature."""

from __future__ import annotations

import json
from pathlib import Path

from adapter_conform.certification.bundle.envelope import signed
from adapter_conform.certification.bundle.files import SIGNATURE, STATEMENT
from adapter_conform.certification.bundle.keys import read_private
from adapter_conform.certification.bundle.statement import make_statement
from adapter_conform.certification.pages import render_bundle
from adapter_conform.errors import ConformError
from adapter_conform.report.folder import OutputFolder
from adapter_conform.results import write_reports

__all__ = ["CASES_PAGE", "seal"]

CASES_PAGE = "cases.html"
"""The run's own report, case by case; report.html is the certificate."""


def seal(root: Path, key: Path | None) -> None:
    """Seals the bundle in ``root``, in which a certification has been concluded; without ``key`` it stays unsigned.

    Raises:
        UsageProblem: the key cannot be used, or the folder holds no certification.
        ConformError: the folder cannot be written.
    """
    from adapter_conform.certification.bundle.checking.run_files import stored_result

    private = None if key is None else read_private(key)
    folder = OutputFolder(root)
    try:
        for name in (STATEMENT, SIGNATURE):
            (root / name).unlink(missing_ok=True)
        write_reports(folder, stored_result(root))
        folder.write(root / CASES_PAGE, _labelled(folder.html.read_text(encoding="utf-8"), root))
        folder.write(folder.html, render_bundle(root))
        payload = json.dumps(make_statement(root), indent=1, sort_keys=True) + "\n"
        folder.write(root / STATEMENT, payload)
        if private is not None:
            folder.write(root / SIGNATURE, json.dumps(signed(payload.encode(), private), indent=1) + "\n")
    except OSError as error:
        raise ConformError(f"cannot seal {root}: {error.filename}: {error.strerror or error}") from error


def _labelled(page: str, root: Path) -> str:
    """The run's report says, too, what it is not."""
    scale = json.loads((root / "certificate.json").read_bytes())["scale"]
    label = "" if scale == "full" else f'<p class="notice">{scale} of the models: no certificate of the level.</p>'
    return page.replace("<body>", f"<body>{label}", 1)
