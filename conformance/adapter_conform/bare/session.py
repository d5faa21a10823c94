"""Opens a bare device in a worker."""

from __future__ import annotations

from adapter_conform.bare.description import describe
from adapter_conform.bare.library import BareLibrary
from adapter_conform.bare.load import of_description
from adapter_conform.bare.showing import shown_alone
from adapter_conform.bare.target import Target
from adapter_conform.errors import ConformError
from adapter_conform.reference import named_pack
from adapter_conform.session import Session
from adapter_sdk import compat

__all__ = ["open_bare_session"]


def open_bare_session(target: Target, seed: int, card: int) -> Session:
    """Shows Paddle the device's library alone, turns CPU fallback off, and puts counters in front of its kernels.

    The device stays as it is. Of Paddle's own Python the same is mended as for plugins (:mod:`adapter_sdk.compat`),
    since what Paddle withholds from devices that it does not know by name is no fault of theirs.

    Raises:
        ConformError: Paddle does not offer the device, or the counters cannot be put in place.
    """
    assert target.library is not None
    with shown_alone(target.library):
        import paddle

    if target.name not in paddle.device.get_all_custom_device_type():
        raise ConformError(f"Paddle took no device {target.name!r} from {target.library}; its log says why")
    description = describe(paddle, target.name)
    plugin = of_description(target, description)
    library = BareLibrary(target.library, description)
    compat.apply(plugin)
    paddle.set_flags({"FLAGS_enable_api_kernel_fallback": False})
    device = f"{target.name}:{card}"
    paddle.set_device(device)
    unusable = frozenset(description.misfits)
    return Session(plugin, library, paddle, device, seed, named_pack(), str(target), unusable)
