"""A sealed bundle of two tasks, made of simulated runs: what `certify` leaves, without a device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from _packs import DEVICE, manifest
from _simulation import DIGESTS, reference_runs, simulated
from adapter_conform.cases import Record
from adapter_conform.certification.acceptance import judge_measurement, state_of
from adapter_conform.certification.bundle import seal
from adapter_conform.certification.bundle.keys import make_keys
from adapter_conform.certification.certifying import conclude
from adapter_conform.certification.digests import weights_digest
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs.writing import PackWriter
from adapter_conform.certification.recipes import Recipe, initial_weights, recipes_of
from adapter_conform.journal import Journal, Story
from adapter_conform.jsondata import jsonable
from adapter_conform.report.folder import RecordWriter

ITEMS = 320
TASKS = ("pretrain", "sft")


def recipes() -> list[Recipe]:
    return recipes_of("I", TASKS, "sample")


def case_id(recipe: Recipe, precision: str) -> str:
    return f"certification/{recipe.model.lower()}/{precision}/{recipe.task}"


def write_references(folder: Path) -> None:
    """A pack of simulated runs; its weights are a few small arrays."""
    writer = PackWriter.open(folder, manifest(), resume=False)
    for recipe in recipes():
        drawn = initial_weights(recipe)
        weights = writer.initial_weights(recipe.id, lambda drawn=drawn: {n: a[:2] for n, a in list(drawn.items())[:2]})
        for precision in recipe.precisions:
            for run in reference_runs(recipe, precision):
                run.digests = {**DIGESTS, "weights": weights_digest(weights)}
                run.environment = {"device": DEVICE}
                run.items = run.items[:ITEMS]
                writer.add(run)
    writer.finish("2030-01-01T00:10:00+00:00")


def run_of(recipe: Recipe, precision: str, pack: list[Measurement], seed: int = 7) -> Measurement:
    run = simulated(recipe, precision, "device", seed)
    run.items = run.items[:ITEMS]
    run.digests = next(one.digests for one in pack if one.recipe == recipe.id)
    return run


def make_bundle(folder: Path, pack: Path, seed: int = 7, key: Path | None = None) -> Path:
    """A concluded and sealed certification in ``folder``."""
    from adapter_conform.certification.packs import read_pack

    references = read_pack(pack).measurements
    pairs = [(recipe, precision) for recipe in recipes() for precision in recipe.precisions]
    runs = [(recipe, run_of(recipe, precision, references, seed)) for recipe, precision in pairs]
    return bundle_of(runs, TASKS, folder, pack, key)


def bundle_of(
    runs: Sequence[tuple[Recipe, Measurement]], tasks: Sequence[str], folder: Path, pack: Path, key: Path | None
) -> Path:
    """What a certification of ``tasks`` leaves whose cases gave ``runs``."""
    from adapter_conform.certification.packs import read_pack

    references = read_pack(pack).measurements
    (folder / "measurements").mkdir(parents=True)
    names = [case_id(recipe, run.precision) for recipe, run in runs]
    plan = {
        "format": 1,
        "plugin_name": "simulated",
        "suites": ["certification"],
        "suite_names": ["certification"],
        "profile": "full",
        "seed": 0,
        "case_timeout": 60.0,
        "expression": None,
        "replay": None,
        "shard": None,
        "shrink": False,
        "narrowed_by": [f"--task {','.join(tasks)}"],
        "started": "2030-01-01T00:00:00+00:00",
        "plugin": {"name": "simulated", "distribution_version": "1.0"},
        "library_sha256": "ab" * 32,
        "versions": {"python": "3.11"},
        "environment": {"cpus": 2},
        "waivers": [],
        "excluded": {},
        "available": len(names),
        "digest": "cd" * 32,
        "cases": names,
        "settings": {"level": "I", "task": ",".join(tasks), "scale": "sample", "reference": str(pack)},
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    writer, journal = RecordWriter(folder / "results.jsonl"), Journal(folder / "journal.jsonl", Story())
    journal.note("session", 0.0, started=plan["started"])
    for recipe, run in runs:
        name = f"{recipe.id.replace('/', '.')}.{run.precision}.json"
        (folder / "measurements" / name).write_text(run.to_json())
        figures = judge_measurement(recipe, run, references)
        details = {"recipe": recipe.id, "kernels": run.executed["kernels"]}
        if recipe.task != "inference":
            details["loss"] = {"device": run.losses}
        identity = (case_id(recipe, run.precision), "certification", recipe.model.lower(), run.precision)
        writer.write(Record(*identity, state_of(figures), "simulated:0", figures, 1.0, "", "", jsonable(details)))
    writer.close()
    journal.note("end", 4.0, stopped=None, quarantined=False)
    journal.close()
    conclude(folder)
    seal(folder, key)
    return folder


def make_key(folder: Path, name: str = "key") -> Path:
    key = folder / name
    make_keys(key)
    return key
