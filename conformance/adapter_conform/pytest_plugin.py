"""pytest plugin: ``pytest --adapter-plugin mychip -k softmax`` runs conformance cases as ordinary tests.

Every case is an item with its id (``conformance/ops/softmax::ops/softmax/float32/eager-0``) and the markers
``conformance``, its suite, its operator and its dtype (``-m "softmax and float32"``). The cases that are left after
``-k`` and ``-m`` run together in worker processes when the first of them comes up. Under pytest-xdist an operator is
what a module is elsewhere: with ``--dist loadfile`` or ``loadscope`` its cases go to one worker, and run together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapter_conform.cases import Record
from adapter_conform.states import BAD, State

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
]

_MOST_WORDS = 400
"""Of an expression for the command line; with more groups than this the whole plan runs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("adapter-conform", "conformance of PaddlePaddle devices")
    group.addoption("--adapter-plugin", metavar="NAME", help="add the conformance cases of this device plugin")
    group.addoption("--adapter-profile", default="smoke", metavar="PROFILE", help="how much to plan [smoke]")
    group.addoption("--adapter-suites", default="ops", metavar="NAMES", help="suites, joined by commas [ops]")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "conformance: a case of adapter-conform")
    if config.getoption("--adapter-plugin"):
        config.stash[_RUNS] = {}


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    plugin = config.getoption("--adapter-plugin")
    if not plugin:
        return
    from adapter_conform.errors import ConformError

    try:
        items.extend(_items(session, config, plugin))
    except ConformError as error:
        raise pytest.UsageError(f"--adapter-plugin {plugin}: {error}") from error


def _items(session: pytest.Session, config: pytest.Config, plugin: str) -> Iterator[pytest.Item]:
    from adapter_conform.plan import RunOptions
    from adapter_conform.run import list_cases

    suites = tuple(config.getoption("--adapter-suites").split(","))
    profile = config.getoption("--adapter-profile")
    options = RunOptions(plugin=plugin, suites=suites, profile=profile, seed=0, out=Path())
    operators: dict[str, ConformanceCases] = {}
    for planned in list_cases(options).cases:
        case = planned.case
        group = f"{case.suite}/{case.operator}"
        if group not in operators:
            operators[group] = ConformanceCases.from_parent(session, name=group, nodeid=f"conformance/{group}")
        item = ConformanceItem.from_parent(operators[group], name=case.id)
        for mark in ("conformance", case.suite, case.operator, case.dtype):
            if mark and mark.isidentifier():
                config.addinivalue_line("markers", f"{mark}: cases of adapter-conform")
                item.add_marker(mark)
        item.group = f"{group}/"
        yield item


class ConformanceCases(pytest.Collector):
    """Parent of the cases of an operator. In ids it stands where a module does, for that is what every version of
    pytest-xdist can keep together."""

    def collect(self) -> list[pytest.Item]:
        return []


class ConformanceItem(pytest.Item):
    """One case."""

    group: str = ""

    def runtest(self) -> None:
        from adapter_conform.testing import explain

        record = self._record()
        if record.state in (State.UNSUPPORTED, State.NOT_RUN):
            pytest.skip(f"{record.state.value}: {record.message}")
        if record.state is State.WAIVED:
            pytest.xfail(record.message or "waived")
        if record.state in BAD or record.state is not State.PASSED:
            raise ConformanceFailure(explain(record))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ConformanceFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.config.rootpath, None, self.name

    def _record(self) -> Record:
        runs = self.config.stash[_RUNS]
        if self.name not in runs:
            runs.update(_run(self.config, self._groups()))
        return runs[self.name]

    def _groups(self) -> list[str]:
        """Of the cases that run together with this one."""
        if hasattr(self.config, "workerinput"):  # an xdist worker gets a part, and does not know which
            return [self.group]
        return sorted({item.group for item in self.session.items if isinstance(item, ConformanceItem)})


class ConformanceFailure(Exception):
    """A case that did not pass; the text says why."""


_RUNS = pytest.StashKey[dict[str, Record]]()


def _run(config: pytest.Config, groups: list[str]) -> dict[str, Record]:
    from adapter_conform.testing import conformance

    run = conformance(
        config.getoption("--adapter-plugin"),
        expression=" or ".join(groups) if len(groups) <= _MOST_WORDS else None,
        suites=config.getoption("--adapter-suites").split(","),
        profile=config.getoption("--adapter-profile"),
    )
    return {record.id: record for record in run.records}
