"""The contract between a plugin and everything that uses it: every hook, in the order in which they are called.

A plugin is one entry point in the group ``adapter_sdk``. The entry point's name is the plugin's name; its value is a
module, or an object in a module, whose functions marked with :data:`hookimpl` implement hooks::

    [project.entry-points.adapter_sdk]
    mychip = "mychip.plugin:plugin"

    # mychip/plugin.py, a native plugin: the library's table answers every hook
    plugin = adapter_sdk.NativePlugin.from_package("mychip")

A plugin written in Python names no library; its memory and kernel records carry functions, which the SDK's compiled
bridge calls (contract 1.1, ``docs/python-plugins.md``).

Rules that hold for every hook:

* Exactly one object implements a plugin's hooks. All hooks are therefore ``firstresult``: what that one implementation
  returns is the answer, and answers of several plugins are never mixed. Only the plugin's own entry point may implement
  them; a third party cannot add a kernel or a waiver to a plugin that is not its own.
* Hooks are called in any process that lists or loads plugins, with or without Paddle installed, and before
  ``import paddle``. An implementation must not import Paddle, must not print, and should answer within milliseconds.
* An implementation may accept fewer arguments than the specification, never others.
* A hook that raises, returns another type, or carries an ``adapter_`` name that is not in this file makes the plugin
  unusable: :class:`adapter_sdk.errors.PluginInvalid` names plugin, hook, signature and fault.
* ``adapter_device``, ``adapter_memory``, ``adapter_streams`` and ``adapter_kernels`` are required.

What a plugin declares, what Paddle has registered, and what was seen to execute are three different things. These
hooks give the first; a conformance run compares all three.
"""

# Specifications have a docstring for a body.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pluggy

from adapter_sdk.records import (
    CollectivesDescription,
    DeviceDescription,
    FusedOperatorDescription,
    KernelDescription,
    MemoryDescription,
    StreamDescription,
    Waiver,
)

__all__ = [
    "CONTRACT_VERSION",
    "HOOK_PREFIX",
    "PROJECT",
    "REQUIRED_HOOKS",
    "hookimpl",
    "hookspec",
]

PROJECT = "adapter_sdk"
"""pluggy's project name, and the entry-point group."""

HOOK_PREFIX = "adapter_"

CONTRACT_VERSION = (1, 1)
"""(major, minor), equal to ADAPTER_CONTRACT_MAJOR and _MINOR in plugin_table.h. Another major number is refused; a
minor number only adds optional hooks and appended fields."""

