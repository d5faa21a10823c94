"""Finds plugins through their entry points, loads them one by one, and says what is wrong with those that fail."""

from __future__ import annotations

import importlib.metadata
import sys
import traceback
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import cast

from adapter_sdk._probe import why_loading_dies
from adapter_sdk._validation import CheckedHooks
from adapter_sdk.errors import (
    AdapterError,
    ContractMismatch,
    MountError,
    PluginCrashes,
    PluginInvalid,
    PluginNotFound,
)
from adapter_sdk.hookspecs import CONTRACT_VERSION, PROJECT
from adapter_sdk.native import PluginLibrary
from adapter_sdk.records import (
    CollectivesDescription,
    DeviceDescription,
    FusedOperatorDescription,
    KernelDescription,
    MemoryDescription,
    StreamDescription,
    Waiver,
)

__all__ = ["LoadedPlugin", "PluginStatus", "assemble", "discover", "load"]


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin whose hooks have all been called and checked. Being loaded says nothing of Paddle; see ``mount``."""

    name: str
    device: DeviceDescription
    memory: MemoryDescription
    streams: StreamDescription
    kernels: tuple[KernelDescription, ...]
    fused_operators: tuple[FusedOperatorDescription, ...]
    collectives: CollectivesDescription | None
    waivers: tuple[Waiver, ...]
    library: PluginLibrary | None
    """The native library. Of a plugin written in Python the bridge's, once it is mounted; None before."""
    distribution: str
    """Name of the distribution that the plugin came with; empty when unknown."""
    distribution_version: str
    _hooks: CheckedHooks = field(repr=False, compare=False)

    def kernel_supported(self, operator: str, dtype: str, attributes: Mapping[str, object] | None = None) -> bool:
        """Whether the plugin declares this kernel and takes a call with these attributes.

        Raises:
            PluginInvalid: the plugin's predicate raised, or did not return a bool.
        """
        if (operator, dtype) not in self._declared:
            return False
        if not self._hooks.implements("adapter_kernel_supported"):
            return True
        asked = {"operator": operator, "dtype": dtype, "attributes": dict(attributes or {})}
        try:
            return cast(bool, self._hooks.call("adapter_kernel_supported", **asked))
        except PluginInvalid as error:  # which of hundreds of kernels it was about
            raise PluginInvalid(
                error.plugin,
                error.hook,
                error.signature,
                f"asked for {operator}/{dtype} with attributes {asked['attributes']}: {error.fault}",
                error.remedy,
            ) from error.__cause__

    def confirm_mounted(self) -> None:
        """Returns when Paddle, already imported, offers the device and the library serves it.

        Raises:
            MountError: with what the library says about the refusal.
        """
        paddle = sys.modules.get("paddle")
        if paddle is None:
            raise MountError(self.name, "paddle is not imported yet", "import paddle, then call confirm_mounted()")
        kind = self.device.device_type
        state = self.library.mount_state() if self.library else "registered"
        message = self.library.mount_message() if self.library else ""
        offered = list(paddle.device.get_all_custom_device_type())
        if state == "refused":
            raise MountError(self.name, f"its library refused this Paddle: {message}", _MOUNT_REMEDY)
        if kind not in offered:
            others = ", ".join(offered) or "none"
            reason = f" ({message})" if message else ""
            raise MountError(self.name, f"Paddle has no device type {kind!r}{reason}; it has: {others}", _MOUNT_REMEDY)
        if state != "registered":
            raise MountError(
                self.name,
                f"Paddle has a device type {kind!r}, but from another library than {self.device.library}",
                "run `adapter-sdk doctor`; remove the stale library",
            )

    @cached_property
    def _declared(self) -> frozenset[tuple[str, str]]:
        return frozenset((kernel.operator, kernel.dtype) for kernel in self.kernels)


_MOUNT_REMEDY = "call adapter_sdk.mount() before `import paddle`, and run `adapter-sdk doctor`"


@dataclass(frozen=True)
class PluginStatus:
    """An installed plugin: loaded, or the error that made it unusable."""

    name: str
    distribution: str
    distribution_version: str
    plugin: LoadedPlugin | None
    error: AdapterError | None

    @property
    def usable(self) -> bool:
        return self.plugin is not None


