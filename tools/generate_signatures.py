"""Merge dumps of several Paddle releases into the table that the ABI layer is compiled with.

    python tools/generate_signatures.py DUMP.json... [--out csrc/abi/signatures_table.inc]

Each DUMP comes from ``tools/dump_signatures.py``, one a release. A kernel has one row for the first release of the
table and one for each release in which its signature changed; a release that lacks it has a row with ``nullptr``.
To support a new release: dump it, run this with all dumps, read the diff.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["MergeError", "merge", "render", "signature_text"]

Version = tuple[int, int, int]
Kernels = dict[str, str]  # kernel -> signature

# The table is compiled into every plugin, so it has to stay small.
_MAX_BYTES = 400 * 1024

_DEFAULT_OUT = Path(__file__).resolve().parents[1] / "csrc" / "abi" / "signatures_table.inc"


class MergeError(ValueError):
    """A dump cannot be used; the message names the file and says why."""


def signature_text(kernel: dict[str, Any]) -> str:
    """ "inputs|attributes|outputs" of one kernel of a dump, e.g. "Tensor,OptionalTensor|float,int|Tensor"."""
    return "|".join(",".join(kernel[part]) for part in ("inputs", "attributes", "outputs"))


def merge(releases: dict[Version, Kernels]) -> list[tuple[str, int, str | None]]:
    """Rows (kernel, index of the first release it holds for, signature or None), sorted by kernel, then release."""
    rows: list[tuple[str, int, str | None]] = []
    ordered = [releases[version] for version in sorted(releases)]
    for name in sorted(set().union(*ordered)):
        # Before the first release nothing is known, so a kernel that came later starts with a change, not with None.
        previous: str | None = None
        for index, kernels in enumerate(ordered):
            signature = kernels.get(name)
            if signature != previous:
                rows.append((name, index, signature))
            previous = signature
    return rows


def render(versions: list[Version], rows: list[tuple[str, int, str | None]]) -> str:
    """The text of the table, C++ initialisers for csrc/abi/signatures.cc."""
    names = [".".join(map(str, version)) for version in versions]
    initialisers = [f"{{{', '.join(map(str, version))}}}" for version in versions]
    lines = [
        "// Kernel signatures of Paddle releases. Generated, do not edit: tools/dump_signatures.py under each release,",
        "// then tools/generate_signatures.py with the dumps of paddlepaddle",
        f"// {', '.join(names)}.",
        "",
        f"constexpr PaddleVersion kVersions[] = {{{', '.join(initialisers)}}};",
        "",
        "// Kernel, index into kVersions of the first release that the row is for, signature (nullptr: no kernel).",
        "constexpr Row kRows[] = {",
    ]
    for name, index, signature in rows:
        lines.append(f'{{"{name}", {index}, ' + ("nullptr" if signature is None else f'"{signature}"') + "},")
    return "\n".join([*lines, "};", ""])


def _read(path: Path) -> tuple[Version, Kernels]:
    try:
        dump = json.loads(path.read_text())
        text, kernels = dump["paddle"], {name: signature_text(kernel) for name, kernel in dump["kernels"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MergeError(f"{path} is no dump of tools/dump_signatures.py: {error!r}") from error
    match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", text)
    if match is None:
        raise MergeError(f"{path} comes from paddlepaddle {text!r}; only releases (N.N.N) can be tabled")
    return (int(match[1]), int(match[2]), int(match[3])), kernels


def main() -> int:
    parser = argparse.ArgumentParser(description="Merge signature dumps into the table of the ABI layer.")
    parser.add_argument("dumps", metavar="DUMP.json", type=Path, nargs="+")
    parser.add_argument("--out", metavar="FILE", type=Path, default=_DEFAULT_OUT)
    options = parser.parse_args()
    releases: dict[Version, Kernels] = {}
    try:
        for path in options.dumps:
            version, kernels = _read(path)
            if version in releases:
                raise MergeError(f"{path}: there are two dumps of {'.'.join(map(str, version))}")
            releases[version] = kernels
        text = render(sorted(releases), merge(releases))
        if len(text) > _MAX_BYTES:
            raise MergeError(f"the table has {len(text)} bytes, more than {_MAX_BYTES}; drop a release")
        options.out.write_text(text)
    except (MergeError, OSError) as error:
        print(f"generate_signatures: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {len(releases)} releases, {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
