"""A small pack for the tests of packs: two recipes of the sample scale, with figures that nobody measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Item, Measurement
from adapter_conform.certification.packs.manifest import PackManifest
from adapter_conform.certification.packs.writing import PackWriter
from adapter_conform.certification.recipes import Recipe, all_recipes, initial_weights

RECIPES = {recipe.id: recipe for recipe in all_recipes("sample")}
PRETRAIN = RECIPES["gpt-3-175b/pretrain"]
DEVICE = {"kind": "cpu", "name": "A processor", "cores": 2}
VERSIONS = {"torch": "2.13.0", "transformers": "4.57.6"}


def manifest(**changes: object) -> PackManifest:
    provenance = {
        "device": DEVICE,
        "versions": VERSIONS,
        "settings": {"threads": 1},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "",
        "scale": "sample",
        "seed": 0,
    }
    return PackManifest("cpu-sample-test", {**provenance, **changes})


def measurement(recipe: Recipe, variant: str, weights: str, device: object = None, offset: float = 0.0) -> Measurement:
    steps = recipe.schedule.steps
    return Measurement(
        recipe.id,
        recipe.digest,
        "float32",
        variant,
        losses=[5.0 + offset - 0.01 * step for step in range(steps)],
        gradient_norms=[1.0] * steps,
        seconds=[0.5] * steps,
        validation_losses={str(steps): 4.5},
        items=[Item("0", (3, 4), (3, 5), {"margin": 0.25})],
        tokens_per_step=recipe.schedule.tokens_per_step,
        digests={"weights": weights},
        environment={"device": DEVICE if device is None else device},
    )


def write_pack(folder: Path, *, device: object = None, recipe: Recipe = PRETRAIN, **changes: object) -> Path:
    """A sound pack in ``folder``, unless ``changes`` make it otherwise."""
    writer = PackWriter.open(folder, manifest(**changes), resume=False)
    weights = writer.initial_weights(recipe.id, lambda: _halved(recipe))
    for number, variant in enumerate(("base", "rows")):
        writer.add(measurement(recipe, variant, weights_digest(weights), device, number * 1e-6))
    writer.finish("2026-01-01T00:10:00+00:00")
    return folder


def _halved(recipe: Recipe) -> dict[str, np.ndarray]:
    drawn = initial_weights(recipe)
    return {name: array[:4].astype(np.float16).astype(np.float32) for name, array in list(drawn.items())[:6]}
