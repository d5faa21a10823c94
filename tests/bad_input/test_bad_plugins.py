"""A plugin that cannot be used: nothing runs, and plugin, hook or file, fault and remedy are named. Without Paddle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from adapter_conform.errors import ConformError
from adapter_conform.supervisor.probe import probe_plugin
from conform_harness import Finished, conform_command, conform_environment
from plugin_sites import PluginSite

HOOKS = {
    "adapter_device": """
        return sdk.DeviceDescription(name="acmechip", vendor="Acme", device_type="acmechip", version="1.2", cards=1,
                                     memory_bytes=(1024,), paddle_versions=">=3.0,<3.4", contract=(1, 0))
    """,
    "adapter_memory": "return sdk.MemoryDescription(host_readable=False)",
    "adapter_streams": "return sdk.StreamDescription(asynchronous=True)",
    "adapter_kernels": 'return [sdk.KernelDescription("relu", "float32", "Tensor||Tensor")]',
}


def _source(**changed: str | None) -> str:
    """A module of the required hooks; a body of None leaves a hook out."""
    bodies = {**HOOKS, **changed}
    functions = [f"@sdk.hookimpl\ndef {hook}():\n    {body.strip()}\n" for hook, body in bodies.items() if body]
    return "\n".join(["import adapter_sdk as sdk", *functions])


def _judge(site: PluginSite, *arguments: str) -> Finished:
    return site.conform("--plugin", "acmechip", "--suite", "ops", *arguments)


def _assert_nothing_ran(run: Finished, *words: str) -> None:
    """Exit code 3, a complete set of reports, and ``words`` on the terminal and in the reports."""
    assert run.code == 3, run.stdout + run.stderr
    assert run.summary["verdict"] == "inconclusive"
    assert run.summary["executed"] == 0
    told = " ".join(run.stdout.split())
    for word in words:
        assert word in told, run.stdout
        assert word in " ".join(run.summary["plugin"]["error"].split())
    assert "Traceback" not in run.stdout + run.stderr
    for name in ("results.jsonl", "junit.xml", "report.html"):
        assert (run.out / name).is_file()


def test_plugin_not_installed_gets_a_proposal(plugin_site: PluginSite) -> None:
    plugin_site.add("acmechip", _source())
    run = plugin_site.conform("--plugin", "acmechpi", "--suite", "ops")
    assert run.code == 2
    assert "no plugin named 'acmechpi'; did you mean 'acmechip'?" in run.stderr
    assert not run.out.exists(), "nothing is written for a request that cannot be met"


def test_sound_plugin_of_the_same_make_is_taken(plugin_site: PluginSite) -> None:
    """The control of the tests below: what they change is all that is wrong."""
    plugin_site.add("acmechip", _source())
    run = _judge(plugin_site, "--list")
    assert run.code == 0, run.stderr
    assert "ops/relu/float32/eager-0" in run.stdout


def test_hook_that_raises(plugin_site: PluginSite) -> None:
    plugin_site.add("acmechip", _source(adapter_memory='raise OSError("no driver in /dev")'))
    _assert_nothing_ran(
        _judge(plugin_site),
        "plugin 'acmechip' does not keep the contract",
        "hook: adapter_memory",
        "signature: adapter_memory() -> MemoryDescription",
        "raised OSError: no driver in /dev",
        "acmechip.py:",
        "remedy:",
    )


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("import sys; sys.exit(0)", "hook: adapter_device"),
        ("import os; os._exit(0)", "loading plugin 'acmechip' ended its process: exit status 0"),
        ("import ctypes; ctypes.string_at(0)", "loading plugin 'acmechip' ended its process: SIGSEGV"),
        ("raise KeyboardInterrupt", "loading plugin 'acmechip' ended its process"),
    ],
    ids=["sys-exit", "os-exit", "segfault", "interrupt"],
)
def test_hook_that_ends_the_process(plugin_site: PluginSite, body: str, fault: str) -> None:
    """Exit status 0 would be read as "conformant"."""
    plugin_site.add("acmechip", _source(adapter_device=body))
    run = _judge(plugin_site)
    assert run.code == 3, run.stdout + run.stderr
    assert run.summary["executed"] == 0
    assert fault in " ".join(run.summary["plugin"]["error"].split())


@pytest.mark.parametrize("command", ["devices", "doctor"])
def test_a_plugin_that_crashes_is_one_line_of_the_list(plugin_site: PluginSite, command: str) -> None:
    plugin_site.add("acmechip", _source(adapter_device="import ctypes; ctypes.string_at(0)"))
    done = subprocess.run(
        [sys.executable, "-m", "adapter_sdk", command],
        env={**os.environ, **plugin_site.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "loading plugin 'acmechip' ended its process: SIGSEGV" in done.stdout


def test_hook_that_hangs_has_a_limit(plugin_site: PluginSite, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin_site.add("acmechip", _source(adapter_device="import time; time.sleep(600)"))
    monkeypatch.setenv("PYTHONPATH", plugin_site.environment["PYTHONPATH"])
    with pytest.raises(ConformError, match="loading plugin 'acmechip' did not end within 3 s"):
        probe_plugin("acmechip", limit=3.0)


def test_interrupt_ends_a_hook_that_hangs(plugin_site: PluginSite) -> None:
    plugin_site.add("acmechip", _source(adapter_device="import time; time.sleep(600)"))
    process = subprocess.Popen(
        conform_command("--plugin", "acmechip", "--suite", "ops", "--out", str(plugin_site.build / "out")),
        stderr=subprocess.PIPE,
        text=True,
        env={**conform_environment(), **plugin_site.environment},
        # what a shell starts in the background ignores the signal, and its children with it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "Interrupted before anything ran." in stderr


def test_hook_of_the_wrong_type(plugin_site: PluginSite) -> None:
    plugin_site.add("acmechip", _source(adapter_streams='return {"asynchronous": True}'))
    _assert_nothing_ran(_judge(plugin_site), "hook: adapter_streams", "returned dict", "StreamDescription", "remedy:")


def test_required_hook_is_missing(plugin_site: PluginSite) -> None:
    plugin_site.add("acmechip", _source(adapter_kernels=None))
    _assert_nothing_ran(_judge(plugin_site), "plugin 'acmechip'", "hook: adapter_kernels", "remedy:")


def test_module_that_cannot_be_imported(plugin_site: PluginSite) -> None:
    plugin_site.add("acmechip", "import acme_driver_that_is_not_there")
    _assert_nothing_ran(_judge(plugin_site), "acme_driver_that_is_not_there", "acmechip.py:1", "remedy: reinstall")


@pytest.mark.parametrize(
    ("content", "fault"), [(b"", "is empty"), (b"junk, no library\n" * 99, "is not an ELF file")], ids=["empty", "junk"]
)
def test_junk_library(plugin_site: PluginSite, content: bytes, fault: str) -> None:
    path = plugin_site.add_native("acmechip", content)
    _assert_nothing_ran(_judge(plugin_site), f"plugin library {path} is not usable", fault, "remedy: reinstall")


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_truncated_library(plugin_site: PluginSite, share: float) -> None:
    whole = plugin_site.compile_tiny("acmechip")
    path = plugin_site.add_native("acmechip", whole[: int(len(whole) * share)])
    _assert_nothing_ran(_judge(plugin_site), f"plugin library {path} is not usable", "truncated", "remedy: reinstall")


def test_library_of_another_contract(plugin_site: PluginSite) -> None:
    path = plugin_site.add_native("acmechip", plugin_site.compile_tiny("acmechip", MAJOR=9))
    _assert_nothing_ran(
        _judge(plugin_site),
        f"plugin library {path} was built for contract 9.1, this adapter-sdk reads contract 1.1",
        "remedy: upgrade adapter-sdk",
    )


def test_library_without_cards(plugin_site: PluginSite) -> None:
    plugin_site.add_native("acmechip", plugin_site.compile_tiny("acmechip", CARDS=0))
    _assert_nothing_ran(_judge(plugin_site), "hook: adapter_device", "reports 0 cards", "remedy: see that the vendor's")
