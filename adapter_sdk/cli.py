"""The command ``adapter-sdk``: devices that are installed, whether this environment is fit for them, and new ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import adapter_sdk
from adapter_sdk._abi import check_library
from adapter_sdk._doctor import Check, examine
from adapter_sdk._scaffold import ScaffoldError, new_plugin, update_plugin
from adapter_sdk.errors import AdapterError
from adapter_sdk.manager import PluginStatus, discover

__all__ = ["main"]

_EXAMPLES = """examples:
  adapter-sdk devices             what is installed, and why something is unusable
  adapter-sdk devices --json      the same for a program
  adapter-sdk doctor              check Python, Paddle, compiler, plugins and environment
  adapter-sdk new mychip          write a plugin: a native one, or with --python one in Python
  adapter-sdk update              bring the templates of this adapter-sdk into the plugin in this folder
  adapter-sdk abi check LIB       whether a library is a plugin, and which of its kernels fit which Paddle
"""
_HINT = """no plugin found: no installed distribution has an entry point in the group 'adapter_sdk'
  remedy: install a plugin's wheel into this Python environment"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0; 1 when a plugin is unusable or a check found an error; exits with 2 on misuse."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "devices":
            return _devices(as_json=options.json)
        if options.command == "new":
            return _new(options)
        if options.command == "update":
            return _update(options.folder)
        if options.command == "abi":
            return _abi_check(options.library)
        return _doctor()
    except ScaffoldError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except AdapterError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


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
    _add_new(commands)
    update = commands.add_parser(
        "update",
        help="bring newer templates into a plugin that `new` wrote",
        description="Merges the templates of this adapter-sdk into a plugin that `adapter-sdk new` wrote, and renews "
        "the wheel in wheels/. Your changes stay; where both sides changed the same lines, both stand between conflict "
        "markers. Exit code 1 when there are such conflicts, 2 when there is nothing to update.",
        epilog="examples:\n  adapter-sdk update\n  adapter-sdk update path/to/mychip\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    update.add_argument("folder", nargs="?", type=Path, default=Path(), help="the plugin's folder [.]")
    abi = commands.add_parser("abi", help="the binary side of a plugin library")
    verbs = abi.add_subparsers(dest="verb", metavar="VERB", required=True)
    check = verbs.add_parser(
        "check",
        help="whether a library is a plugin, and which of its kernels fit which Paddle",
        description="Reads a plugin library without Paddle: file, loader, exported table, contract, and each kernel's "
        "signature against those of every known release of Paddle. Exit code 1 when it cannot be used, or brings a "
        "kernel that fits no release.",
        epilog="examples:\n  adapter-sdk abi check build/libmychip.so\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("library", type=Path, metavar="LIB")
    return parser


def _add_new(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    new = commands.add_parser(
        "new",
        help="write a new plugin",
        description="Writes a plugin that installs with pip, with a kernel of its own, a fused operator, tests and CI. "
        "Exit code 2 when the name cannot be used or the folder exists.",
        epilog="examples:\n  adapter-sdk new mychip\n  adapter-sdk new mychip --python --vendor Acme --into ~/work\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("name", help="of the device and of the Python package, e.g. mychip")
    kind = new.add_mutually_exclusive_group()
    kind.add_argument("--native", action="store_true", default=True, help="in C++ (the default)")
    kind.add_argument("--python", dest="native", action="store_false", help="in Python alone; nothing is compiled")
    new.add_argument("--vendor", default="", help="who makes the device [the name]")
    new.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="folder to write into [.]")


def _new(options: argparse.Namespace) -> int:
    folder = new_plugin(options.name, options.into, native=options.native, vendor=options.vendor)
    shown = folder if options.into.is_absolute() else Path(options.into, options.name)
    print(f"wrote {shown}; next:\n")
    print(f"  cd {shown}")
    print("  pip install -e .")
    print(f"  adapter-conform --plugin {options.name} --profile smoke\n")
    print(f"{shown / 'README.md'} says what comes after that.")
    return 0


def _update(folder: Path) -> int:
    merged = update_plugin(folder)
    for path in merged.changed:
        print(f"{'CONFLICT' if path in merged.conflicts else 'updated '}  {path}")
    if not merged.changed:
        print("the files are up to date; wheels/ holds this adapter-sdk")
    return 1 if merged.conflicts else 0


def _abi_check(library: Path) -> int:
    report = check_library(library)
    for line in report.lines:
        print(line)
    return 0 if report.usable else 1


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
