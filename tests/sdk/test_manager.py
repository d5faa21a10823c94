"""Plugins that break the contract are refused with plugin, hook, signature and fault; the good ones still load."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from adapter_sdk import ContractMismatch, PluginInvalid, PluginNotFound, Waiver, discover, load

if TYPE_CHECKING:
    from conftest import Site


def with_hook(site: Site, definition: str) -> str:
    """The good plugin, with one hook added or defined anew."""
    return f"{site.GOOD}\n@hookimpl\n{definition}\n"


def refused(name: str = "chip") -> PluginInvalid:
    with pytest.raises(PluginInvalid) as caught:
        load(name)
    assert caught.value.plugin == name
    return caught.value


def test_good_plugin_loads(site: Site) -> None:
    site.add("chip", site.GOOD)
    plugin = load("chip")
    assert (plugin.name, plugin.distribution, plugin.distribution_version) == ("chip", "acme-chip", "0.1")
    assert (plugin.device.vendor, plugin.device.cards, plugin.device.memory_bytes) == ("Acme", 2, (1024, 2048))
    assert plugin.streams.asynchronous
    assert not plugin.memory.host_readable
    assert [kernel.operator for kernel in plugin.kernels] == ["relu"]
    assert (plugin.fused_operators, plugin.collectives, plugin.waivers, plugin.library) == ((), None, (), None)


def test_without_a_predicate_every_declared_kernel_is_supported(site: Site) -> None:
    site.add("chip", site.GOOD)
    plugin = load("chip")
    assert plugin.kernel_supported("relu", "float32")
    assert not plugin.kernel_supported("relu", "float16")


def test_predicate_sees_the_attributes(site: Site) -> None:
    definition = "def adapter_kernel_supported(operator, attributes):\n    return attributes.get('axis', 0) == 0"
    site.add("chip", with_hook(site, definition))
    plugin = load("chip")
    assert plugin.kernel_supported("relu", "float32")
    assert not plugin.kernel_supported("relu", "float32", {"axis": 1})
    assert not plugin.kernel_supported("gelu", "float32")


def test_predicate_that_raises_is_blamed_with_the_kernel_that_was_asked_for(site: Site) -> None:
    site.add("chip", with_hook(site, "def adapter_kernel_supported(attributes):\n    return attributes['axis'] == 0"))
    with pytest.raises(PluginInvalid) as found:
        load("chip").kernel_supported("relu", "float32", {"shape": [2]})
    text = str(found.value)
    for words in (
        "plugin 'chip'",
        "hook:      adapter_kernel_supported",
        "asked for relu/float32 with attributes {'shape': [2]}",
        "raised KeyError: 'axis'",
    ):
        assert words in text
    assert isinstance(found.value.__cause__, KeyError)


def test_predicate_that_answers_no_bool_is_blamed(site: Site) -> None:
    site.add("chip", with_hook(site, "def adapter_kernel_supported(operator):\n    return 'maybe'"))
    with pytest.raises(PluginInvalid, match=r"returned str 'maybe'; expected bool"):
        load("chip").kernel_supported("relu", "float32")


def test_unknown_name_gets_a_proposal(site: Site) -> None:
    site.add("refchop", site.GOOD)
    with pytest.raises(PluginNotFound, match="did you mean 'refchop'"):
        load("refchip")


def test_nothing_installed_says_so(site: Site) -> None:
    with pytest.raises(PluginNotFound, match="no adapter_sdk plugin is installed"):
        load("refchip")


def test_hook_that_raises_is_named_with_cause_and_place(site: Site) -> None:
    site.add("chip", with_hook(site, "def adapter_device():\n    raise OSError('no driver')"))
    error = refused()
    assert error.hook == "adapter_device"
    assert error.signature == "adapter_device() -> DeviceDescription"
    assert error.fault.startswith("raised OSError: no driver (")
    assert "chip.py:" in error.fault
    assert isinstance(error.__cause__, OSError)
    assert [line.split(":")[0].strip() for line in str(error).splitlines()[1:4]] == ["hook", "signature", "fault"]


@pytest.mark.parametrize(
    ("definition", "fault"),
    [
        ("def adapter_device():\n    return 7", "returned int 7; expected DeviceDescription"),
        ("def adapter_memory():\n    return None", "returned None; expected MemoryDescription"),
        ("def adapter_kernels():\n    return 'relu'", "expected a list or tuple of KernelDescription"),
        ("def adapter_kernels():\n    return ['relu']", "item 0 is str 'relu'; expected KernelDescription"),
        ("def adapter_collectives():\n    return True", "expected CollectivesDescription or None"),
        ("def adapter_waivers():\n    return [1]", "item 0 is int 1; expected Waiver"),
    ],
)
def test_wrong_type_is_named_beside_the_expected_one(site: Site, definition: str, fault: str) -> None:
    site.add("chip", with_hook(site, definition))
    error = refused()
    assert fault in error.fault
    assert error.hook == definition.split("(")[0].removeprefix("def ")
    assert error.signature.startswith(error.hook + "() -> ")


@pytest.mark.parametrize("hook", ["adapter_device", "adapter_memory", "adapter_streams", "adapter_kernels"])
def test_missing_required_hook_is_named(site: Site, hook: str) -> None:
    site.add("chip", f"{site.GOOD}\ndel {hook}\n")
    error = refused()
    assert (error.hook, error.fault) == (hook, "this required hook is not implemented")


def test_unknown_hook_gets_a_proposal(site: Site) -> None:
    site.add("chip", with_hook(site, "def adapter_kernal():\n    return []"))
    error = refused()
    assert error.hook == "adapter_kernal"
    assert "did you mean 'adapter_kernels'?" in error.fault


def test_forgotten_decorator_is_told(site: Site) -> None:
    site.add("chip", f"{site.GOOD}\ndef adapter_waivers():\n    return []\n")
    assert refused().fault == "the function is not marked as a hook"


def test_argument_outside_the_specification_is_told(site: Site) -> None:
    site.add("chip", with_hook(site, "def adapter_waivers(today):\n    return []"))
    assert "today" in refused().fault


def test_class_instead_of_an_instance_is_told(site: Site) -> None:
    site.add("chip", "class Plugin:\n    pass\n", value="chip:Plugin")
    assert "names the class Plugin" in refused().fault


def test_zero_cards_are_a_fault(site: Site) -> None:
    site.add("chip", site.GOOD.replace("cards=2", "cards=0").replace("(1024, 2048)", "()"))
    error = refused()
    assert (error.hook, error.fault) == ("adapter_device", "reports 0 cards")
    assert "driver" in error.remedy


def test_record_with_a_wrong_value_blames_the_hook(site: Site) -> None:
    site.add("chip", site.GOOD.replace("(1024, 2048)", "(1024,)"))
    assert "RecordInvalid: DeviceDescription.memory_bytes must have one entry a card" in refused().fault


def test_name_must_be_the_entry_points(site: Site) -> None:
    site.add("chip", site.GOOD.replace("name=__name__", "name='chop'"))
    assert "its name is 'chop', its entry point says 'chip'" in refused().fault


def test_other_contract_is_refused_with_both_numbers(site: Site) -> None:
    site.add("chip", site.GOOD.replace("contract=(1, 0)", "contract=(9, 4)"))
    with pytest.raises(ContractMismatch, match=r"contract 9\.4.*contract 1\.1"):
        load("chip")


def test_kernel_listed_twice_is_refused(site: Site) -> None:
    row = 'KernelDescription("relu", "float32", "Tensor||Tensor")'
    site.add("chip", site.GOOD.replace(f"[{row}]", f"[{row}, {row}]"))
    assert refused().fault == "lists relu/float32/Tensor||Tensor twice"


def test_no_kernel_is_refused(site: Site) -> None:
    site.add("chip", with_hook(site, "def adapter_kernels():\n    return []"))
    assert refused().fault == "lists no kernel"


def test_fused_operator_needs_its_kernel(site: Site) -> None:
    definition = (
        "def adapter_fused_operators():\n"
        "    from adapter_sdk import FusedOperatorDescription\n"
        "    return [FusedOperatorDescription('relu', ('float32',))]"
    )
    site.add("chip", with_hook(site, definition))
    assert "names relu/float32, for which adapter_kernels lists no fused kernel" in refused().fault


def test_waivers_are_kept(site: Site) -> None:
    definition = (
        "def adapter_waivers():\n    import datetime\n    from adapter_sdk import Waiver\n"
        "    return [Waiver('relu', 'float32', 'late', 'https://example.com/1', datetime.date(2030, 1, 1))]"
    )
    site.add("chip", with_hook(site, definition))
    expected = Waiver("relu", "float32", "late", "https://example.com/1", datetime.date(2030, 1, 1))
    assert load("chip").waivers == (expected,)


@pytest.mark.parametrize("source", ["import no_such_module", "def broken(:", "raise SystemExit(3)"])
def test_entry_point_that_cannot_be_imported_is_told(site: Site, source: str) -> None:
    site.add("chip", source)
    assert "its entry point 'chip' cannot be imported" in refused().fault


def test_discover_lists_the_bad_beside_the_good(site: Site) -> None:
    site.add("good", site.GOOD)
    site.add("raising", with_hook(site, "def adapter_device():\n    raise OSError('no driver')"))
    site.add("broken", "raise SystemExit(3)")
    statuses = discover()
    assert [(status.name, status.usable) for status in statuses] == [
        ("broken", False),
        ("good", True),
        ("raising", False),
    ]
    assert all(isinstance(status.error, PluginInvalid) for status in statuses if not status.usable)


def test_two_distributions_with_one_name_are_both_refused(site: Site) -> None:
    site.add("chip", site.GOOD)
    site.register("other-chip", "chip = chip", [])
    assert "acme-chip (chip), other-chip (chip)" in refused().fault
    assert [status.usable for status in discover()] == [False, False]
