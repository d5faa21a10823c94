"""`adapter-conform --device`: a library without hooks and table is judged as it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from adapter_conform.bare.description import BareKernel, Description
from adapter_conform.bare.target import Target

Judge = Callable[..., object]


@pytest.mark.paddle
def test_what_is_judged_and_how(judge, bare_library: Path) -> None:
    cases = "relu/float32 or subtract/float32/eager-0 or multiply/float32/eager-0 or leaky_relu/float32/eager-0"
    cases += " or runtime/copies/misaligned or runtime/devices/identity"
    found = judge(
        "--device", "plain_c", "--library", str(bare_library), "--profile", "smoke", "--no-shrink", "-k", cases
    )
    assert found.code == 1, found.output
    said = found.output.split("planned")[0]
    assert "signatures: 2 of 6 kernels do not fit Paddle" in said  # before anything ran
    assert "multiply/float32: its signature is Tensor,Tensor|int|Tensor, Paddle" in said
    assert "plain_c: not conformant" in found.output
    eager, static = found.record("ops/relu/float32/eager-0"), found.record("ops/relu/float32/static-0")
    assert (eager["state"], static["state"]) == ("passed", "passed")
    assert eager["details"]["kernels"] == {"relu/float32": 1, "relu_grad/float32": 1}
    assert static["details"]["kernels"]["relu/float32"] >= 1
    assert eager["executed_on"] == "plain_c:0"
    assert f"--device plain_c --library {bare_library}" in eager["repro"]
    assert found.record("ops/subtract/float32/eager-0")["state"] == "failed"
    stale = found.record("ops/multiply/float32/eager-0")  # its function aborts: calling it would end in "crashed"
    assert stale["state"] == "failed"
    assert "was not called: its signature is" in stale["message"]
    for check in ("runtime/copies/misaligned/any", "runtime/devices/identity"):
        name = check.removesuffix("/any")
        assert found.record(name)["state"] == "passed", found.record(name)
    plugin = found.summary["plugin"]
    assert plugin["bare"] is True
    assert sorted(plugin["misfits"]) == ["leaky_relu/float32", "multiply/float32"]
    assert found.summary["kernels"]["registered"] == 4


@pytest.mark.device
def test_refchip_without_its_hooks(judge) -> None:
    cases = "ops/softmax/float32/eager-0 or ops/softmax/float32/static-0 or ops/matmul/bfloat16/eager-0"
    found = judge("--device", "refchip", "--profile", "smoke", "--suite", "ops", "-k", cases)
    assert found.code == 0, found.output
    assert "signatures: 0 of " in found.output
    assert found.summary["counts"]["passed"] == 3
    assert found.record("ops/softmax/float32/static-0")["details"]["kernels"]["softmax/float32"] >= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--plugin", "refchip", "--device", "npu"), "--plugin and --device exclude each other"),
        (("--library", "{library}"), "--library goes with --device TYPE"),
        (("--device", "npu", "--library", "nowhere.so"), "'nowhere.so' does not exist"),
        (("--device", "npu", "--library", "{text}"), "is not an ELF file"),
        (("--device", "npu", "--library", "{arm}"), "was built for aarch64, this machine is"),
        (("--device", "npu", "--library", "{cut}"), "is truncated: 3000 bytes of at least"),
    ],
)
def test_wrong_requests(judge, bare_library: Path, tmp_path: Path, arguments, words) -> None:
    files = {name: tmp_path / f"{name}.so" for name in ("text", "arm", "cut")}
    data = bytearray(bare_library.read_bytes())
    files["text"].write_text("INPUT(libnpu.so.2)")
    files["cut"].write_bytes(data[:3000])
    data[18:20] = b"\xb7\x00"  # e_machine
    files["arm"].write_bytes(data)
    found = judge(*(word.format(library=bare_library, **files) for word in arguments))
    assert found.code == 2, found.output
    assert words in found.output


@pytest.mark.paddle
def test_a_type_that_nothing_offers(judge, bare_library: Path) -> None:
    """The folder that Paddle scans is looked through, and what is in it is named."""
    found = judge("--device", "plain_b", CUSTOM_DEVICE_ROOT=str(bare_library.parent))
    assert found.code == 2, found.output
    assert "offers the device type 'plain_b'; did you mean 'plain_c'?" in found.output
    assert "libbare.so: it offers 'plain_c'" in found.output


@pytest.mark.paddle
@pytest.mark.parametrize(
    ("source", "flags", "code", "words"),
    [
        ("int missing_part(void); void InitPlugin(void* p) { missing_part(); }", "-Wl,-z,now", 2, "undefined symbol"),
        ("#include <stdlib.h>\nvoid InitPlugin(void* p) { abort(); }", "-g", 3, "ended: SIGABRT"),
        ("int anything(void) { return 1; }", "-g", 2, "it exports no InitPlugin, so that Paddle skips it"),
    ],
)
def test_libraries_that_are_no_device(judge, compiled, source: str, flags: str, code: int, words: str) -> None:
    found = judge("--device", "npu", "--library", str(compiled(source, flags)))
    assert found.code == code, found.output
    assert words in found.output


@pytest.mark.paddle
def test_neighbours_stay_away_and_dependencies_are_found(judge, compiled, tmp_path: Path) -> None:
    """One plugin of several in a folder, that finds a library of its own from where it lies ($ORIGIN)."""
    folder, parts = tmp_path / "paddle_custom_device", tmp_path / "vendor"
    parts.mkdir()
    shutil.copy(compiled("int vendor_part(void) { return 1; }"), parts / "libvendor.so")
    needs = ["-Wl,--no-as-needed", f"-L{parts}", "-lvendor", "-Wl,-rpath,$ORIGIN/../vendor"]
    folder.mkdir()
    shutil.copy(compiled("bare.c", *needs), folder / "libbare.so")
    shutil.copy(compiled("#include <stdlib.h>\nvoid InitPlugin(void* p) { abort(); }"), folder / "libworse.so")
    found = judge("--device", "plain_c", "--list", "--suite", "runtime", CUSTOM_DEVICE_ROOT=str(folder))
    assert found.code == 0, found.output
    assert "runtime/copies/misaligned" in found.output
    assert not list(Path(tempfile.gettempdir()).glob("adapter_bare_*/vendor"))


def test_targets_travel_as_text() -> None:
    target = Target("npu", Path("/opt/vendor/with@sign/libnpu.so"))
    assert Target.of(str(target)) == target
    assert target.words() == ["--device", "npu", "--library", "/opt/vendor/with@sign/libnpu.so"]
    assert Target.of("refchip") == Target("refchip")


def test_misfits_say_what_fits() -> None:
    kernels = (
        BareKernel("a", "float32", "T||T", ("T||T",)),
        BareKernel("b", "float32", "T|float|T", ("T|double|T",), ("3.0.0", "3.1.1")),
        BareKernel("c", "float32", "T||T"),
        BareKernel("d", "float32", "T||T", ("T||T",), eager=False),
    )
    found = Description("npu", "3.3.1", (1,), kernels)
    assert set(found.misfits) == {("b", "float32"), ("d", "float32")}
    assert found.misfits["b", "float32"].endswith("calls it with T|double|T; it fits Paddle 3.0.0, 3.1.1")
    assert "eager" in found.misfits["d", "float32"]
    assert found.unknown == ["c"]
