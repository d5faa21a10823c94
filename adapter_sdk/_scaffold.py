"""``adapter-sdk new`` and ``adapter-sdk update``: writes a plugin from the templates, and brings later ones into it.

copier renders the templates. What was rendered is also kept in the plugin's folder ``.adapter-sdk/base``: an update
merges three ways, the old rendering against the new one and against what the vendor made of it (decision 0014).
"""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import adapter_sdk
from adapter_sdk._own_wheel import write_own_wheel
from adapter_sdk.errors import AdapterError
from adapter_sdk.hookspecs import CONTRACT_VERSION
from adapter_sdk.manager import discover
from adapter_sdk.records import PADDLE_PLACES
from adapter_sdk.versions import SUPPORTED_PADDLE

__all__ = ["Merged", "ScaffoldError", "new_plugin", "update_plugin"]

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_STATE = Path(".adapter-sdk")
_ANSWERS = _STATE / "answers.json"
_BASE = _STATE / "base"


class ScaffoldError(AdapterError):
    """A plugin cannot be written or updated: what is wrong, and what to do."""

    def __init__(self, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}\n  remedy: {remedy}")


@dataclass(frozen=True)
class _Answers:
    name: str
    vendor: str
    native: bool
    sdk_version: str


@dataclass(frozen=True)
class Merged:
    """What an update did, each a path inside the plugin."""

    changed: tuple[Path, ...]
    conflicts: tuple[Path, ...]
    """Hold conflict markers now."""


def new_plugin(name: str, parent: Path, *, native: bool, vendor: str = "") -> Path:
    """Writes the plugin ``name`` into ``parent/name`` and returns that folder.

    Raises:
        ScaffoldError: the name cannot be used, the folder exists, or copier is missing.
    """
    _check_name(name)
    target = parent / name
    if target.exists():
        raise ScaffoldError(f"{target} exists already", "choose another name, or --into another folder")
    if not parent.is_dir():
        raise ScaffoldError(f"{parent} is no folder", "make it first")
    answers = _Answers(name, vendor or name.capitalize(), native, adapter_sdk.__version__)
    try:
        _render(answers, target)
        shutil.copytree(target, target / _BASE)
        _write_answers(target, answers)
        write_own_wheel(target / "wheels")
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # half a plugin helps nobody, and stands in the way of the next try
        raise
    return target


def update_plugin(folder: Path) -> Merged:
    """Merges the templates of this adapter-sdk into the plugin in ``folder``, and renews its ``wheels/``.

    Files that the vendor deleted stay deleted. Where both sides changed the same lines, both stand between conflict
    markers, as git leaves them.

    Raises:
        ScaffoldError: the folder was not written by ``adapter-sdk new``, or git or copier is missing.
    """
    answers = _read_answers(folder)
    if shutil.which("git") is None:
        raise ScaffoldError("git is not installed, which merges the files", "install git")
    changed: list[Path] = []
    conflicts: list[Path] = []
    with _scratch() as scratch:
        fresh = scratch / "fresh"
        _render(answers, fresh)
        for path in _files(fresh):
            if (fresh / path).read_bytes() == _read(folder / _BASE / path):
                continue
            merged = _merge(folder, path, fresh, scratch)
            changed += [path] if merged else []
            conflicts += [path] if merged == "conflict" else []
        shutil.rmtree(folder / _BASE)
        shutil.copytree(fresh, folder / _BASE)
    _write_answers(folder, _Answers(answers.name, answers.vendor, answers.native, adapter_sdk.__version__))
    for stale in (folder / "wheels").glob("adapter_sdk-*.whl"):
        stale.unlink()
    write_own_wheel(folder / "wheels")
    return Merged(tuple(changed), tuple(conflicts))


def _merge(folder: Path, path: Path, fresh: Path, scratch: Path) -> str:
    """Empty when nothing was done, else ``merged`` or ``conflict``."""
    own, base = folder / path, folder / _BASE / path
    if not own.exists():
        if base.exists():
            return ""  # deleted by the vendor
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(fresh / path, own)
        return "merged"
    if not base.exists():
        base = scratch / "empty"
        base.write_bytes(b"")
    labels = ["-L", "yours", "-L", "before", "-L", f"adapter-sdk {adapter_sdk.__version__}"]
    done = subprocess.run(
        ["git", "merge-file", *labels, str(own), str(base), str(fresh / path)], capture_output=True, check=False
    )
    if done.returncode < 0 or done.returncode > 127:
        raise ScaffoldError(
            f"git cannot merge {own}: {done.stderr.decode(errors='replace').strip()}", "see git's words"
        )
    return "conflict" if done.returncode else "merged"


def _check_name(name: str) -> None:
    rule = "use lower case letters, digits and underscores, beginning with a letter, e.g. mychip"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ScaffoldError(f"{name!r} cannot be the name of a device and of a Python package", rule)
    if name in PADDLE_PLACES:
        raise ScaffoldError(f"{name!r} is a place of Paddle's own", "choose another name")
    for status in discover():
        if name == status.name or (status.plugin and status.plugin.device.device_type == name):
            owner = status.distribution or "an unknown distribution"
            raise ScaffoldError(f"{name!r} is taken by an installed plugin ({owner})", "choose another name")
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise ScaffoldError(f"a Python module {name!r} exists already, which the package would hide", "choose another")


def _render(answers: _Answers, target: Path) -> None:
    try:
        import copier
    except ImportError as error:
        raise ScaffoldError(
            "the package copier is not installed, which renders the templates", "pip install 'adapter-sdk[new]'"
        ) from error
    data = {
        **asdict(answers),
        "contract": repr(CONTRACT_VERSION),
        "paddle_versions": SUPPORTED_PADDLE,
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    for part in ("common", "native" if answers.native else "python"):
        copier.run_copy(str(_TEMPLATES / part), target, data=data, defaults=True, overwrite=True, quiet=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write_answers(folder: Path, answers: _Answers) -> None:
    (folder / _ANSWERS).write_text(json.dumps(asdict(answers), indent=2) + "\n", encoding="utf-8")


def _read_answers(folder: Path) -> _Answers:
    try:
        return _Answers(**json.loads((folder / _ANSWERS).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ScaffoldError(
            f"{folder.resolve()} was not written by `adapter-sdk new`: it has no {_ANSWERS}",
            "go into a plugin's folder",
        ) from error
    except (ValueError, TypeError) as error:
        raise ScaffoldError(
            f"{folder / _ANSWERS} cannot be read: {error}", "restore it from version control"
        ) from error


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="adapter_sdk_update_"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
