"""Libraries: damaged files are refused before the loader sees them, and the table says what it holds."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import adapter_sdk
from adapter_sdk import (
    CONTRACT_VERSION,
    ContractMismatch,
    DeviceError,
    LibraryUnusable,
    NativePlugin,
    PluginInvalid,
    PluginLibrary,
    load,
)
from adapter_sdk import _table as table
from adapter_sdk._elf import check_shared_library
from adapter_sdk.dtypes import DTYPE_CODES
from adapter_sdk.native import CopyKind

if TYPE_CHECKING:
    from conftest import Site

Compile = Callable[..., Path]
HEADER = adapter_sdk.include_dir() / "adapter_sdk" / "plugin_table.h"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "is not an ELF file"),
        (b"\x7fEL", "is truncated"),
        (b"\x7fELF" + b"\x01\x01" + bytes(60), "is not a 64-bit"),
    ],
)
def test_junk_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    library = tmp_path / "libjunk.so"
    library.write_bytes(content)
    with pytest.raises(LibraryUnusable, match=fault):
        PluginLibrary(library)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryUnusable, match=r"libno\.so is not usable\n  fault:  no such file"):
        PluginLibrary(tmp_path / "libno.so")


def test_library_cut_anywhere_is_refused(tmp_path: Path, compile_plugin: Compile) -> None:
    whole = compile_plugin().read_bytes()
    cut = tmp_path / "libcut.so"
    for size in [*range(4, len(whole), 211), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(LibraryUnusable, match=f"is truncated: {size} bytes of at least"):
            PluginLibrary(cut)


def test_library_for_another_machine_is_refused(tmp_path: Path, compile_plugin: Compile) -> None:
    content = bytearray(compile_plugin().read_bytes())
    content[18:20] = (258 if content[18] == 183 else 183).to_bytes(2, "little")
    library = tmp_path / "libother.so"
    library.write_bytes(content)
    with pytest.raises(LibraryUnusable, match=r"was built for (aarch64|loongarch64), this machine is"):
        check_shared_library(library)


def test_library_without_the_table_is_refused(tmp_path: Path) -> None:
    source, library = tmp_path / "empty.c", tmp_path / "libempty.so"
    source.write_text("int nothing;\n")
    subprocess.run(["gcc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    with pytest.raises(LibraryUnusable, match="exports no symbol adapter_sdk_plugin_table"):
        PluginLibrary(library)


def test_library_with_an_unresolved_symbol_is_refused(tmp_path: Path) -> None:
    source, library = tmp_path / "need.c", tmp_path / "libneed.so"
    source.write_text("int PD_missing(void);\nint call(void) { return PD_missing(); }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-z,now", str(source), "-o", str(library)], check=True)
    with pytest.raises(LibraryUnusable, match=r"the loader refuses it: .*PD_missing"):
        PluginLibrary(library)


def test_other_contract_is_refused_with_both_numbers(compile_plugin: Compile) -> None:
    with pytest.raises(ContractMismatch, match=r"built for contract 9\.1, this adapter-sdk reads contract 1\.1"):
        PluginLibrary(compile_plugin(MAJOR=9))


def test_short_table_is_refused(compile_plugin: Compile) -> None:
    with pytest.raises(LibraryUnusable, match="its table is 64 bytes"):
        PluginLibrary(compile_plugin(SIZE=64))


def test_absent_query_is_refused(compile_plugin: Compile) -> None:
    with pytest.raises(LibraryUnusable, match="its table lacks card_count"):
        PluginLibrary(compile_plugin(CARD_COUNT=0))


def test_unknown_dtype_names_the_row(compile_plugin: Compile) -> None:
    with pytest.raises(LibraryUnusable, match=r"kernel row 1 \(swiglu\) has the unknown dtype 77"):
        PluginLibrary(compile_plugin(DTYPE=77)).kernels()


def test_table_is_read(compile_plugin: Compile) -> None:
    library = PluginLibrary(compile_plugin())
    assert (library.name, library.vendor, library.version) == ("tinychip", "Acme", "1.2")
    assert (library.device_type, library.sub_device_type) == ("tinychip", "")
    assert (library.contract, library.sdk_version, library.paddle_versions) == (CONTRACT_VERSION, "0.1", ">=3.0,<3.4")
    assert library.features == {"async_streams", "host_unreadable"}
    assert [(peak.dtype, peak.tflops) for peak in library.peaks] == [("float32", 1.5), ("bfloat16", 3.0)]
    assert (library.card_count(), library.memory_bytes(1)) == (2, 4096)
    assert (library.mount_state(), library.mount_message()) == ("not_mounted", "Paddle 9.9 is unknown")
    matmul, swiglu, _ = library.kernels()
    assert (matmul.operator, matmul.dtype, matmul.accumulator) == ("matmul", "float32", "float64")
    assert (matmul.provenance, matmul.fused, matmul.registration) == ("own", False, "registered")
    assert (swiglu.accumulator, swiglu.provenance, swiglu.fused) == (None, "reference", True)
    assert (swiglu.registration, swiglu.refusal) == ("refused", "given x, expected y")
    assert (matmul.for_other_paddle, swiglu.for_other_paddle) == (False, True)


def test_calls_are_live_and_add_up_over_signatures(compile_plugin: Compile) -> None:
    path = compile_plugin()
    library = PluginLibrary(path)
    assert library.calls() == {"matmul/float32": (7, 1), "swiglu/float32": (0, 0)}
    PluginLibrary(path)._table.kernel_at(99)  # the same file gives the same library in memory
    assert library.calls()["matmul/float32"] == (8, 1)


def test_library_seen_through_a_link_is_the_same(tmp_path: Path, compile_plugin: Compile) -> None:
    link = tmp_path / "link.so"
    path = compile_plugin()
    link.symlink_to(path)
    assert PluginLibrary(link).path == path.resolve()


def test_errors_of_the_library_are_passed_on(compile_plugin: Compile) -> None:
    library = PluginLibrary(compile_plugin())
    with pytest.raises(DeviceError, match=r"memory_bytes\(5\) failed: no such card"):
        library.memory_bytes(5)
    with pytest.raises(DeviceError, match="synchronize failed: the library's table has no such function"):
        library.synchronize(0)


def test_tools_reach_the_library(compile_plugin: Compile) -> None:
    library = PluginLibrary(compile_plugin())
    source, destination = ctypes.create_string_buffer(b"abc"), ctypes.create_string_buffer(4)
    addresses = ctypes.addressof(destination), ctypes.addressof(source)
    library.copy(0, CopyKind.DEVICE_TO_DEVICE, *addresses, 3)
    assert destination.value == b"abc"
    with pytest.raises(DeviceError, match="DEVICE_TO_HOST, 3 bytes"):
        library.copy(9, CopyKind.DEVICE_TO_HOST, *addresses, 3)
    library.set_checks(poison=True, canary=True)
    assert library.allocated_bytes(1) == 1 + 16 * 3
    library.set_checks(poison=False, canary=False)
    assert library.allocated_bytes(1) == 1


def test_native_plugin_declares_nothing_twice(site: Site, compile_plugin: Compile) -> None:
    installed = site.add_native("tinychip", compile_plugin())
    plugin = load("tinychip")
    assert plugin.library is not None
    assert plugin.device.library == plugin.library.path == installed.resolve()
    assert (plugin.device.cards, plugin.device.memory_bytes) == (2, (4096, 4096))
    assert (plugin.streams.asynchronous, plugin.memory.host_readable, plugin.collectives) == (True, False, None)
    assert [kernel.operator for kernel in plugin.kernels] == ["matmul", "swiglu", "matmul"]
    assert [(fused.operator, fused.dtypes) for fused in plugin.fused_operators] == [("swiglu", ("float32",))]
    assert plugin.kernel_supported("swiglu", "float32")
    assert not plugin.kernel_supported("swiglu", "float16")


def test_native_plugin_with_zero_cards_is_refused(site: Site, compile_plugin: Compile) -> None:
    site.add_native("tinychip", compile_plugin(CARDS=0))
    with pytest.raises(PluginInvalid, match="reports 0 cards"):
        load("tinychip")


def test_native_plugin_that_cannot_count_its_cards_says_why(site: Site, compile_plugin: Compile) -> None:
    site.add_native("tinychip", compile_plugin(CARDS=-1))
    with pytest.raises(PluginInvalid, match=r"card_count\(\) failed: no such card"):
        load("tinychip")


def test_package_without_its_library_says_where_it_belongs(site: Site, compile_plugin: Compile) -> None:
    site.add_native("tinychip", compile_plugin()).unlink()
    with pytest.raises(LibraryUnusable, match="has installed no library in paddle_custom_device/"):
        load("tinychip")


def test_library_is_found_by_name_without_a_list_of_files(site: Site, compile_plugin: Compile) -> None:
    installed = site.add_native("tinychip", compile_plugin())
    next(site.folder.glob("*.dist-info")).joinpath("RECORD").unlink()
    assert repr(NativePlugin.from_package("tinychip")) == f"NativePlugin({str(installed.resolve())!r})"


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        ("adapter_kernels(self): return base.adapter_kernels()[1:]", "leaves out matmul/float32"),
        (
            "adapter_kernels(self): return [replace(k, accumulator='bfloat16') for k in base.adapter_kernels()]",
            "lists matmul/float32 .*accumulator bfloat16.*, which the library's table does not",
        ),
        (
            "adapter_device(self): return replace(base.adapter_device(), device_type='other')",
            "says device type 'other', .* says 'tinychip'",
        ),
    ],
    ids=["kernel left out", "other accumulator", "other device type"],
)
def test_hooks_that_say_other_than_the_table_are_refused(
    site: Site, compile_plugin: Compile, hook: str, fault: str
) -> None:
    site.add_native("tinychip", compile_plugin())
    site.write(
        "tinychip/__init__.py",
        f"""
        from dataclasses import replace
        from adapter_sdk import NativePlugin, hookimpl
        base = NativePlugin.from_package("tinychip")
        class Plugin(NativePlugin):
            @hookimpl
            def {hook}
        plugin = Plugin(base.adapter_device().library)
        """,
    )
    with pytest.raises(PluginInvalid, match=fault):
        load("tinychip")


def test_mirror_has_the_compilers_layout(tmp_path: Path) -> None:
    structs = {
        "AdapterKernelCall": table.KernelCallStruct,
        "AdapterKernelRow": table.KernelRowStruct,
        "AdapterPeak": table.PeakStruct,
        "AdapterPluginTable": table.PluginTableStruct,
        "AdapterTensorView": table.TensorViewStruct,
    }
    lines = []
    ours = {}
    for name, struct in structs.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        ours[name] = ctypes.sizeof(struct)
        for field, *_ in struct._fields_:
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
            ours[f"{name}.{field}"] = getattr(struct, field).offset
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    source.write_text(f'#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{ {" ".join(lines)} return 0; }}\n')
    subprocess.run(["gcc", str(source), "-o", str(program)], check=True)
    printed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    assert {name: int(size) for name, size in (line.split() for line in printed.splitlines())} == ours


def test_numbers_are_the_headers() -> None:
    header = HEADER.read_text()
    constants = {name: int(value) for name, value in re.findall(r"ADAPTER_(\w+)\s*=?\s*(\d+)u?\b", header)}
    assert (constants["CONTRACT_MAJOR"], constants["CONTRACT_MINOR"]) == adapter_sdk.CONTRACT_VERSION
    assert {name: constants[name.upper()] for name in DTYPE_CODES} == DTYPE_CODES
    assert {name: constants[f"FEATURE_{name.upper()}"] for name in table.FEATURES} == table.FEATURES
    assert (constants["CHECK_POISON"], constants["CHECK_CANARY"]) == (table.CHECK_POISON, table.CHECK_CANARY)
    assert {constants[f"PROVENANCE_{name.upper()}"]: name for name in table.PROVENANCES.values()} == table.PROVENANCES
    assert {constants[name.upper()]: name for name in table.REGISTRATIONS.values()} == table.REGISTRATIONS
    assert [constants["COPY_H2D"], constants["COPY_D2H"], constants["COPY_D2D"]] == list(CopyKind)
    assert f'"{table.SYMBOL}"' in header


@pytest.mark.parametrize(
    ("file", "symbol", "structs"),
    [
        (
            "collectives_table.h",
            table.COLLECTIVES_SYMBOL,
            {
                "AdapterCollectiveRow": table.CollectiveRowStruct,
                "AdapterCollectivesTable": table.CollectivesTableStruct,
            },
        ),
        (
            "interface_table.h",
            table.INTERFACE_SYMBOL,
            {"AdapterSlotRow": table.SlotRowStruct, "AdapterInterfaceTable": table.InterfaceTableStruct},
        ),
    ],
)
def test_further_tables_are_laid_out_as_the_compiler_does(
    tmp_path: Path, file: str, symbol: str, structs: dict[str, Any]
) -> None:
    header = HEADER.with_name(file)
    lines, ours = [], {}
    for name, struct in structs.items():
        for field, *_ in struct._fields_:
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
            ours[f"{name}.{field}"] = getattr(struct, field).offset
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    source.write_text(f'#include <stdio.h>\n#include "{header}"\nint main(void) {{ {" ".join(lines)} return 0; }}\n')
    subprocess.run(["gcc", f"-I{adapter_sdk.include_dir()}", str(source), "-o", str(program)], check=True)
    printed = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    assert {name: int(size) for name, size in (line.split() for line in printed.splitlines())} == ours
    assert f'"{symbol}"' in header.read_text()
