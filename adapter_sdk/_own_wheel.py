"""Makes adapter-sdk's wheel again from its installed files: the plugin's isolated build needs one."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from adapter_sdk.errors import AdapterError

__all__ = ["NoWheel", "write_own_wheel"]

_NOT_FROM_THE_WHEEL = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_EPOCH = (1980, 1, 1, 0, 0, 0)


class NoWheel(AdapterError):
    """adapter-sdk itself is not installed in a way that a wheel can be made of."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"adapter-sdk's own wheel cannot be made: {fault}\n  remedy: install adapter-sdk from a wheel")


def write_own_wheel(folder: Path) -> Path:
    """Writes the wheel of the installed adapter-sdk into ``folder`` and returns its path.

    Raises:
        NoWheel: it is not installed, or is an editable installation.
    """
    try:
        own = distribution("adapter-sdk")
    except PackageNotFoundError as error:
        raise NoWheel("it is not installed") from error
    members = _members(own)
    if not any(name.startswith("adapter_sdk/src/abi/") for name in members):
        raise NoWheel("its installed files are not those of a wheel (an editable installation?)")
    folder.mkdir(parents=True, exist_ok=True)
    info = next(name.split("/")[0] for name in members if ".dist-info/" in name)
    wheel = folder / f"{info.removesuffix('.dist-info')}-{_tag(own)}.whl"
    record: list[tuple[str, str, str]] = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in sorted(members.items()):
            data = path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append((name, f"sha256={digest}", str(len(data))))
            _add(archive, name, data, executable=name.endswith(".so"))
        record.append((f"{info}/RECORD", "", ""))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(record)
        _add(archive, f"{info}/RECORD", text.getvalue().encode(), executable=False)
    return wheel


def _members(own: Distribution) -> dict[str, Path]:
    found = {}
    for file in own.files or ():
        name = PurePosixPath(file.as_posix())
        if ".." in name.parts or "__pycache__" in name.parts:  # scripts, which pip makes; and what Python left
            continue
        if name.parent.name.endswith(".dist-info") and name.name in _NOT_FROM_THE_WHEEL:
            continue
        path = Path(str(own.locate_file(file)))
        if path.is_file():
            found[str(name)] = path
    return found


def _tag(own: Distribution) -> str:
    lines = (own.read_text("WHEEL") or "").splitlines()
    tags = [line.partition(":")[2].strip() for line in lines if line.startswith("Tag:")]
    if not tags:
        raise NoWheel("its WHEEL file names no tag")
    return tags[0]


def _add(archive: zipfile.ZipFile, name: str, data: bytes, *, executable: bool) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (0o755 if executable else 0o644) << 16
    archive.writestr(entry, data)
