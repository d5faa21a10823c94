"""What a run is asked to do, and the cases that come of it. No Paddle, no device."""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from adapter_conform.bare.target import Target
from adapter_conform.cases import Case
from adapter_conform.errors import ConformError, UsageProblem
from adapter_conform.jsondata import compact, jsonable
from adapter_conform.selection import select_ids
from adapter_conform.shards import Shard
from adapter_conform.suites import DEFAULT_SUITES, load_suite
from adapter_conform.suites.base import ExclusionProvider, PlanRequest, SessionProvider, Suite

if TYPE_CHECKING:
    from adapter_sdk.manager import LoadedPlugin

__all__ = [
    "DEFAULT_CASE_TIMEOUT",
    "MOST_DEFAULT_JOBS",
    "Exclusions",
    "LoadedSuite",
    "Plan",
    "PlannedCase",
    "RunOptions",
    "default_jobs",
    "load_suites",
    "make_plan",
    "narrowed_by",
    "nearest_ids",
]

DEFAULT_CASE_TIMEOUT = 60.0
"""Seconds."""

MOST_DEFAULT_JOBS = 4
"""Every worker imports Paddle and holds memory on the card: more of them must be asked for."""

Exclusions = Mapping[str, Mapping[str, Sequence[int]]]
"""Suite -> reason -> numbers of the lines that the suite left out for it when it planned."""

_Answer = TypeVar("_Answer")


def default_jobs() -> int:
    """Worker processes at a time when the user does not say: the CPUs of this process, at most MOST_DEFAULT_JOBS."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MOST_DEFAULT_JOBS)


@dataclass(frozen=True)
class RunOptions:
    """The command line, checked. ``suites`` holds names as the user gave them."""

    plugin: str
    """Its name, or the text of a :class:`Target` that is a bare device."""
    suites: tuple[str, ...]
    profile: str
    seed: int
    out: Path
    jobs: int = 1
    case_timeout: float = DEFAULT_CASE_TIMEOUT
    expression: str | None = None
    replay: Path | None = None
    shard: Shard | None = None
    time_budget: float | None = None
    """Seconds for the whole run."""
    shrink: bool = True
    """Whether failures are made small afterwards, and written as files of their own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Options of the command that a suite has for itself, without their dashes, e.g. ``{"level": "I"}`` of certify."""

    def repro(self, suite: str, case_id: str) -> str:
        """A shell command that reruns one case alone."""
        if self.settings:
            words = ["adapter-conform", "certify", "--plugin", self.plugin, "--seed", str(self.seed)]
            words += [word for name, value in self.settings.items() if value for word in (f"--{name}", value)]
            return shlex.join([*words, "-k", case_id])
        words = [
            "adapter-conform",
            *Target.of(self.plugin).words(),
            "--profile",
            self.profile,
            "--seed",
            str(self.seed),
        ]
        words += ["--suite", suite]
        if self.replay is not None and suite == "replay":
            words += ["--replay", str(self.replay)]
        if self.case_timeout != DEFAULT_CASE_TIMEOUT:
            words += ["--case-timeout", f"{self.case_timeout:g}"]
        return shlex.join([*words, "-k", case_id])


@dataclass(frozen=True)
class LoadedSuite:
    spec: str
    suite: Suite

    @property
    def session_provider(self) -> SessionProvider | None:
        return self.suite if isinstance(self.suite, SessionProvider) else None


@dataclass(frozen=True)
class PlannedCase:
    index: int
    """Position in the whole plan; reports are in this order."""
    spec: str
    """How a worker finds the suite."""
    case: Case
    repro: str


@dataclass(frozen=True)
class Plan:
    cases: tuple[PlannedCase, ...]
    """Those of this run's shard."""
    available: int
    """Cases before ``-k``."""
    ids: tuple[str, ...]
    """Of the whole plan, all shards together."""
    digest: str
    """sha256 over everything that the whole plan says of its cases: the same plan gives the same digest anywhere."""
    excluded: Exclusions = field(default_factory=dict)
    """Of every suite that can say so, whatever ``-k`` selects."""


def load_suites(specs: Sequence[str]) -> list[LoadedSuite]:
    """The suites, each once, in the order given.

    Raises:
        UsageProblem: one cannot be loaded, or they do not agree on what to open.
    """
    loaded = [LoadedSuite(spec, load_suite(spec)) for spec in dict.fromkeys(specs)]
    providers = {suite.spec for suite in loaded if suite.session_provider is not None}
    if providers and len(loaded) > 1:
        raise UsageProblem(
            f"suite {', '.join(sorted(providers))} opens a session of its own and cannot run together with others\n"
            "Give it a run of its own: --suite with this name alone."
        )
    return loaded


