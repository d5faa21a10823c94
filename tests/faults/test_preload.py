"""Tools that cannot be preloaded say why. No Paddle, no device."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from adapter_conform.errors import ConformError
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE, preload

SESSION = SimpleNamespace(library=SimpleNamespace(table_address=0))


def test_without_the_variable_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, "")
    preload(SimpleNamespace())
    monkeypatch.delenv(PRELOAD_VARIABLE)
    preload(SimpleNamespace())


def test_missing_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, str(tmp_path / "tool.so"))
    with pytest.raises(ConformError, match=r"tool\.so: the loader refuses it: .*No such file"):
        preload(SESSION)


def test_library_without_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, "libc.so.6")
    with pytest.raises(ConformError, match="exports no function adapter_conform_preload"):
        preload(SESSION)


def test_plugin_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, "tool.so")
    with pytest.raises(ConformError, match="no native library"):
        preload(SimpleNamespace(library=None))


def test_broken_plan_is_refused_with_the_entry(fault_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, str(fault_library))
    monkeypatch.setenv("ADAPTER_FAULT", "sign")
    with pytest.raises(ConformError, match=r"adapter_conform_preload\(\) returned 1"):
        preload(SESSION)


@pytest.mark.parametrize("tool", ["no_such_module:plant", "adapter_faults:no_such_function"])
def test_python_tool_that_is_not_there(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, tool)
    with pytest.raises(ConformError, match="it cannot be imported: "):
        preload(SESSION)


def test_python_tool_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRELOAD_VARIABLE, "adapter_faults:plant")
    monkeypatch.setenv("ADAPTER_FAULT", "no_such_fault")
    with pytest.raises(ConformError, match="LookupError: no fault is called 'no_such_fault'"):
        preload(SESSION)
