"""One set of wheels on every supported Paddle: installs each release into an environment of its own, judges the plugins
there, and writes the table.

    python tools/abi_matrix.py --wheels dist [--releases 3.0.0,3.3.1] [--out docs/abi-matrix.md]

The wheels are not rebuilt from release to release: that they need not be is what the matrix shows. An environment is
kept in ``--work`` and made anew only when a wheel or a requirement changed; pip's cache is shared. A run whose wheels,
release and options are those of an earlier one is not repeated (``--again`` repeats it). The exit code is 0 when every
run came to the verdict that the plugin has on the last release named, or a better one; 1 when not; 2 when something
cannot be installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Cell", "MatrixError", "Run", "judge", "prepare", "render"]

RELEASES = ("3.0.0", "3.1.1", "3.2.2", "3.3.0", "3.3.1")
PLUGINS = ("refchip", "pychip")

# adapter-sdk's own extras bring the pins that every release needs alike (numpy 1 for PaddleNLP); what a single release
# needs beyond them stands here: fleet of these reads FieldDescriptor.label, which protobuf 7 has not.
PINS = dict.fromkeys(("3.0.0", "3.1.1", "3.2.2", "3.3.0"), ("protobuf<7",))

_VERDICTS = ("conformant", "inconclusive", "not conformant")  # from good to bad
_INSTALL_SECONDS = 1800
_HERE = Path(__file__).resolve().parents[1]


class MatrixError(RuntimeError):
    """A release cannot be installed, or a run gave no result; the message has the end of the output."""


@dataclass(frozen=True)
class Run:
    """What is asked of each plugin on each release."""

    wheels: Path
    work: Path
    profile: str = "smoke"
    options: tuple[str, ...] = ()
    """Further arguments of adapter-conform."""
    extras: str = "conform,models"

    def digest(self, *words: str) -> str:
        """Of the wheels and ``words``: what is made of the same things need not be made again."""
        digest = hashlib.sha256("\n".join(words).encode())
        for wheel in sorted(self.wheels.glob("*.whl")):
            digest.update(wheel.name.encode() + wheel.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Cell:
    """A plugin on a release: what ``results.json`` and ``results.jsonl`` of its run say."""

    release: str
    plugin: str
    summary: dict[str, Any]
    records: tuple[dict[str, Any], ...]

    @property
    def verdict(self) -> str:
        return str(self.summary["verdict"])

    def counts(self, suite: str) -> dict[str, int]:
        found: dict[str, int] = self.summary["by_suite"].get(suite, {})
        return {state: number for state, number in found.items() if number}


def prepare(run: Run, release: str, plugins: Sequence[str]) -> Path:
    """The Python of an environment with this release and the wheels.

    Raises:
        MatrixError: pip fails; its last words are in the message.
    """
    folder = run.work / release
    python = folder / "bin" / "python"
    needs = [f"adapter-sdk[{run.extras}]", *(f"adapter-{name}" for name in plugins), f"paddlepaddle=={release}"]
    needs += PINS.get(release, ())
    digest = run.digest(*needs)
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    _say(f"{release}: installing")
    if not python.exists():
        venv.create(folder, with_pip=True)
    stamp.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--find-links"]
    _command([*pip, str(run.wheels), *needs], f"installing {release}", _INSTALL_SECONDS)
    own = [str(wheel) for wheel in sorted(run.wheels.glob("adapter_*.whl"))]  # the same version may hold other bytes
    _command([*pip, str(run.wheels), "--no-deps", "--force-reinstall", *own], f"installing {release}", _INSTALL_SECONDS)
    stamp.write_text(digest)
    return python


def judge(run: Run, release: str, plugin: str, python: Path, again: bool, limit: float) -> Cell:
    """Judges one plugin on one release, unless that has been done with the same wheels and options.

    Raises:
        MatrixError: adapter-conform left no result.
    """
    out = run.work / "runs" / f"{release}-{plugin}"
    stamp = out / ".done"
    digest = run.digest(release, plugin, run.profile, *PINS.get(release, ()), *run.options)
    if again or not stamp.is_file() or stamp.read_text() != digest:
        _say(f"{release}: judging {plugin}")
        words = [str(python), "-m", "adapter_conform", "--plugin", plugin, "--profile", run.profile, "--no-shrink"]
        _command([*words, *run.options, "--out", str(out)], f"{plugin} on {release}", limit, accepted=(0, 1, 3))
        stamp.write_text(digest)
    try:
        summary = json.loads((out / "results.json").read_text(encoding="utf-8"))
        lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
        cell = Cell(release, plugin, summary, tuple(json.loads(line) for line in lines))
    except (OSError, ValueError) as error:
        raise MatrixError(f"{plugin} on {release} left no result in {out}: {error}") from error
    _say(f"{release}: {plugin} is {cell.verdict}")
    return cell


def render(cells: Sequence[Cell], run: Run, date: str) -> str:
    """The Markdown page."""
    wheels = ", ".join(f"`{wheel.name}`" for wheel in sorted(run.wheels.glob("adapter_*.whl")))
    words = shlex.join(["adapter-conform", "--plugin", "NAME", "--profile", run.profile, *run.options])
    lines = [
        "# The same wheels on every supported Paddle",
        "",
        f"Made by `make abi-matrix` on {date} (UTC) with Python {sys.version.split()[0]}: {wheels}, installed",
        f"unchanged beside each release, and `{words}` on each. [Paddle releases](paddle-releases.md) says why",
        "releases differ.",
    ]
    for plugin in dict.fromkeys(cell.plugin for cell in cells):
        mine = [cell for cell in cells if cell.plugin == plugin]
        lines += ["", f"## {plugin}", "", *_table(mine), *_reasons(mine)]
    return "\n".join(lines) + "\n"


def _table(cells: Sequence[Cell]) -> Iterator[str]:
    suites = list(dict.fromkeys(suite for cell in cells for suite in cell.summary["by_suite"]))
    yield "| Paddle | verdict | " + " | ".join(suites) + " | kernels registered of declared |"
    yield "|---" * (len(suites) + 3) + "|"
    for cell in cells:
        columns = [", ".join(f"{n} {state}" for state, n in cell.counts(suite).items()) or "none" for suite in suites]
        kernels = cell.summary["kernels"]
        kernel_words = f"{kernels['registered']} of {kernels['declared']}"
        yield f"| {cell.release} | {cell.verdict} | " + " | ".join(columns) + f" | {kernel_words} |"


def _reasons(cells: Sequence[Cell]) -> Iterator[str]:
    """Every reason for a case that did not pass, with the number of cases on each release."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for cell in cells:
        for record in cell.records:
            if record["state"] != "passed":
                found.setdefault((record["state"], _reason(record)), Counter())[cell.release] += 1
    if not found:
        return
    releases = [cell.release for cell in cells]
    yield from ("", "Cases that did not pass, by what was said of them:", "")
    yield "| state | why | " + " | ".join(releases) + " |"
    yield "|---" * (len(releases) + 2) + "|"
    for (state, why), numbers in sorted(found.items(), key=lambda item: (item[0][0], -sum(item[1].values()), item[0])):
        yield f"| {state} | {why} | " + " | ".join(str(numbers[release] or "") for release in releases) + " |"


