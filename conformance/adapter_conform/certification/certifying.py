"""From the records of a certification run to its bundle: the reference it was held against, and the verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter_conform.appending import whole_lines
from adapter_conform.certification.acceptance import (
    ATTACHMENTS,
    Extras,
    LevelVerdict,
    Peak,
    Resume,
    Soak,
    judge_level,
    soak_of,
)
from adapter_conform.certification.measurement import Measurement
from adapter_conform.certification.packs import Pack, read_pack
from adapter_conform.certification.packs.manifest import FILE as PACK_FILE
from adapter_conform.certification.packs.runs import run_files, run_of
from adapter_conform.certification.recipes import recipes_of
from adapter_conform.certification.standard import load_standard
from adapter_conform.errors import UsageProblem
from adapter_conform.jsondata import compact, jsonable
from adapter_conform.manifest import read_manifest
from adapter_conform.soak import heartbeat

__all__ = ["CertificateFiles", "attach", "attach_soak", "conclude", "read_extras", "read_measurements"]

_SOAK_FILES = ("heartbeat.jsonl", "training.json")


@dataclass(frozen=True)
class CertificateFiles:
    """What a certification adds to the files of a run."""

    root: Path

    @property
    def measurements(self) -> Path:
        return self.root / "measurements"

    @property
    def reference(self) -> Path:
        return self.root / "reference.json"

    @property
    def reference_runs(self) -> Path:
        return self.root / "reference" / "measurements"

    @property
    def reference_manifest(self) -> Path:
        return self.root / "reference" / PACK_FILE

    @property
    def extras(self) -> Path:
        return self.root / "extras.json"

    @property
    def certificate(self) -> Path:
        return self.root / "certificate.json"

    @property
    def attachments(self) -> Path:
        return self.root / "attachments"

    @property
    def soak(self) -> Path:
        """Of the folder of a soak, what proves it."""
        return self.root / "soak"

    def refuse_older(self) -> None:
        """Raises UsageProblem where a certification stands already: its figures must not mix with those of another."""
        found = [path.name for path in (self.measurements, self.certificate, self.extras) if path.exists()]
        if found:
            raise UsageProblem(
                f"--out {self.root}: it holds {', '.join(found)} of another certification\n"
                f"Go on with it by --resume {self.root}, or give another folder."
            )


def attach(root: Path, given: Sequence[str]) -> None:
    """Copies files ``NAME=FILE`` into the bundle, for what the standard leaves to people.

    Raises:
        UsageProblem: the standard asks for no such attachment, or the file cannot be read.
    """
    for text in given:
        name, _, file = text.partition("=")
        source = Path(file)
        if name not in ATTACHMENTS or not file:
            raise UsageProblem(f"--attach {text}: write NAME=FILE; names are {', '.join(ATTACHMENTS)}")
        if not source.is_file():
            raise UsageProblem(f"--attach {text}: {source} is no file")
        target = CertificateFiles(root).attachments / f"{name}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def attach_soak(root: Path, folder: Path, plugin: str) -> None:
    """Copies the heartbeat log of the soak in ``folder``, which trained on ``plugin``, into the bundle.

    Raises:
        UsageProblem: there is no such soak, or its log cannot be read.
    """
    try:
        soak = _soak(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        wanted = " and ".join(_SOAK_FILES)
        raise UsageProblem(
            f"--soak {folder}: {wanted} of a soak cannot be read: {type(error).__name__}: {error}\n"
            "Give the --out folder of `adapter-conform soak`."
        ) from error
    if soak.plugin != plugin:
        raise UsageProblem(f"--soak {folder}: it trained on plugin {soak.plugin!r}, certified is {plugin!r}")
    target = CertificateFiles(root).soak
    target.mkdir(parents=True, exist_ok=True)
    for name in _SOAK_FILES:
        shutil.copyfile(folder / name, target / name)


def _soak(folder: Path) -> Soak:
    log, training = (folder / name for name in _SOAK_FILES)
    return soak_of(heartbeat.read(log), json.loads(training.read_bytes()))


def conclude(root: Path) -> LevelVerdict:
    """Writes what belongs to the verdict into the folder of a run, and the verdict itself.

    Raises:
        UsageProblem: the folder holds no run of ``certify``, or its reference pack is another one now.
        ConformError: the pack cannot be read.
    """
    files = CertificateFiles(root)
    manifest = read_manifest(root / "plan.json")
    settings = manifest.settings
    pack = read_pack(Path(settings["reference"]))
    tasks = tuple(filter(None, settings["task"].split(",")))
    recipes = recipes_of(settings["level"], tasks, settings["scale"], manifest.seed)
    extras = read_extras(files)
    verdict = judge_level(
        load_standard(),
        settings["level"],
        tasks,
        recipes,
        read_measurements(files.measurements),
        pack.measurements,
        extras,
        pack.provenance,
    )
    _write(files.extras, extras.to_json())
    _write_reference(files, pack)
    request = {**{name: settings[name] for name in ("level", "task", "scale")}, "seed": manifest.seed}
    _write(files.certificate, compact({"format": 1, "request": request, **jsonable(verdict.to_json())}))
    return verdict


def read_measurements(folder: Path) -> list[Measurement]:
    """Those of the device, or of the reference; a crashed case left none."""
    return [run_of(path.read_bytes(), path.name) for path in run_files(folder)]


def read_extras(files: CertificateFiles) -> Extras:
    """Peaks and restarts as the records of their cases have them, and what the log of a soak says."""
    peaks, resumes = [], []
    for line in whole_lines(files.root / "results.jsonl"):
        details: Mapping[str, Any] = json.loads(line)["details"]
        if "peak" in details:
            peak = details["peak"]
            peaks.append(Peak(peak["dtype"], details["declared_tflops"], peak["best_tflops"]))
        if "restart" in details:
            resumes.append(Resume(**details["restart"]))
    present = {path.stem for path in files.attachments.glob("*")} if files.attachments.is_dir() else set()
    return Extras(
        cards=int(read_manifest(files.root / "plan.json").settings.get("cards", 1)),
        peaks=peaks,
        resumes=resumes,
        soak=_soak(files.soak) if files.soak.is_dir() else None,
        attachments=[name for name in ATTACHMENTS if name in present],
    )


def _write_reference(files: CertificateFiles, pack: Pack) -> None:
    summary = {
        "name": pack.name,
        "digest": pack.digest,
        "label": pack.label,
        "is_gpu": pack.is_gpu,
        "provenance": pack.provenance,
    }
    _write(files.reference, compact(jsonable(summary)))
    files.reference_manifest.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pack.folder / PACK_FILE, files.reference_manifest)
    files.reference_runs.mkdir(parents=True, exist_ok=True)
    for source in run_files(pack.folder / "measurements"):
        shutil.copyfile(source, files.reference_runs / source.name)


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".partial")
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(path)