def discover(probe: bool = False) -> list[PluginStatus]:
    """Every installed plugin, by name. A plugin that cannot be loaded carries its error; this never raises for one.

    With ``probe`` each plugin is loaded in a process of its own first (about half a second each), so that one which
    crashes, hangs or exits becomes a status as well.
    """
    points = _entry_points()
    taken = Counter(point.name for point in points)
    return [_status(point, points if taken[point.name] > 1 else [point], probe) for point in points]


def load(name: str) -> LoadedPlugin:
    """Loads and checks one plugin. Does not import Paddle.

    Raises:
        PluginNotFound: nothing installed has that name; the message proposes a close one.
        PluginInvalid, LibraryUnusable, ContractMismatch: it is installed, but cannot be used.
    """
    points = _entry_points()
    chosen = [point for point in points if point.name == name]
    if not chosen:
        raise PluginNotFound(name, tuple(point.name for point in points))
    _check_single(name, chosen)
    return _load(chosen[0])


def _entry_points() -> list[EntryPoint]:
    points = importlib.metadata.entry_points(group=PROJECT)
    return sorted(points, key=lambda point: (point.name, _distribution(point), point.value))


def _status(point: EntryPoint, candidates: Sequence[EntryPoint], probe: bool) -> PluginStatus:
    distribution, version = _distribution(point)
    fault = why_loading_dies(point.name) if probe else None
    if fault is not None:
        return PluginStatus(point.name, distribution, version, None, PluginCrashes(point.name, fault))
    try:
        _check_single(point.name, [other for other in candidates if other.name == point.name])
        return PluginStatus(point.name, distribution, version, _load(point), None)
    except AdapterError as error:
        return PluginStatus(point.name, distribution, version, None, error)


def _check_single(name: str, points: Sequence[EntryPoint]) -> None:
    if len(points) > 1:
        offers = ", ".join(f"{_distribution(point)[0] or 'unknown'} ({point.value})" for point in points)
        raise PluginInvalid(
            name, "", "", f"{len(points)} entry points have this name: {offers}", "uninstall all but one"
        )


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("", "")


def _load(point: EntryPoint) -> LoadedPlugin:
    return assemble(point.name, _import(point), *_distribution(point))


def assemble(name: str, implementation: object, distribution: str = "", version: str = "") -> LoadedPlugin:
    """The plugin whose hooks ``implementation`` has: calls and checks them all.

    Raises:
        PluginInvalid, LibraryUnusable, ContractMismatch: as :func:`load`.
    """
    hooks = CheckedHooks(name, implementation)
    device = _device(hooks)
    memory = cast(MemoryDescription, hooks.call("adapter_memory"))
    streams = cast(StreamDescription, hooks.call("adapter_streams"))
    kernels = _kernels(hooks)
    library = _library(hooks, device, kernels)
    return LoadedPlugin(
        name=name,
        device=device,
        memory=memory,
        streams=streams,
        kernels=kernels,
        fused_operators=_fused_operators(hooks, kernels),
        collectives=_collectives(hooks),
        waivers=_waivers(hooks),
        library=library,
        distribution=distribution,
        distribution_version=version,
        _hooks=hooks,
    )


def _import(point: EntryPoint) -> object:
    try:
        implementation: object = point.load()
    except AdapterError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        fault = f"its entry point {point.value!r} cannot be imported: {type(error).__name__}: {error}"
        place = f" ({frames[-1].filename}:{frames[-1].lineno})"
        raise PluginInvalid(point.name, "", "", fault + place, "reinstall the plugin, or mend its import") from error
    return implementation


def _device(hooks: CheckedHooks) -> DeviceDescription:
    device = cast(DeviceDescription, hooks.call("adapter_device"))
    if device.contract[0] != CONTRACT_VERSION[0]:
        raise ContractMismatch(f"plugin {hooks.plugin!r}", device.contract, CONTRACT_VERSION)
    if device.name != hooks.plugin:
        fault = f"says that its name is {device.name!r}, its entry point says {hooks.plugin!r}"
        raise hooks.invalid("adapter_device", fault, "give both the same name")
    if device.cards == 0:
        raise hooks.invalid(
            "adapter_device", "reports 0 cards", "see that the vendor's driver is loaded and that a card is free to use"
        )
    return device


