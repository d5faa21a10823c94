"""The process that runs a program that a model wrote: takes everything from itself, then runs it.

Started by ``python -I -S -B main.py RESULT``: neither environment nor installed packages reach it. stdin brings a JSON
object with ``program``, ``limits`` and ``nonce``; what comes of it is written to the descriptor RESULT as another.
Standard library only; its neighbours are found by their place.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import sys
import sysconfig
from typing import Any, NoReturn

_NEW_NAMESPACES = 0x10000000 | 0x40000000 | 0x08000000 | 0x04000000
"""CLONE_NEWUSER, NEWNET, NEWIPC, NEWUTS of clone(2)."""
_NOT_DUMPABLE = 4
_SPARE_SECONDS = 1
_LONGEST_WORDS = 500


def main() -> NoReturn:
    answers = int(sys.argv[1])
    job: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    neighbours = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, neighbours)
    landlock, seccomp = importlib.import_module("landlock"), importlib.import_module("seccomp")
    sys.path.remove(neighbours)
    _silence()
    program = job["program"]
    try:
        layers = _confine(job["limits"], landlock, seccomp)
    except (OSError, ValueError) as error:
        _tell(answers, {"nonce": job["nonce"], "unconfined": f"{type(error).__name__}: {error}"})
    verdict = _run(program)
    _tell(answers, {"nonce": job["nonce"], "layers": layers, **verdict})


def _silence() -> None:
    """stdin, stdout and stderr lead nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _confine(limits: dict[str, int], landlock: Any, seccomp: Any) -> dict[str, Any]:
    """The layers in force. Raises OSError where one that is indispensable cannot be had."""
    ctypes.CDLL(None).prctl(_NOT_DUMPABLE, 0, 0, 0, 0)
    apart = ctypes.CDLL(None).unshare(_NEW_NAMESPACES) == 0
    for name, most in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        spare = _SPARE_SECONDS if name == resource.RLIMIT_CPU else 0
        resource.setrlimit(name, (most, most + spare))
    seccomp_needs_this = ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which Landlock needs as well
    if seccomp_needs_this != 0:
        raise OSError("PR_SET_NO_NEW_PRIVS is refused")
    version = landlock.restrict(_readable())
    seccomp.refuse_calls()
    return {"landlock": version, "seccomp": True, "namespaces": apart}


def _readable() -> list[str]:
    """The standard library, the libraries that its modules are linked to, and the sources of chance."""
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.join(sys.base_prefix, "lib")}
    fixed = (
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/share/zoneinfo",
        "/dev/urandom",
        "/dev/zero",
        "/dev/null",
    )
    return [*sorted(paths), *fixed, os.getcwd()]


def _run(program: str) -> dict[str, Any]:
    try:
        exec(compile(program, "<candidate>", "exec"), {})
    except BaseException as error:  # SystemExit, KeyboardInterrupt and what the program made up, too
        return {"passed": False, "why": _words(error)}
    return {"passed": True, "why": ""}


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_LONGEST_WORDS]
    except BaseException:  # its __str__ is the program's, too
        return "an exception that cannot be shown"


def _tell(descriptor: int, message: dict[str, Any]) -> NoReturn:
    os.write(descriptor, json.dumps(message).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
