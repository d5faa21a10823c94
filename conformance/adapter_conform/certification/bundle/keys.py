"""Keys: ed25519, PEM files as OpenSSL reads them (PKCS#8 and SubjectPublicKeyInfo)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from adapter_conform.errors import UsageProblem

__all__ = ["key_id", "make_keys", "public_path", "read_private", "read_public"]


def public_path(key: Path) -> Path:
    return key.with_name(key.name + ".pub")


def make_keys(key: Path) -> Path:
    """Writes ``key``, readable by its owner alone, and ``key.pub`` beside it; returns the latter's path.

    Raises:
        UsageProblem: one of them is there already, or the folder cannot be written.
    """
    public = public_path(key)
    private = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    secret = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    shared = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise UsageProblem(f"--out {key}: {public} exists already; a key that signed something must not be lost")
    try:
        key.parent.mkdir(parents=True, exist_ok=True)
        _write(key, secret, 0o600)
        _write(public, shared, 0o644)
    except FileExistsError as error:
        raise UsageProblem(f"--out {key}: {error.filename} exists already; give another name") from error
    except OSError as error:
        raise UsageProblem(f"--out {key}: cannot be written: {error.strerror or error}") from error
    return public


def read_private(path: Path) -> Ed25519PrivateKey:
    """Raises UsageProblem for anything else than what :func:`make_keys` writes."""
    try:
        key = serialization.load_pem_private_key(_bytes(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageProblem(f"key {path} cannot be used: {error}\nMake one with adapter-conform keygen.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageProblem(f"key {path} is no ed25519 key\nMake one with adapter-conform keygen.")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """Raises UsageProblem for anything else than a public key."""
    try:
        key = serialization.load_pem_public_key(_bytes(path))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageProblem(f"public key {path} cannot be used: {error}\nGive the .pub file of keygen.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageProblem(f"public key {path} is no ed25519 key\nGive the .pub file of keygen.")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """sha256 of the raw key: names it in a signature."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageProblem(f"key {path} cannot be read: {error.strerror or error}") from error
