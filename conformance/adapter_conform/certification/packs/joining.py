"""One pack out of several that were recorded under the same conditions, e.g. a model at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapter_conform.certification.packs.content import content
from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.packs.manifest import PackManifest
from adapter_conform.certification.packs.pack import Pack, read_pack
from adapter_conform.certification.packs.writing import SAME_THROUGHOUT, PackWriter

__all__ = ["join_packs"]


def join_packs(parts: Sequence[Path], target: Path) -> Pack:
    """Writes the pack ``target``, which must not exist or be empty.

    Raises:
        PackError: a part is refused, was recorded under other conditions, or holds other content under the same name.
        ValueError: ``target`` is not empty.
    """
    packs = [read_pack(part) for part in parts]
    first = packs[0]
    for pack in packs[1:]:
        _require_alike(first, pack)
    provenance = {
        **first.provenance,
        "started": min(pack.provenance["started"] for pack in packs),
        "finished": max(pack.provenance["finished"] for pack in packs),
    }
    writer = PackWriter.open(target, PackManifest(first.name, provenance), resume=False)
    for pack in packs:
        for relative in sorted(pack.manifest.files):
            writer.copy(relative, content(pack.folder, pack.manifest, relative))
        writer.start_as(pack.manifest.weights)
    writer.finish(provenance["finished"])
    return read_pack(target)


def _require_alike(first: Pack, other: Pack) -> None:
    for name in SAME_THROUGHOUT:
        one, two = first.provenance.get(name), other.provenance.get(name)
        if one != two:
            raise PackError(f"{first.folder} and {other.folder} cannot be one pack: {name} is {one} and {two}")
    for relative in first.manifest.files.keys() & other.manifest.files.keys():
        if first.manifest.files[relative] != other.manifest.files[relative]:
            raise PackError(f"{first.folder} and {other.folder} cannot be one pack: they hold another {relative} each")
