"""A reference pack, read and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs.content import content, content_faults
from adapter_conform.certification.packs.errors import PackError
from adapter_conform.certification.packs.manifest import FILE, PackManifest, final_path, read_manifest
from adapter_conform.certification.packs.runs import run_of
from adapter_conform.certification.packs.schema import measurement_faults
from adapter_conform.certification.packs.weightfile import unpacked
from adapter_conform.certification.recipes import Recipe, all_recipes, initial_weights
from adapter_conform.certification.recipes.starting import Weights, storable

__all__ = ["Pack", "builtin", "learned_weights", "read_pack"]

_SHOWN = 8
"""Faults in one message."""


@dataclass(frozen=True)
class Pack:
    folder: Path
    manifest: PackManifest
    digest: str
    """sha256 of the manifest, which holds those of all files: names the pack in a certificate."""
    measurements: list[Measurement]
    """Of a recipe and precision: the base first."""

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def provenance(self) -> dict[str, Any]:
        return self.manifest.provenance

    @property
    def is_gpu(self) -> bool:
        """Whether a GPU made it. What a CPU made can never stand for one on a certificate."""
        return bool(self.provenance["device"]["kind"] == "cuda")

    @property
    def scale(self) -> str:
        return str(self.provenance.get("scale", ""))

    @property
    def seed(self) -> int:
        return int(self.provenance.get("seed", 0))

    @property
    def label(self) -> str:
        """For every page that shows a verdict: ``PyTorch 2.13.0 on CPU (...)``."""
        device = self.provenance["device"]["name"]
        torch = f"PyTorch {self.provenance['versions'].get('torch', '?')}"
        return f"{torch} on {device}" if self.is_gpu else f"{torch} on CPU ({device}): no GPU reference"

    def of(self, recipe_id: str, precision: str) -> list[Measurement]:
        """Base first, then its repetitions; empty where nothing was recorded."""
        return [one for one in self.measurements if (one.recipe, one.precision) == (recipe_id, precision)]

    def lacks_weights(self, recipe: Recipe) -> bool:
        """Whether ``recipe`` can start from nothing that the pack holds or names."""
        return recipe.id not in self.manifest.weights and bool(recipe.starts_from)

    def weights(self, recipe_id: str) -> Weights:
        """What the recipe starts from: float32, Hugging Face's names and layout.

        Drawn weights that the pack does not store are drawn again.

        Raises:
            PackError: there are none, or they are not those that the recorded training started from.
        """
        path = self.manifest.weights.get(recipe_id)
        if path is not None:
            weights, origin = unpacked(content(self.folder, self.manifest, path), path), path
        else:
            recipe = next((one for one in all_recipes(self.scale, self.seed) if one.id == recipe_id), None)
            if recipe is None or self.lacks_weights(recipe):
                known = ", ".join(sorted(self.manifest.weights))
                raise PackError(f"pack {self.name} has no weights for {recipe_id}; it has {known or 'none'}")
            weights, origin = storable(initial_weights(recipe)), "what this machine draws"
        digests = {one.digests.get("weights") for one in self.measurements if one.recipe == recipe_id}
        if digests - {weights_digest(weights)}:
            raise PackError(f"pack {self.name}: {origin} is not what the recorded training of {recipe_id} started from")
        return weights


def read_pack(path: Path, *, check_recipes: bool = True) -> Pack:
    """Reads and checks every file of a pack; ``check_recipes`` also holds the recipes against those of this release.

    Raises:
        PackError: corrupt, foreign, of another format, or no pack. Nothing of it has been used.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    _refuse(folder, list(content_faults(folder, manifest)))
    measurements = [
        _measurement(folder, manifest, relative)
        for relative in sorted(manifest.files)
        if relative.startswith("measurements/")
    ]
    measurements.sort(key=lambda one: (one.recipe, one.precision, one.variant != "base", one.variant))
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    pack = Pack(folder, manifest, digest, measurements)
    faults = [*_provenance_faults(pack)]
    if check_recipes:
        faults += _recipe_faults(pack)
    _refuse(folder, faults)
    for relative in sorted(manifest.files):
        if relative.startswith("weights/"):
            unpacked(content(folder, manifest, relative), relative)
    return pack


