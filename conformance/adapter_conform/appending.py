"""Files that grow by a JSON line at a time and survive the death of their writer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from adapter_conform.jsondata import compact, jsonable

__all__ = ["AppendedFile", "drop_torn_line", "whole_lines"]


class AppendedFile:
    """Each line is handed to the system at once, whole: what kills this process afterwards does not lose it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._path = path

    def append(self, data: Any) -> None:
        """Adds one line.

        Raises:
            OSError: there is no room; part of the line may have been written, which readers drop.
        """
        rest = memoryview((compact(jsonable(data)) + "\n").encode())
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        os.close(self._descriptor)


def whole_lines(path: Path) -> list[bytes]:
    """The complete lines of a file, without those that are empty. A last line that was torn off is left out.

    Nothing where there is no file. Raises OSError when it cannot be read.
    """
    if not path.exists():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    return [line for line in lines if line]


def drop_torn_line(path: Path) -> None:
    """Cuts off a last line that its writer could not finish, so that the file can be appended to again."""
    if path.exists():
        with path.open("r+b") as file:
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)