def _library(
    hooks: CheckedHooks, device: DeviceDescription, kernels: Sequence[KernelDescription]
) -> PluginLibrary | None:
    if device.library is None:
        return None
    library = PluginLibrary(device.library)
    if library.device_type != device.device_type:
        fault = f"says device type {device.device_type!r}, {device.library} says {library.device_type!r}"
        raise hooks.invalid("adapter_device", fault, _SAY_WHAT_THE_TABLE_SAYS)
    _check_against_table(hooks, library, kernels)
    return library


def _check_against_table(hooks: CheckedHooks, library: PluginLibrary, kernels: Sequence[KernelDescription]) -> None:
    """What the hook says of accumulators sets error limits, and what it leaves out is judged by nobody."""
    said = {_facts(kernel) for kernel in kernels}
    table = {_facts(row) for row in library.kernels()}
    for facts, fault in (
        *((facts, "lists {}, which the library's table does not") for facts in sorted(said - table)),
        *((facts, "leaves out {}, which the library's table has") for facts in sorted(table - said)),
    ):
        operator, dtype, signature, accumulator, _ = facts
        kernel = f"{operator}/{dtype} ({signature}; accumulator {accumulator or 'none'})"
        raise hooks.invalid("adapter_kernels", fault.format(kernel), _SAY_WHAT_THE_TABLE_SAYS)


def _facts(kernel: KernelDescription) -> tuple[str, str, str, str, bool]:
    return kernel.operator, kernel.dtype, kernel.signature, kernel.accumulator or "", kernel.fused


_SAY_WHAT_THE_TABLE_SAYS = "return what the library's table says, e.g. through NativePlugin"


def _kernels(hooks: CheckedHooks) -> tuple[KernelDescription, ...]:
    kernels = tuple(cast(Sequence[KernelDescription], hooks.call("adapter_kernels")))
    if not kernels:
        raise hooks.invalid("adapter_kernels", "lists no kernel", "list every kernel that the plugin brings")
    twice = _repeated((kernel.operator, kernel.dtype, kernel.signature) for kernel in kernels)
    if twice:
        raise hooks.invalid("adapter_kernels", f"lists {'/'.join(map(str, twice))} twice", "list each kernel once")
    return kernels


def _fused_operators(hooks: CheckedHooks, kernels: Sequence[KernelDescription]) -> tuple[FusedOperatorDescription, ...]:
    if not hooks.implements("adapter_fused_operators"):
        return ()
    fused = tuple(cast(Sequence[FusedOperatorDescription], hooks.call("adapter_fused_operators")))
    have = {(kernel.operator, kernel.dtype) for kernel in kernels if kernel.fused}
    for description in fused:
        for dtype in description.dtypes:
            if (description.operator, dtype) not in have:
                fault = f"names {description.operator}/{dtype}, for which adapter_kernels lists no fused kernel"
                raise hooks.invalid("adapter_fused_operators", fault, "list the kernel with fused=True")
    return fused


def _collectives(hooks: CheckedHooks) -> CollectivesDescription | None:
    if not hooks.implements("adapter_collectives"):
        return None
    return cast("CollectivesDescription | None", hooks.call("adapter_collectives"))


def _waivers(hooks: CheckedHooks) -> tuple[Waiver, ...]:
    if not hooks.implements("adapter_waivers"):
        return ()
    waivers = tuple(cast(Sequence[Waiver], hooks.call("adapter_waivers")))
    twice = _repeated((waiver.operator, waiver.dtype) for waiver in waivers)
    if twice:
        raise hooks.invalid("adapter_waivers", f"waives {'/'.join(map(str, twice))} twice", "give each waiver once")
    return waivers


def _repeated(keys: Iterable[tuple[Hashable, ...]]) -> tuple[Hashable, ...] | None:
    return next((key for key, count in Counter(keys).items() if count > 1), None)
