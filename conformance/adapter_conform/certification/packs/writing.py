"""Writes a pack file by file, so that it is a whole pack after each of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs.content import content, content_faults
from adapter_conform.certification.packs.manifest import FILE, Entry, PackManifest, final_path, read_manifest
from adapter_conform.certification.packs.runs import COMPRESSED, compressed, run_of
from adapter_conform.certification.packs.weightfile import packed, unpacked
from adapter_conform.certification.recipes.starting import Weights

__all__ = ["SAME_THROUGHOUT", "PackWriter"]

SAME_THROUGHOUT = ("device", "versions", "settings", "scale", "seed")
"""Parts of the provenance that are equal throughout a pack."""


class PackWriter:
    """Use :meth:`open`."""

    def __init__(self, folder: Path, manifest: PackManifest) -> None:
        self.folder = folder
        self._manifest = manifest

    @classmethod
    def open(cls, folder: Path, manifest: PackManifest, resume: bool) -> PackWriter:
        """A writer for ``folder``; with ``resume`` it goes on with the pack there.

        Raises:
            ValueError: the folder is not empty, or what was recorded there was recorded under other conditions.
            PackError: the pack to resume is damaged.
        """
        if (folder / FILE).exists() and resume:
            before = read_manifest(folder)
            different = [
                f"{name}: {before.provenance.get(name)} then, {manifest.provenance[name]} now"
                for name in SAME_THROUGHOUT
                if before.provenance.get(name) != manifest.provenance[name]
            ]
            if different:
                raise ValueError(
                    f"{folder} was recorded under other conditions, and a pack has one of each:\n  "
                    + "\n  ".join(different)
                    + "\nGive another folder."
                )
            writer = cls(folder, before)
            writer._clean()
            return writer
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty: go on with it (--resume), or give another folder")
        folder.mkdir(parents=True, exist_ok=True)
        writer = cls(folder, manifest)
        writer._write_manifest()
        return writer

    def _clean(self) -> None:
        """Removes what an interrupted writer left, and forgets files that are no longer as recorded."""
        for part in ("measurements", "weights"):
            for path in sorted((self.folder / part).glob("*")):
                if path.relative_to(self.folder).as_posix() not in self._manifest.files:
                    path.unlink()
        faults = list(content_faults(self.folder, self._manifest))
        if faults:
            raise ValueError(f"{self.folder} is damaged:\n  " + "\n  ".join(faults) + "\nGive another folder.")

    @property
    def provenance(self) -> dict[str, Any]:
        return self._manifest.provenance

    def recorded(self) -> set[tuple[str, str, str]]:
        """Recipe, precision and variant of what the pack holds."""
        return {(one.recipe, one.precision, one.variant) for one in self._measurements()}

    def _measurements(self) -> Iterator[Measurement]:
        for relative in self._manifest.files:
            if relative.startswith("measurements/"):
                yield run_of(content(self.folder, self._manifest, relative), relative)

    def add(self, measurement: Measurement) -> None:
        recipe = measurement.recipe.replace("/", ".")
        name = f"measurements/{recipe}.{measurement.precision}.{measurement.variant}{COMPRESSED}"
        self._write(name, compressed(measurement))

    def initial_weights(self, recipe_id: str, draw: Callable[[], Weights]) -> Weights:
        """The recorded ones, drawn and recorded where there are none yet. Recipes of one model share a file."""
        path = f"weights/{recipe_id.split('/')[0]}.initial.safetensors"
        if path not in self._manifest.files:
            self._write(path, packed(draw()))
        self._manifest.weights[recipe_id] = path
        return unpacked(content(self.folder, self._manifest, path), path)

    def add_final_weights(self, recipe_id: str, weights: Weights) -> None:
        self._write(final_path(recipe_id), packed(weights))

    def final_weights(self, recipe_id: str) -> Weights | None:
        """What the recipe learned; ``None`` where that was not recorded."""
        path = final_path(recipe_id)
        if path not in self._manifest.files:
            return None
        return unpacked(content(self.folder, self._manifest, path), path)

    def start_from(self, recipe_id: str, other: str) -> None:
        """``recipe_id`` starts from what ``other`` learned."""
        self._manifest.weights[recipe_id] = final_path(other)

    def copy(self, relative: str, data: bytes) -> None:
        """A file of another pack."""
        self._write(relative, data)

    def start_as(self, weights: Mapping[str, str]) -> None:
        """Recipes -> paths of the weights that they start from, as another pack has them."""
        self._manifest.weights.update(weights)

    def finish(self, date: str) -> None:
        self._manifest.provenance["finished"] = date
        self._write_manifest()

    def _write(self, relative: str, data: bytes) -> None:
        path = self.folder / relative
        path.parent.mkdir(exist_ok=True)
        _replace(path, data)
        self._manifest.files[relative] = Entry(hashlib.sha256(data).hexdigest(), len(data))
        self._write_manifest()

    def _write_manifest(self) -> None:
        _replace(self.folder / FILE, self._manifest.to_json().encode())


def _replace(path: Path, data: bytes) -> None:
    """Leaves the old file or the new one, never half of it."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
