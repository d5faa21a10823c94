"""Regenerate the signature tables for a release of Paddle, and say what it changes for a plugin's kernels: one command.

    python tools/add_paddle.py 3.4.0 [--library LIB.so]...      # installs that release into an environment of its own
    python tools/add_paddle.py --python ENV/bin/python          # the release that is installed there
    python tools/add_paddle.py --dump 3.4.0.json                # a dump made by tools/dump_signatures.py

The releases that the table knows are read back from the table itself, so that their wheels are not needed. Printed are
the kernels that came, went or changed since the release before, and of each LIB (a plugin's library) the operators none
of whose signatures fits, with what is wanted now. With ``--check`` nothing is written. The exit code is 0, 1 when an
operator of a LIB does not fit, and 2 when the release cannot be read.
"""

from __future__ import annotations

import argparse
import json
import re
import runpy
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # the table in this checkout is meant, not that of an installed package
    sys.path.insert(0, str(_ROOT))

from adapter_sdk._signatures import find_signature, known_releases, operators  # noqa: E402
from adapter_sdk.errors import AdapterError  # noqa: E402
from adapter_sdk.native import PluginLibrary  # noqa: E402

__all__ = ["changes", "misfits", "tabled"]

_TABLE = _ROOT / "csrc" / "abi" / "signatures_table.inc"
_generate = runpy.run_path(str(_ROOT / "tools" / "generate_signatures.py"))
_INSTALL_SECONDS = 1800

Version = tuple[int, int, int]
Kernels = dict[str, str]  # kernel -> signature, as the table writes it


def tabled() -> dict[Version, Kernels]:
    """What the table says of the releases that it knows."""
    found: dict[Version, Kernels] = {}
    for release in known_releases():
        rows = {name: find_signature(release, name) for name in operators()}
        found[release] = {name: _written(text) for name, text in rows.items() if text is not None}
    return found


def changes(before: Kernels, after: Kernels) -> list[str]:
    """A line for each kernel that came, went or changed."""
    lines = [f"gone     {name}" for name in sorted(before.keys() - after.keys())]
    lines += [f"new      {name}: {after[name]}" for name in sorted(after.keys() - before.keys())]
    both = sorted(before.keys() & after.keys())
    return lines + [f"changed  {name}: {before[name]} -> {after[name]}" for name in both if before[name] != after[name]]


def misfits(library: PluginLibrary, after: Kernels) -> tuple[list[str], int]:
    """Lines on the operators of ``library`` none of whose signatures this release has, and how many operators fit."""
    given: dict[str, set[str]] = {}
    for row in library.kernels():
        given.setdefault(row.operator, set()).add(_written(row.signature))
    lines, fits = [], 0
    for operator, signatures in sorted(given.items()):
        wanted = after.get(operator)
        if wanted in signatures:
            fits += 1
        else:
            has = " and ".join(sorted(signatures))
            lines.append(f"  {operator}: it has {has}; " + (f"wanted is {wanted}" if wanted else "no such kernel now"))
    return lines, fits


def _written(signature: str) -> str:
    return re.sub(r"\bDType\b", "DataType", signature)


def _dump(options: argparse.Namespace) -> dict[str, Any]:
    if options.dump is not None:
        found: dict[str, Any] = json.loads(options.dump.read_text(encoding="utf-8"))
        return found
    with tempfile.TemporaryDirectory(prefix="adapter_paddle_") as scratch:
        python = options.python
        if python is None:
            venv.create(scratch, with_pip=True)
            python = Path(scratch) / "bin" / "python"
            print(f"installing paddlepaddle {options.release}", file=sys.stderr, flush=True)
            words = [str(python), "-m", "pip", "install", "--quiet", f"paddlepaddle=={options.release}"]
            subprocess.run(words, check=True, timeout=_INSTALL_SECONDS)
        out = Path(scratch) / "dump.json"
        tool = [str(python), str(_ROOT / "tools" / "dump_signatures.py"), "--out", str(out)]
        subprocess.run(tool, check=True, timeout=_INSTALL_SECONDS)
        found = json.loads(out.read_text(encoding="utf-8"))
        return found


def _report(releases: dict[Version, Kernels], release: Version, libraries: Sequence[Path]) -> int:
    earlier = [known for known in sorted(releases) if known < release]
    name = ".".join(map(str, release))
    if earlier:
        lines = changes(releases[earlier[-1]], releases[release])
        print(f"Paddle {name} against {'.'.join(map(str, earlier[-1]))}: {len(lines)} kernels came, went or changed")
        print("\n".join(lines))
    broken = 0
    for path in libraries:
        library = PluginLibrary(path)
        lines, fits = misfits(library, releases[release])
        broken += len(lines)
        print(f"{library.name}: {fits} operators fit Paddle {name}, {len(lines)} do not")
        print("\n".join(lines))
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Regenerate the signature tables for a release of Paddle.")
    parser.add_argument("release", nargs="?", metavar="N.N.N", help="a release to install")
    parser.add_argument("--python", type=Path, help="a Python that has the release")
    parser.add_argument("--dump", type=Path, metavar="FILE", help="what tools/dump_signatures.py wrote")
    parser.add_argument("--library", type=Path, action="append", default=[], metavar="LIB", help="a plugin's library")
    parser.add_argument("--out", type=Path, default=_TABLE, metavar="FILE", help="the table to write")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    if sum(given is not None for given in (options.release, options.python, options.dump)) != 1:
        parser.error("give one of: a release, --python, --dump")
    try:
        dump = _dump(options)
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", dump["paddle"])
        if match is None:
            raise ValueError(f"{dump['paddle']!r} is no release (N.N.N)")
        release = (int(match[1]), int(match[2]), int(match[3]))
        releases = tabled()
        releases[release] = {name: _generate["signature_text"](row) for name, row in dump["kernels"].items()}
        text = _generate["render"](sorted(releases), _generate["merge"](releases))
        if not options.check and (not options.out.is_file() or options.out.read_text(encoding="utf-8") != text):
            options.out.write_text(text, encoding="utf-8")
            print(
                f"wrote {options.out}: {len(releases)} releases; SUPPORTED_PADDLE and the layouts are yours to look at"
            )
        return _report(releases, release, options.library)
    except (OSError, ValueError, KeyError, AdapterError, subprocess.SubprocessError) as error:
        print(f"add_paddle: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
