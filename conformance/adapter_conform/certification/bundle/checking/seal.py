"""Signature and digests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapter_conform.certification.bundle.envelope import opened
from adapter_conform.certification.bundle.files import SIGNATURE, STATEMENT, bundle_files, sha256
from adapter_conform.certification.bundle.findings import Finding
from adapter_conform.certification.bundle.statement import PREDICATE, subjects

__all__ = ["check_seal"]


def check_seal(root: Path, key: Ed25519PublicKey) -> Iterator[Finding]:
    yield from _signature(root, key)
    try:
        statement = json.loads((root / STATEMENT).read_bytes())
        listed = subjects(statement)
        if statement["predicateType"] != PREDICATE:
            raise ValueError(f"a statement of type {statement['predicateType']!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("signature", STATEMENT, f"cannot be read: {type(error).__name__}: {error}")
        return
    yield from _digests(root, listed)


def _signature(root: Path, key: Ed25519PublicKey) -> Iterator[Finding]:
    path = root / SIGNATURE
    if not path.is_file():
        yield Finding("signature", SIGNATURE, "the bundle is not signed")
        return
    try:
        payload = opened(path.read_text(encoding="utf-8"), key)
        if payload != (root / STATEMENT).read_bytes():
            yield Finding("signature", STATEMENT, "it is not the statement that was signed")
    except (OSError, ValueError) as error:
        yield Finding("signature", SIGNATURE, str(error))


def _digests(root: Path, listed: dict[str, str]) -> Iterator[Finding]:
    present = set(bundle_files(root))
    for name, digest in listed.items():
        path = root / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield Finding("digest", name, "a path that leaves the bundle")
        elif name not in present:
            yield Finding("missing", name, "the statement lists it, and it is not there")
        elif path.is_symlink() or not path.is_file():
            yield Finding("digest", name, "it is no regular file")
        elif (found := sha256(path)) != digest:
            yield Finding(
                "digest", name, f"its content was changed after sealing: sha256 {found[:16]}, sealed {digest[:16]}"
            )
    for name in sorted(present - listed.keys()):
        yield Finding("stray", name, "it was added after sealing: the statement does not list it")
