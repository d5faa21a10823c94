"""``python -m adapter_conform.collectives.launcher PLUGIN ARGUMENTS``: Paddle's own launcher with the plugin mounted.

Paddle looks for device plugins while it is imported, so the plugin is mounted first.
"""

from __future__ import annotations

import os
import runpy
import sys

from adapter_conform.collectives.lifeline import die_with_parent


def main() -> None:
    import adapter_sdk

    die_with_parent()
    plugin = adapter_sdk.mount(sys.argv[1], exclusive=True)
    # Up to Paddle 3.2 the launcher sees the cards of the device type that this names; later it asks Paddle.
    os.environ.setdefault("PADDLE_XCCL_BACKEND", plugin.device.device_type)
    sys.argv = ["paddle.distributed.launch", *sys.argv[2:]]
    runpy.run_module("paddle.distributed.launch", run_name="__main__")


if __name__ == "__main__":
    main()
