"""What has been found so far, kept in the output folder: a later call goes on from it, fault by fault."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapter_conform.jsondata import compact
from adapter_conform.selftest.verdict import Control, Sighting

__all__ = ["Store"]


class Store:
    """``DIR/seed-N/found.json``: sightings by fault, and the control by the cases that it ran."""

    def __init__(self, root: Path, seed: int, plugin: str, resume: bool) -> None:
        self.folder = root / f"seed-{seed}"
        self._path = self.folder / "found.json"
        self._found: dict[str, Any] = {"plugin": plugin, "faults": {}, "healthy": {}}
        if resume and self._path.exists():
            found = json.loads(self._path.read_text())
            if found["plugin"] == plugin:
                self._found = found

    def sighting(self, name: str) -> Sighting | None:
        found = self._found["faults"].get(name)
        return None if found is None else Sighting(**found)

    def keep_sighting(self, name: str, found: Sighting) -> None:
        self._found["faults"][name] = asdict(found)
        self._write()

    def control(self, cases: str) -> Control | None:
        found = self._found["healthy"].get(cases)
        return None if found is None else Control(**found)

    def keep_control(self, cases: str, found: Control) -> None:
        self._found["healthy"][cases] = asdict(found)
        self._write()

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path.write_text(compact(self._found) + "\n")
