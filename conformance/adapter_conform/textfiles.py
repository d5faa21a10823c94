"""Text files that users hand in: UTF-8, with or without a byte order mark, and a clear word where they are not."""

from __future__ import annotations

from pathlib import Path

from adapter_conform.errors import UsageProblem

__all__ = ["read_text"]


def read_text(path: Path, what: str) -> str:
    """The whole of a file, called ``what`` in errors.

    Raises:
        UsageProblem: it cannot be read, or is not UTF-8; the message names file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageProblem(f"{what} {path} cannot be read: {error.strerror or error}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageProblem(
            f"{what} {path}: {_place(data)} is not UTF-8\nSave it as UTF-8 text, or see that it is the file you meant."
        ) from error


def _place(data: bytes) -> str:
    """Where the first byte stands that is not UTF-8."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return f"line {number}, byte {error.start + 1} (0x{line[error.start]:02x})"
    raise AssertionError("UTF-8 is decoded line by line just as well as whole")
