"""The command ``adapter-sdk``: which devices are installed, and whether this environment is fit for them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import adapter_sdk
from adapter_sdk._doctor import Check, examine
from adapter_sdk.manager import PluginStatus, discover

__all__ = ["main"]

_EXAMPLES = """examples:
  adapter-sdk devices             what is installed, and why something is unusable
  adapter-sdk devices --json      the same for a program
  adapter-sdk doctor              check Python, Paddle, compiler, plugins and environment
"""
_HINT = """no plugin found: no installed distribution has an entry point in the group 'adapter_sdk'
  remedy: install a plugin's wheel into this Python environment"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0; 1 when a plugin is unusable or a check found an error; exits with 2 on misuse."""
    options = _parser().parse_args(arguments)
    if options.command == "devices":
        return _devices(as_json=options.json)
    return _doctor()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adapter-sdk",
        description="Devices for PaddlePaddle that come as plugins.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"adapter-sdk {adapter_sdk.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    devices = commands.add_parser(
        "devices",
        help="list the plugins found, their cards, and why one is unusable",
        description="Lists the plugins found. Exit code 1 when any of them is unusable.",
        epilog="examples:\n  adapter-sdk devices\n  adapter-sdk devices --json\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    devices.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    commands.add_parser(
        "doctor",
        help="check the environment",
        description="Checks what a device needs around it. Exit code 1 when a check found an error.",
        epilog="examples:\n  adapter-sdk doctor\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _devices(as_json: bool) -> int:
    statuses = discover(probe=True)
    if as_json:
        print(json.dumps([_as_json(status) for status in statuses], indent=2))
    elif statuses:
        _print_table(statuses)
    else:
        print(_HINT)
    return 0 if all(status.usable for status in statuses) else 1


def _as_json(status: PluginStatus) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": status.name,
        "distribution": status.distribution,
        "distribution_version": status.distribution_version,
        "usable": status.usable,
        "error": str(status.error) if status.error else None,
        "error_kind": type(status.error).__name__ if status.error else None,
    }
    if status.plugin:
        device = status.plugin.device
        entry["device"] = {
            "vendor": device.vendor,
            "device_type": device.device_type,
            "cards": device.cards,
            "memory_bytes": list(device.memory_bytes),
            "paddle_versions": device.paddle_versions,
            "contract": list(device.contract),
            "kernels": len(status.plugin.kernels),
            "library": str(device.library) if device.library else None,
        }
    return entry


def _print_table(statuses: Sequence[PluginStatus]) -> None:
    head = ("PLUGIN", "DEVICE", "VENDOR", "CARDS", "MEMORY", "KERNELS", "PADDLE", "STATUS")
    rows = [head, *(_row(status) for status in statuses)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for status in statuses:
        if status.error:
            print(f"\n{status.error}")


def _row(status: PluginStatus) -> tuple[str, ...]:
    if status.plugin is None:
        return (status.name, "-", "-", "-", "-", "-", "-", "unusable")
    device = status.plugin.device
    return (
        status.name,
        device.device_type,
        device.vendor,
        str(device.cards),
        _memory(device.memory_bytes),
        str(len(status.plugin.kernels)),
        device.paddle_versions,
        "usable",
    )


def _memory(sizes: Sequence[int]) -> str:
    """``"2 x 4.0 GiB"``, or each card's own where they differ."""
    if len(set(sizes)) == 1:
        return f"{len(sizes)} x {_size(sizes[0])}"
    return " + ".join(_size(size) for size in sizes)


def _size(size: int) -> str:
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def _doctor() -> int:
    checks = examine()
    width = max(len(check.subject) for check in checks)
    for check in checks:
        print(f"{check.level:<5}  {check.subject:<{width}}  {_block(check, width)}")
    count = {level: sum(check.level == level for check in checks) for level in ("error", "warn", "ok")}
    print(f"\n{count['error']} error, {count['warn']} warn, {count['ok']} ok")
    return 1 if count["error"] else 0


def _block(check: Check, width: int) -> str:
    lines = check.detail.splitlines()
    if check.remedy:
        lines.append(f"remedy: {check.remedy}")
    return ("\n" + " " * (width + 9)).join(lines)


if __name__ == "__main__":
    sys.exit(main())