def _reason(record: dict[str, Any]) -> str:
    """The first line of its message, without what differs from case to case."""
    text = str(record["message"]).strip().split("\n", 1)[0] or "no message"
    if lacking := re.search(r"kernel with key \(\w+, \S+, \w+\) of kernel `(\w+)` is not registered", text):
        text = f"a model asks for {lacking[1]}, which the plugin does not have"
    text = re.sub(
        r".*not declared by plugin '\w+', and Paddle has none registered", "the plugin has no such kernel", text
    )
    text = re.sub(r"\b\d+\.\d+\.\d+\b", "N.N.N", text)
    text = re.sub(r"/(?:bool|u?int\d+|b?float\d+|complex\d+)\b", "", text)
    text = re.sub(r"\d+(?:\.\d+)?(?:e[-+]?\d+)", "…", text)
    return (text if len(text) <= 160 else text[:157] + "...").replace("|", "\\|")


def _command(
    words: Sequence[str], what: str, limit: float, accepted: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:  # not in the checkout, whose adapter_sdk would stand before the installed one
        done = subprocess.run(
            words, cwd="/", env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MatrixError(f"{what}: not done after {limit:g} s: {' '.join(words)}") from error
    if done.returncode not in accepted:
        tail = (done.stdout + done.stderr)[-3000:]
        raise MatrixError(f"{what}: exit code {done.returncode} of {' '.join(words)}\n{tail}")
    return done


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _worse(cells: Sequence[Cell], releases: Sequence[str]) -> list[Cell]:
    """Those whose verdict is worse than their plugin's on the newest release."""
    newest = {cell.plugin: _VERDICTS.index(cell.verdict) for cell in cells if cell.release == releases[-1]}
    return [cell for cell in cells if _VERDICTS.index(cell.verdict) > newest[cell.plugin]]


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge the same plugin wheels on every supported Paddle.")
    parser.add_argument(
        "--wheels", type=Path, required=True, metavar="DIR", help="adapter-sdk's and the plugins' wheels"
    )
    parser.add_argument("--releases", default=",".join(RELEASES), metavar="LIST", help="[%(default)s]")
    parser.add_argument("--plugins", default=",".join(PLUGINS), metavar="LIST", help="[%(default)s]")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--options", default="", help="further options of adapter-conform, e.g. '--suite ops'")
    parser.add_argument("--extras", default="conform,models", help="extras of adapter-sdk to install [%(default)s]")
    parser.add_argument("--work", type=Path, default=_HERE / ".abi-matrix", help="environments and runs [.abi-matrix]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the page goes; none is written by default")
    parser.add_argument("--date", default="", help="to stand in the page [today]")
    parser.add_argument("--again", action="store_true", help="repeat runs that have a result")
    parser.add_argument("--must-conform", action="store_true", help="exit with 1 unless every run is conformant")
    parser.add_argument("--limit", type=float, default=3600, metavar="S", help="seconds for a run [%(default)s]")
    given = parser.parse_args()
    if not list(given.wheels.glob("adapter_sdk-*.whl")):
        parser.error(f"--wheels: {given.wheels} holds no wheel of adapter-sdk; `make wheels` builds them")
    releases, plugins = given.releases.split(","), given.plugins.split(",")
    run = Run(
        given.wheels.resolve(), given.work.resolve(), given.profile, tuple(shlex.split(given.options)), given.extras
    )
    cells = []
    try:
        for release in releases:
            python = prepare(run, release, plugins)
            cells += [judge(run, release, name, python, given.again, given.limit) for name in plugins]
    except MatrixError as error:
        print(f"abi_matrix: {error}", file=sys.stderr)
        return 2
    if given.out is not None:
        given.out.write_text(render(cells, run, given.date or _today()), encoding="utf-8")
        _say(f"wrote {given.out}")
    worse = _worse(cells, releases)
    if given.must_conform:
        worse = [cell for cell in cells if cell.verdict != _VERDICTS[0]]
    for cell in worse:
        _say(f"{cell.plugin} on {cell.release} is {cell.verdict}, which it must not be; see {run.work / 'runs'}")
    return 1 if worse else 0


def _today() -> str:
    import datetime

    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


if __name__ == "__main__":
    sys.exit(main())