REQUIRED_HOOKS = ("adapter_device", "adapter_memory", "adapter_streams", "adapter_kernels")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Decorator that marks a function or method as the implementation of the hook of the same name."""


# -------------------------------------------------------------------------------------------------------------------
# What the device is
# -------------------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def adapter_device() -> DeviceDescription:
    """Return what the device is: identity, cards, memory, peak throughput, supported versions, native library.

    Required. Called first, once per load; no other hook is called when its answer is not acceptable.

    Checked:

    * ``name`` equals the name of the entry point;
    * ``contract`` has this SDK's major number, else :class:`~adapter_sdk.errors.ContractMismatch` with both numbers;
    * ``cards`` is at least 1. A machine without a card is a fault to be told, not an empty success;
    * ``library``, where given, is a readable plugin library whose table names the same device type;
    * ``paddle_versions`` holds for the installed Paddle when the plugin is mounted, else
      :class:`~adapter_sdk.errors.PaddleMismatch` with both numbers.

    ``memory_bytes`` and ``peaks`` are claims: the runtime suite compares the first with what Paddle reports, the second
    only scales efficiency figures.
    """


@hookspec(firstresult=True)
def adapter_memory() -> MemoryDescription:
    """Return what the plugin promises about device memory.

    Required. Called once per load, after :func:`adapter_device`.

    A promise left at ``None`` is not made. The runtime suite checks every promise that is made, on each card: that
    addresses have the alignment, that chunks are not smaller, and that a device which is not ``host_readable`` faults
    on a host access.
    """


@hookspec(firstresult=True)
def adapter_streams() -> StreamDescription:
    """Return how streams behave.

    Required. Called once per load, after :func:`adapter_memory`.

    The runtime suite checks ordering on one stream and between streams through events for every device. With
    ``asynchronous`` set it also checks that a launch returns before a long kernel has ended.
    """


# -------------------------------------------------------------------------------------------------------------------
# What the device computes
# -------------------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def adapter_kernels() -> Sequence[KernelDescription]:
    """Return every kernel that the plugin brings, one record for each operator and dtype.

    Required. Called once per load, after :func:`adapter_streams`; again only when the plugin is loaded again.

    An operator may appear twice for one dtype when its Paddle signature changed between supported releases: one record
    for each signature. Operators that Paddle serves as views of device memory (reshape, slice...) need no kernel.

    Checked at load: at least one record, and no operator, dtype and signature twice. Checked by a conformance run: each
    record is registered in Paddle with this signature, and each kernel that a case reaches keeps the error bound that
    follows from its accumulator. Kernels that no case of the run reached are listed as never executed.
    """


@hookspec(firstresult=True)
def adapter_kernel_supported(operator: str, dtype: str, attributes: Mapping[str, object]) -> bool:
    """Return whether a declared kernel takes a call with these attributes.

    Optional; without it every declared kernel takes every call. Called while cases are judged, possibly thousands of
    times; never called for an operator and dtype that :func:`adapter_kernels` does not list, which are unsupported.

    :param operator: Paddle's kernel name, e.g. ``"pool2d"``.
    :param dtype: Dtype of the kernel's key, e.g. ``"float16"``.
    :param attributes: Attributes of the call by Paddle's names, e.g. ``{"ksize": [2, 2], "ceil_mode": False}``. May be
        empty, when it is asked whether the kernel takes any call at all.

    A refusal is believed only where Paddle agrees that no kernel is registered: the case is then "unsupported". Where
    Paddle has the kernel it calls it all the same, so the case is judged as usual and its record names the refusal
    (``refusal_not_believed``).
    """


@hookspec(firstresult=True)
def adapter_fused_operators() -> Sequence[FusedOperatorDescription]:
    """Return the fused operators that the plugin brings.

    Optional; without it there are none. Called once per load, after :func:`adapter_kernels`.

    Checked at load, and at load only: for each operator and dtype :func:`adapter_kernels` lists a kernel with ``fused``
    set.
    """


@hookspec(firstresult=True)
def adapter_collectives() -> CollectivesDescription | None:
    """Return which collectives run between the device's cards, or ``None`` for a device that works on one card alone.

    Optional; without it there are none. Called once per load, after :func:`adapter_fused_operators`.

    Checked at load: the operations are known ones. Checked by a conformance run (suite ``collectives``): processes that
    Paddle's launcher starts call every operation, every element of every result is compared, the library's own counters
    (``collectives_table.h``) have to show that its communicator did it, and a rank that dies, disagrees or stays away
    has to become an error on the others.

    A native plugin implements ``adapter::Collectives`` (``adapter_sdk/collectives.h``) and returns it from
    ``Device::collectives()``.
    """


# -------------------------------------------------------------------------------------------------------------------
# What the vendor knows to be wrong
# -------------------------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def adapter_waivers() -> Sequence[Waiver]:
    """Return known failures, each with reason, link and the last day on which it is to be excused.

    Optional; without it there are none. Called once per load, last.

    Checked at load: no operator and dtype twice. A failed case that a waiver covers on the day of the run ends as
    "waived" instead of "failed"; a case that passes stays "passed", and a waiver that has expired excuses nothing. All
    waivers, expired ones too, are printed on the report. A waiver never covers a crash or a hang.
    """