def make_plan(options: RunOptions, suites: Sequence[LoadedSuite], plugin: LoadedPlugin) -> Plan:
    """Asks every suite for its cases and keeps those that ``-k`` and ``--shard`` select.

    Raises:
        UsageProblem: a suite refuses the request (a malformed replay file...), or ``-k`` cannot be read.
        ConformError: a suite broke down, or gave cases that cannot be run or exclusions that cannot be read.
    """
    request = PlanRequest(
        plugin=plugin,
        profile=options.profile,
        seed=options.seed,
        replay=options.replay,
        settings=options.settings,
    )
    found = [(suite.spec, case) for suite in suites for case in _cases_of(suite, request)]
    _check_unique([case for _, case in found])
    chosen = found
    if options.expression is not None:
        selected = select_ids(options.expression, (case.id for _, case in found))
        chosen = [(spec, case) for spec, case in found if case.id in selected]
    cases = [
        PlannedCase(index, spec, case, options.repro(spec, case.id))
        for index, (spec, case) in enumerate(chosen)
        if options.shard is None or options.shard.takes(index)
    ]
    excluded = {loaded.suite.name: lines for loaded in suites if (lines := _excluded_of(loaded, request)) is not None}
    ids = tuple(case.id for _, case in chosen)
    return Plan(tuple(cases), available=len(found), ids=ids, digest=_digest(chosen), excluded=excluded)


def narrowed_by(options: RunOptions, suites: Sequence[LoadedSuite]) -> tuple[str, ...]:
    """The options that leave a part of the plan out; none for a run whose verdict is on everything.

    A suite with a session of its own is all that there is to judge: it can run with no other. So is one that says that
    it ``stands_alone``.
    """
    found = []
    names = [loaded.suite.name for loaded in suites]
    alone = any(loaded.session_provider or getattr(loaded.suite, "stands_alone", False) for loaded in suites)
    if not set(DEFAULT_SUITES) <= set(names) and not alone:
        found.append(f"--suite {','.join(names)}")
    if options.settings.get("scale", "full") != "full":
        found.append(f"--scale {options.settings['scale']}")
    if options.settings.get("task"):
        found.append(f"--task {options.settings['task']}")
    if options.expression is not None:
        found.append(f"-k {shlex.quote(options.expression)}")
    if options.shard is not None:
        found.append(f"--shard {options.shard}")
    return tuple(found)


def _digest(chosen: Sequence[tuple[str, Case]]) -> str:
    digest = hashlib.sha256()
    for spec, case in chosen:
        digest.update((compact([spec, jsonable(case)]) + "\n").encode())
    return digest.hexdigest()


def nearest_ids(expression: str, ids: Sequence[str]) -> list[str]:
    """Up to three ids that resemble an expression which selected nothing."""
    return difflib.get_close_matches(expression, ids, n=3, cutoff=0.5)


def _cases_of(loaded: LoadedSuite, request: PlanRequest) -> list[Case]:
    cases = _asked(loaded, lambda: list(loaded.suite.plan(request)))
    for case in cases:
        _check_case(loaded, case)
    return cases


def _excluded_of(loaded: LoadedSuite, request: PlanRequest) -> dict[str, tuple[int, ...]] | None:
    """What the suite leaves out, the most frequent reason first; None when it does not say."""
    suite = loaded.suite
    if not isinstance(suite, ExclusionProvider):
        return None
    excluded = _asked(loaded, lambda: {reason: tuple(lines) for reason, lines in suite.excluded(request).items()})
    for reason, lines in excluded.items():
        if not isinstance(reason, str) or not all(type(line) is int and line > 0 for line in lines):
            raise ConformError(
                f"suite {loaded.spec!r} excludes {lines[:5]!r} for {reason!r}\n"
                "excluded() must give a text for the reason, and numbers of lines, from 1."
            )
    kept = {reason: lines for reason, lines in excluded.items() if lines}
    return dict(sorted(kept.items(), key=lambda item: (-len(item[1]), item[0])))


def _asked(loaded: LoadedSuite, question: Callable[[], _Answer]) -> _Answer:
    """The suite's answer; its errors become those of :func:`make_plan`."""
    try:
        return question()
    except ConformError:
        raise
    except (ValueError, OSError) as error:  # the request is at fault: a malformed file, an unknown name...
        raise UsageProblem(f"suite {loaded.spec!r} cannot plan: {type(error).__name__}: {error}") from error
    except Exception as error:
        raise ConformError(
            f"suite {loaded.spec!r} broke down while planning: {type(error).__name__}: {error}{_where(error)}\n"
            "This is a fault of the suite or of the plugin's declarations, not of the command line."
        ) from error


def _check_case(loaded: LoadedSuite, case: Case) -> None:
    if case.suite != loaded.suite.name:
        raise ConformError(f"suite {loaded.suite.name!r} planned {case.id!r} in the name of suite {case.suite!r}")
    try:
        compact(jsonable(case.payload))
    except (TypeError, ValueError) as error:
        raise ConformError(f"case {case.id!r} of suite {loaded.spec!r} cannot travel to a worker: {error}") from error


def _check_unique(cases: Sequence[Case]) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise ConformError(f"two planned cases have the id {case.id!r} (suite {case.suite!r}); ids must be unique")
        seen.add(case.id)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