def learned_weights(folder: Path, recipe_id: str, provenance: Mapping[str, Any]) -> Weights:
    """What ``recipe_id`` learned by the pack in ``folder``, for a pack of ``provenance``.

    Raises:
        PackError: the pack is refused, is of another scale or seed, or did not record it.
    """
    pack = read_pack(folder)
    for name in ("scale", "seed"):
        if pack.provenance.get(name) != provenance.get(name):
            raise PackError(f"its {name} is {pack.provenance.get(name)}, asked for is {provenance.get(name)}")
    path = final_path(recipe_id)
    if path not in pack.manifest.files:
        raise PackError(f"pack {pack.name} does not hold what {recipe_id} learned ({path})")
    return unpacked(content(folder, pack.manifest, path), path)


def _refuse(folder: Path, faults: list[str]) -> None:
    if faults:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise PackError(f"reference pack {folder} is refused:\n  " + "\n  ".join(faults[:_SHOWN]) + more)


def _measurement(folder: Path, manifest: PackManifest, relative: str) -> Measurement:
    try:
        measurement = run_of(content(folder, manifest, relative), relative)
        faults = list(measurement_faults(measurement))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PackError(f"{folder / relative}: {error}") from error
    if faults:
        raise PackError(f"{folder / relative}: {'; '.join(faults)}")
    return measurement


def _provenance_faults(pack: Pack) -> Iterator[str]:
    """A measurement that another device made, or that is there twice, or a GPU that is not described."""
    device = pack.provenance["device"]
    versions = pack.provenance.get("versions")
    if not isinstance(versions, dict):
        yield "the provenance names no versions"
        versions = {}
    if pack.is_gpu:
        missing = [key for key in ("name", "driver", "compute_capability", "memory_bytes") if not device.get(key)]
        missing += [key for key in ("cuda", "torch") if not versions.get(key)]
        if missing:
            yield f"a pack of a GPU says which one: {', '.join(missing)} missing"
    if pack.is_gpu != pack.name.startswith("cuda-"):
        yield f"name {pack.name!r} does not begin with the kind of device, {device['kind']}"
    for one in pack.measurements:
        if one.environment.get("device") != device:
            yield f"{one.recipe} {one.precision} {one.variant} was measured on {one.environment.get('device')}"
    seen = set()
    for one in pack.measurements:
        run = one.recipe, one.precision, one.variant
        if run in seen:
            yield f"{' '.join(run)} is there twice"
        if one.variant != "base" and (one.recipe, one.precision, "base") not in seen:
            yield f"{one.recipe} {one.precision} has repetitions and no base"
        seen.add(run)


def _recipe_faults(pack: Pack) -> Iterator[str]:
    """Recipes that are others here than where the pack was recorded: nothing could be compared."""
    try:
        known = {recipe.id: recipe for recipe in all_recipes(pack.scale, pack.seed)}
    except KeyError:
        yield f"scale {pack.scale!r} is unknown to this release"
        return
    for one in pack.measurements:
        recipe = known.get(one.recipe)
        if recipe is None:
            yield f"recipe {one.recipe} is unknown to this release"
        elif recipe.digest != one.recipe_digest:
            yield (
                f"recipe {one.recipe} was another one when {one.precision} {one.variant} was recorded "
                f"({one.recipe_digest[:12]}, here {recipe.digest[:12]}): record the pack again"
            )


def builtin(scale: str) -> Path:
    """Folder of the pack that comes with this release; one of a GPU before one of a CPU.

    Raises:
        PackError: there is none for ``scale``.
    """
    package = Path(__file__).resolve().parents[2]
    # Beside the package in a checkout, inside it where it is installed.
    for home in (package / "references", package.parent / "references"):
        for kind in ("cuda", "cpu"):
            folder = home / f"{kind}-{scale}"
            if (folder / FILE).is_file():
                return folder
    raise PackError(
        f"no reference pack for scale {scale!r} comes with this release\n"
        "Record one: adapter-conform record --zipapp recorder.pyz, and run that on the reference machine."
    )
