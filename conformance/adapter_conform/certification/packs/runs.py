"""A run in a file: JSON, in packs compressed by gzip to a third. Packs with plain JSON are read too."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from adapter_conform.certification.measurement import Measurement

__all__ = ["COMPRESSED", "compressed", "run_files", "run_of"]

COMPRESSED = ".json.gz"
_LARGEST = 256 << 20
"""Bytes of JSON; what unfolds to more is none of ours."""


def compressed(measurement: Measurement) -> bytes:
    """Without a time, so that the same run gives the same bytes."""
    return gzip.compress(measurement.to_json().encode(), compresslevel=9, mtime=0)


def run_of(data: bytes, name: str) -> Measurement:
    """Raises ValueError for anything else than what :func:`compressed` or ``Measurement.to_json`` wrote."""
    return Measurement.from_json((_unfolded(data) if name.endswith(COMPRESSED) else data).decode())


def run_files(folder: Path) -> Iterator[Path]:
    """Those of a pack's or a bundle's folder of runs, in order."""
    return (path for path in sorted(folder.glob("*.json*")) if path.name.endswith((".json", COMPRESSED)))


def _unfolded(data: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        text = stream.decompress(data, _LARGEST)
    except zlib.error as error:
        raise ValueError(f"not compressed by gzip: {error}") from error
    if not stream.eof or stream.unused_data:
        raise ValueError("cut off, followed by something else, or larger than any run")
    return text
