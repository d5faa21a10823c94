"""A plugin built with the SDK's headers, with kernels that do not fit Paddle or do not do their work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conform_harness import REPOSITORY, Finished
from plugin_sites import PluginSite

import adapter_sdk

pytestmark = [pytest.mark.paddle, pytest.mark.slow]

MISFIT = Path(__file__).with_name("misfit.cc")
CASES = " or ".join(f"ops/{operator}/float32/eager-0" for operator in ("floor", "add", "isnan", "isinf"))


@pytest.fixture(scope="module")
def misfit(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """misfit.cc with the SDK's ABI layer, compiled as a vendor's build would."""
    cxx = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if cxx is None:
        pytest.fail("these tests compile a plugin: install g++, or name a C++17 compiler in CXX")
    library = tmp_path_factory.mktemp("misfit") / "libmisfit.so"
    csrc = REPOSITORY / "csrc"
    sources = [str(MISFIT), *sorted(map(str, (csrc / "abi").glob("*.cc")))]
    options = ["-std=c++17", "-O0", "-shared", "-fPIC", "-fvisibility=hidden", '-DADAPTER_SDK_VERSION="0.1.0"']
    includes = [f"-I{adapter_sdk.include_dir()}", f"-I{csrc}"]
    subprocess.run([cxx, *options, *includes, *sources, "-Wl,--no-undefined", "-ldl", "-o", str(library)], check=True)
    return library.read_bytes()


@pytest.fixture(scope="module")
def judged(misfit: bytes, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    build = tmp_path_factory.mktemp("judged")
    (build / "site").mkdir()
    site = PluginSite(build / "site", build)
    site.add_native("misfit", misfit)
    return site.conform("--plugin", "misfit", "--suite", "ops", "--profile", "smoke", "-k", CASES)


def _record(run: Finished, operator: str) -> dict[str, Any]:
    (record,) = [record for record in run.records if record["operator"] == operator]
    return record


def test_signature_that_does_not_fit_is_refused_with_both(judged: Finished) -> None:
    rows = {row["operator"]: row for row in judged.summary["kernels"]["rows"]}
    assert rows["add"]["registration"] == "refused"
    expected, given = "Tensor,Tensor||Tensor", "Tensor,Tensor|int|Tensor"
    refusal = f"operator add: this Paddle expects {expected}, the plugin's kernel has {given}"
    assert rows["add"]["refusal"] == refusal
    assert rows["unheard_of"]["refusal"] == "this Paddle has no operator kernel unheard_of"
    assert rows["floor"]["registration"] == "registered"
    assert not rows["add"]["in_paddle_registry"]


def test_refused_kernel_is_a_broken_promise_and_others_pass(judged: Finished) -> None:
    assert judged.code == 1
    assert _record(judged, "add")["state"] == "failed"
    assert "add/float32 is declared by plugin 'misfit', but" in _record(judged, "add")["message"]
    assert _record(judged, "floor")["state"] == "passed"
    assert _record(judged, "floor")["executed_on"] == "misfit:0"


def test_kernel_that_never_allocates(judged: Finished) -> None:
    record = _record(judged, "isnan")
    assert record["state"] == "failed"
    assert "misfit: kernel isnan (float32): the kernel never allocated its output of shape [3, 5]" in record["message"]


def test_kernel_that_throws(judged: Finished) -> None:
    record = _record(judged, "isinf")
    assert record["state"] == "failed"
    assert "misfit: kernel isinf (float32): this kernel is out of order" in record["message"]


def test_paddle_imports_and_works_with_the_misfit(misfit: bytes, plugin_site: PluginSite) -> None:
    library = plugin_site.add_native("misfit", misfit)
    program = "import paddle; print(paddle.device.get_all_custom_device_type(), float(paddle.ones([2]).sum()))"
    environment = {**os.environ, **plugin_site.environment, "CUSTOM_DEVICE_ROOT": str(library.parent)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "['misfit'] 2.0", done.stderr
