"""The signature: a DSSE envelope (secure-systems-lab/dsse v1.0.2) around the statement, ed25519."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from adapter_conform.certification.bundle.keys import key_id

__all__ = ["opened", "signed"]

_PAYLOAD = "application/vnd.in-toto+json"


def signed(payload: bytes, key: Ed25519PrivateKey) -> dict[str, Any]:
    signature = base64.b64encode(key.sign(_encoded(payload))).decode()
    return {
        "payloadType": _PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(key.public_key()), "sig": signature}],
    }


def opened(text: str, key: Ed25519PublicKey) -> bytes:
    """The payload, whose signature by ``key`` holds.

    Raises:
        ValueError: the envelope is damaged, or signed by another key, or its payload is not what was signed.
    """
    try:
        envelope = json.loads(text)
        payload = base64.b64decode(envelope["payload"], validate=True)
        entries = {
            str(entry["keyid"]): base64.b64decode(entry["sig"], validate=True) for entry in envelope["signatures"]
        }
        if envelope["payloadType"] != _PAYLOAD:
            raise ValueError(f"payload of type {envelope['payloadType']!r}")
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise ValueError(f"no signature envelope: {type(error).__name__}: {error}") from error
    mine = key_id(key)
    if mine not in entries:
        others = ", ".join(name[:16] for name in entries) or "nobody"
        raise ValueError(f"it is not signed by the given key {mine[:16]}, but by {others}")
    try:
        key.verify(entries[mine], _encoded(payload))
    except InvalidSignature as error:
        raise ValueError(f"the signature of key {mine[:16]} does not hold: what was signed has been changed") from error
    return payload


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = _PAYLOAD.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
