"""``plan.json``: what a run set out to do, and with what. Written before the first case; :mod:`resuming` and
:mod:`merging` hold other runs against it."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter_conform.errors import UsageProblem
from adapter_conform.jsondata import jsonable
from adapter_conform.plan import LoadedSuite, Plan, RunOptions, narrowed_by
from adapter_conform.shards import Shard
from adapter_conform.textfiles import read_text
from adapter_conform.waivers import WaiverRule

__all__ = ["Manifest", "library_digest", "read_manifest"]

_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Everything about a run that does not change while it runs."""

    plugin_name: str
    suites: tuple[str, ...]
    """As the user gave them."""
    suite_names: tuple[str, ...]
    profile: str
    seed: int
    case_timeout: float
    expression: str | None
    replay: str | None
    shard: str | None
    shrink: bool
    narrowed_by: tuple[str, ...]
    started: str
    """ISO 8601, UTC; waivers are held against this day."""
    plugin: Mapping[str, Any]
    library_sha256: str
    """Of the plugin's library; empty where there is none."""
    versions: Mapping[str, str]
    """Of Python and the packages."""
    environment: Mapping[str, Any]
    """The machine."""
    waivers: tuple[Mapping[str, str], ...]
    excluded: Mapping[str, Mapping[str, Sequence[int]]]
    available: int
    """Cases before ``-k``."""
    digest: str
    cases: tuple[str, ...]
    """Ids of the whole plan; a shard takes its part of them."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the command that the suite has for itself."""

    @classmethod
    def of(
        cls,
        options: RunOptions,
        suites: Sequence[LoadedSuite],
        plan: Plan,
        plugin: Mapping[str, Any],
        library_sha256: str,
        host: Mapping[str, Any],
        waivers: Sequence[WaiverRule],
        started: str,
    ) -> Manifest:
        data = {
            "plugin_name": options.plugin,
            "suites": options.suites,
            "suite_names": [loaded.suite.name for loaded in suites],
            "profile": options.profile,
            "seed": options.seed,
            "case_timeout": options.case_timeout,
            "expression": options.expression,
            "replay": None if options.replay is None else str(options.replay),
            "shard": None if options.shard is None else str(options.shard),
            "shrink": options.shrink,
            "narrowed_by": narrowed_by(options, suites),
            "started": started,
            "plugin": plugin,
            "library_sha256": library_sha256,
            "versions": {"python": host["python"], **host["packages"]},
            "environment": host,
            "waivers": [vars(rule) for rule in waivers],
            "excluded": plan.excluded,
            "available": plan.available,
            "digest": plan.digest,
            "cases": plan.ids,
            "settings": options.settings,
        }
        return cls._of_json(json.loads(json.dumps(jsonable(data))))

    @classmethod
    def _of_json(cls, data: dict[str, Any]) -> Manifest:
        for name in ("suites", "suite_names", "narrowed_by", "waivers", "cases"):
            data[name] = tuple(data[name])
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        return {"format": _FORMAT, **jsonable(self)}

    def options(self, out: Path, **changes: Any) -> RunOptions:
        """The request again, with files in ``out``."""
        fields: dict[str, Any] = {
            "plugin": self.plugin_name,
            "suites": self.suites,
            "profile": self.profile,
            "seed": self.seed,
            "out": out,
            "case_timeout": self.case_timeout,
            "expression": self.expression,
            "replay": None if self.replay is None else Path(self.replay),
            "shard": None if self.shard is None else Shard.parse(self.shard),
            "shrink": self.shrink,
            "settings": self.settings,
        }
        return RunOptions(**{**fields, **changes})

    def rules(self) -> list[WaiverRule]:
        """The plugin's waivers."""
        return [
            WaiverRule(
                waiver["operator"],
                waiver["dtype"],
                waiver["reason"],
                waiver["link"],
                datetime.date.fromisoformat(waiver["expires"]),
            )
            for waiver in self.waivers
        ]

    @property
    def day(self) -> datetime.date:
        return datetime.datetime.fromisoformat(self.started).date()

    def shard_cases(self) -> list[str]:
        """Ids of the cases of this run's own part, in order."""
        shard = None if self.shard is None else Shard.parse(self.shard)
        return [case_id for place, case_id in enumerate(self.cases) if shard is None or shard.takes(place)]

    def differences(self, other: Manifest) -> Iterator[str]:
        """What makes the records of the two runs no parts of one run, in words: ``"numpy: 1.26.4 and 2.0.0"``."""
        for name, words in _REQUEST.items():
            yield from _difference(words, getattr(self, name), getattr(other, name))
        for name in ("name", "distribution", "distribution_version"):
            yield from _difference(f"plugin's {name}", self.plugin.get(name), other.plugin.get(name))
        yield from _difference("plugin's library (sha256)", self.library_sha256[:16], other.library_sha256[:16])
        for name in sorted(self.versions.keys() | other.versions.keys()):
            yield from _difference(name, self.versions.get(name), other.versions.get(name))
        yield from _difference("waivers", list(self.waivers), list(other.waivers))
        if self.digest != other.digest:
            yield f"the planned cases: {_plan_difference(self.cases, other.cases)}"


_REQUEST = {
    "plugin_name": "--plugin",
    "suites": "--suite",
    "profile": "--profile",
    "seed": "--seed",
    "case_timeout": "--case-timeout",
    "expression": "-k",
    "settings": "options of its command",
}


def read_manifest(path: Path) -> Manifest:
    """``plan.json`` of a run.

    Raises:
        UsageProblem: it is missing, damaged, or of another version of this package.
    """
    if not path.is_file():
        raise UsageProblem(
            f"{path.parent} holds no {path.name}: no run of adapter-conform got as far as its first case there\n"
            "Give the --out folder of an earlier run."
        )
    try:
        data = json.loads(read_text(path, "plan"))
        if data.pop("format") != _FORMAT:
            raise ValueError("it was written by another version of adapter-conform")
        return Manifest._of_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageProblem(f"{path} cannot be used: {type(error).__name__}: {error}\nStart the run again.") from error


def library_digest(plugin: Any) -> str:
    """sha256 of a plugin's library; a rebuilt library is another device. Empty for a plugin without one."""
    path = getattr(getattr(plugin, "library", None), "path", None)
    path = path or getattr(getattr(plugin, "device", None), "library", None)  # a bare device's
    if path is None:
        return ""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _difference(words: str, mine: object, yours: object) -> Iterator[str]:
    if mine != yours:
        yield f"{words}: {_shown(mine)} and {_shown(yours)}"


def _shown(value: object) -> str:
    text = (
        "none"
        if value is None or value == ""
        else ",".join(map(str, value))
        if isinstance(value, tuple)
        else str(value)
    )
    return text if len(text) <= 200 else text[:197] + "..."


def _plan_difference(mine: Sequence[str], yours: Sequence[str]) -> str:
    for place, (one, other) in enumerate(zip(mine, yours, strict=False)):
        if one != other:
            return f"case {place} is {one!r} and {other!r}"
    if len(mine) != len(yours):
        return f"{len(mine)} and {len(yours)} cases"
    return "the ids are the same, the inputs are not"
