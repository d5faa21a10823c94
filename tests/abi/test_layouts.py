"""Offsets of the device interface, measured against the headers that each Paddle ships."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ABI = Path(__file__).resolve().parents[2] / "csrc" / "abi"

Driver = Callable[..., str]

HEADER = "paddle/phi/backends/device_ext.h"


def _slots() -> list[str]:
    return re.findall(r"^\s*X\((\w+),", (ABI / "layouts.h").read_text(), flags=re.M)


def _table(driver: Driver, size: str) -> dict[str, str]:
    return dict(line.split(" ") for line in driver("layout", size).splitlines())


def _declared(header: Path) -> list[str]:
    """Names of the function slots that the interface of a shipped header declares."""
    body = re.search(r"struct C_DeviceInterface \{(.*?)\n\};", header.read_text(), flags=re.S)
    assert body is not None, f"{header} declares no C_DeviceInterface"
    return re.findall(r"\(\*(\w+)\)\s*\(", body.group(1))


def _measure(cxx: str, include: Path, slots: list[str], folder: Path) -> dict[str, int]:
    """sizeof(C_DeviceInterface) under "size", and the offset of each slot."""
    lines = [f'std::printf("{slot} %zu\\n", offsetof(C_DeviceInterface, {slot}));' for slot in slots]
    source = f"""#include <cstddef>
#include <cstdio>
#include <type_traits>
#include "{HEADER}"
int main() {{
  std::printf("sizeof %zu\\n", sizeof(C_DeviceInterface));
  using Query = decltype(C_DeviceInterface::get_compute_capability);
  std::printf("has_device %d\\n", std::is_invocable_v<Query, C_Device, size_t*>);
  {chr(10).join(lines)}
}}"""
    probe = folder / "probe"
    command = [cxx, "-std=c++17", "-w", f"-I{include}", "-x", "c++", "-", "-o", str(probe)]
    subprocess.run(command, input=source, text=True, check=True)
    printed = subprocess.run([probe], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in printed.splitlines())}


@pytest.mark.paddle
def test_offsets_are_those_of_the_shipped_headers(driver: Driver, cxx: str, tmp_path: Path, paddle_tree: Path) -> None:
    declared = _declared(paddle_tree / "include" / HEADER)
    table_slots = _slots()
    present = [slot for slot in table_slots if slot in declared]
    measured = _measure(cxx, paddle_tree / "include", declared, tmp_path)
    table = _table(driver, str(measured["sizeof"]))
    assert int(table["has_device"]) == measured["has_device"]
    assert {slot: int(table[slot]) for slot in present} == {slot: measured[slot] for slot in present}
    assert [slot for slot in table_slots if slot not in declared and int(table[slot]) != -1] == []
    past = [slot for slot in declared if measured[slot] >= 480 and slot not in table_slots]
    assert past == [], "slots of this release that the table lacks"
    version = re.search(r"full_version\s*= '([\d.]+)'", (paddle_tree / "version" / "__init__.py").read_text())
    assert version is not None
    assert version.group(1).startswith(table["release"] + ".")


def test_unknown_size_is_refused_with_the_known_ones(driver: Driver) -> None:
    with pytest.raises(RuntimeError, match=r"920 \(3\.0\), 976 \(3\.1\), 1032 \(3\.2\), 1128 \(3\.3\)"):
        driver("layout", "912")


@pytest.mark.parametrize("size", ["920", "976", "1032", "1128"])
def test_slots_lie_inside_and_apart(driver: Driver, size: str) -> None:
    table = _table(driver, size)
    offsets = [int(table[slot]) for slot in _slots() if int(table[slot]) != -1]
    assert len(offsets) == len(set(offsets))
    assert all(480 <= offset <= int(size) - 8 and offset % 8 == 0 for offset in offsets)
