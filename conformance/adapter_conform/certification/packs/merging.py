"""One pack out of several that were recorded under the same conditions, e.g. a model at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from adapter_conform.certification.packs.content import content
from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.packs.manifest import PackManifest
from adapter_conform.certification.packs.pack import Pack, read_pack
from adapter_conform.certification.packs.writing import SAME_THROUGHOUT, PackWriter

__all__ = ["merge_packs"]


def merge_packs(parts: Sequence[Path], target: Path) -> Pack:
    """Writes the pack ``target``, which must not exist or be empty: the union of ``parts``.

    A file that several parts hold has to be the same in each, byte for byte.

    Raises:
        PackError: a part is refused, was recorded under other conditions, or holds other content under the same name;
            nothing was written.
        ValueError: ``target`` is not empty.
    """
    packs = [read_pack(part) for part in parts]
    faults = [fault for first, other in combinations(packs, 2) for fault in _faults(first, other)]
    if faults:
        raise PackError("these packs cannot be one:\n  " + "\n  ".join(faults))
    first = packs[0]
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


def _faults(first: Pack, other: Pack) -> Iterator[str]:
    """What keeps two packs from being one, a line each."""
    both = f"{first.folder} and {other.folder}"
    for name in SAME_THROUGHOUT:
        one, two = first.provenance.get(name), other.provenance.get(name)
        if one != two:
            yield f"{both}: {name} is {one} in the first and {two} in the second; record both under the same conditions"
    files = first.manifest.files, other.manifest.files
    for relative in sorted(files[0].keys() & files[1].keys()):
        if files[0][relative] != files[1][relative]:
            yield f"{both}: they hold another {relative} each; leave it out of one (record with --recipe)"
    for one in sorted(set(files[0]) ^ set(files[1])):
        other_form = one.removesuffix(".gz") if one.endswith(".gz") else f"{one}.gz"
        if one in files[0] and other_form in files[1]:
            yield f"{both}: they hold the run {one} and {other_form}; leave it out of one (record with --recipe)"
    starts = first.manifest.weights, other.manifest.weights
    for recipe in sorted(starts[0].keys() & starts[1].keys()):
        if starts[0][recipe] != starts[1][recipe]:
            yield f"{both}: {recipe} starts from {starts[0][recipe]} and from {starts[1][recipe]}"
