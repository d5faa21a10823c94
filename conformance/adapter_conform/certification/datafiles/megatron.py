"""Megatron-LM's memory-mapped token files, as PaddleNLP reads them (``MMapIndexedDataset``, version 1).

``NAME.bin``  the tokens of all sequences, one after the other
``NAME.idx``  little-endian: magic "MMIDIDX\\0\\0", uint64 version 1, uint8 dtype code, uint64 sequences S, uint64
              entries D of the document index; then int32[S] tokens of each sequence, int64[S] byte offsets into the
              .bin, int64[D] number of the first sequence of each document, and S at the end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapter_conform.certification.datafiles.errors import DataError

__all__ = ["TokenFile", "write_tokens"]

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_CODES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float64", 7: "float32", 8: "uint16",
          9: "uint32", 10: "uint64"}  # fmt: skip
_HEADER = struct.Struct("<9sQBQQ")


class TokenFile:
    """The sequences of ``NAME.bin`` and ``NAME.idx``, mapped into memory.

    Raises:
        DataError: a file is missing, of another format, cut short, or index and tokens do not belong together.
    """

    def __init__(self, name: Path) -> None:
        self._index, self._tokens = _beside(name, ".idx"), _beside(name, ".bin")
        dtype, count, documents = self._header()
        self.dtype = np.dtype(dtype)
        data = np.memmap(self._index, mode="r", offset=_HEADER.size, dtype=np.uint8)
        need = 12 * count + 8 * documents
        if data.size != need:
            raise DataError(
                f"{self._index}: {data.size} bytes follow the header, {count} sequences and {documents} document "
                f"entries take {need}: it is cut short or damaged; write it again"
            )
        self.sizes = data[: 4 * count].view("<i4")
        """Tokens of each sequence: int32 [sequences]."""
        self._offsets = data[4 * count : 12 * count].view("<i8")
        self.documents = data[12 * count :].view("<i8")
        """First sequence of each document, and the number of sequences: int64 [documents + 1]."""
        self._check()
        length = self._tokens.stat().st_size // self.dtype.itemsize
        self._data = np.memmap(self._tokens, mode="r", dtype=self.dtype) if length else np.zeros(0, self.dtype)

    def __len__(self) -> int:
        return int(self.sizes.size)

    def __getitem__(self, number: int) -> NDArray[Any]:
        """Tokens of one sequence, read-only. Raises IndexError."""
        if not -len(self) <= number < len(self):
            raise IndexError(f"sequence {number} of {len(self)}")
        start = int(self._offsets[number]) // self.dtype.itemsize
        return self._data[start : start + int(self.sizes[number])]

    @property
    def tokens(self) -> int:
        return int(self.sizes.sum(dtype=np.int64))

    def _header(self) -> tuple[str, int, int]:
        with self._index.open("rb") as file:
            head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(_MAGIC):
            raise DataError(
                f"{self._index}: it does not begin as an index of Megatron's memory-mapped format\n"
                "Give the common name of the .bin and .idx that preprocess_data wrote with --dataset-impl mmap."
            )
        _, version, code, count, documents = _HEADER.unpack(head)
        if version != _VERSION:
            raise DataError(f"{self._index}: version {version}, known is {_VERSION}")
        if code not in _CODES:
            raise DataError(f"{self._index}: dtype code {code}, known are {', '.join(map(str, _CODES))}")
        return _CODES[code], count, documents

    def _check(self) -> None:
        sizes, offsets = self.sizes.astype(np.int64), self._offsets
        if sizes.size and int(sizes.min()) < 0:
            raise DataError(f"{self._index}: sequence {int(np.argmin(sizes))} has {int(sizes.min())} tokens")
        ends = np.cumsum(sizes) * self.dtype.itemsize
        wrong = np.flatnonzero(offsets != np.concatenate([[0], ends[:-1]])) if sizes.size else np.zeros(0)
        if wrong.size:
            raise DataError(f"{self._index}: sequence {int(wrong[0])} does not begin where the one before it ends")
        need, there = int(ends[-1]) if ends.size else 0, self._tokens.stat().st_size
        if need != there:
            raise DataError(
                f"{self._tokens}: {there} bytes, its index speaks of {need}: it is cut short, "
                "or belongs to another index"
            )
        documents = self.documents
        if not documents.size or documents[0] != 0 or documents[-1] != sizes.size or (np.diff(documents) < 0).any():
            raise DataError(f"{self._index}: the document index does not rise from 0 to {sizes.size} sequences")


def write_tokens(name: Path, documents: Iterable[Iterable[Sequence[int]]], dtype: str = "int32") -> None:
    """Writes ``NAME.bin`` and ``NAME.idx``: documents, each some sequences of tokens.

    Raises:
        DataError: a token does not fit into ``dtype``.
    """
    kind = np.dtype(dtype)
    code = next((code for code, name_ in _CODES.items() if name_ == kind.name), None)
    if code is None or kind.kind not in "iu":
        raise DataError(f"dtype {dtype}: tokens are integers of 8 to 64 bits")
    range_ = np.iinfo(kind)
    sizes: list[int] = []
    starts = [0]
    with Path(f"{name}.bin").open("wb") as file:
        for document in documents:
            for sequence in document:
                tokens = np.asarray(sequence, dtype=np.int64)
                if tokens.size and not range_.min <= int(tokens.min()) <= int(tokens.max()) <= range_.max:
                    raise DataError(f"sequence {len(sizes)}: a token lies outside of {dtype}; choose a wider one")
                file.write(tokens.astype(kind).tobytes())
                sizes.append(tokens.size)
            starts.append(len(sizes))
    ends = np.cumsum([0, *sizes], dtype=np.int64) * kind.itemsize
    with Path(f"{name}.idx").open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, code, len(sizes), len(starts)))
        file.write(np.asarray(sizes, "<i4").tobytes() + ends[:-1].astype("<i8").tobytes())
        file.write(np.asarray(starts, "<i8").tobytes())


def _beside(name: Path, suffix: str) -> Path:
    path = Path(f"{name}{suffix}")
    if not path.is_file():
        raise DataError(f"{path} is not there\nGive the name without its ending: of DATA.bin and DATA.idx it is DATA.")
    return path
