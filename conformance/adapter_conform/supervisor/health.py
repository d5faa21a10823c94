"""When a worker has to go although it still answers: it grew too much, or it ran out of memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from adapter_conform.cases import Outcome
from adapter_conform.states import State

__all__ = ["Footprint", "Limits", "large_at_once", "oom_kills", "ran_out_of_memory"]

_LEAST_GROWTH_BYTES = 512 << 20
_SHARE_OF_MEMORY = 4
_MOST_HANDLES = 256
_LARGE_BYTES = 6 << 30
"""A process with a large case, and what its neighbours and the supervisor take: 4.9 GB is the most seen of one."""
_MEMORY_ERRORS = ("MemoryError", "ResourceExhausted", "Out of memory")
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Footprint:
    """What a process holds: resident bytes and open handles."""

    resident: int
    handles: int

    @classmethod
    def of_this_process(cls) -> Footprint:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return cls(pages * resource.getpagesize(), len(os.listdir("/proc/self/fd")))

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> Footprint:
        return cls(int(data["resident"]), int(data["handles"]))

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """How much a worker may grow beyond what it held when it was ready.

    A quarter of the machine's memory shared among the workers leaves room for what is no leak: libraries that a case
    imports, caches of Paddle's allocator, and the cards of a device that keeps them in host memory.
    """

    growth: int
    """Bytes."""
    handles: int

    @classmethod
    def of_machine(cls, jobs: int) -> Limits:
        most_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        few = most_open // 4 if most_open != resource.RLIM_INFINITY else _MOST_HANDLES
        return cls(max(_LEAST_GROWTH_BYTES, _memory() // (_SHARE_OF_MEMORY * jobs)), min(_MOST_HANDLES, few))

    def exceeded(self, start: Footprint, now: Footprint) -> str | None:
        """In words, what has grown too much; None when nothing has."""
        if now.resident - start.resident > self.growth:
            return (
                f"its memory grew from {start.resident >> 20} to {now.resident >> 20} MiB, "
                f"by more than {self.growth >> 20} MiB"
            )
        if now.handles - start.handles > self.handles:
            return f"its open handles grew from {start.handles} to {now.handles}, by more than {self.handles}"
        return None


def ran_out_of_memory(outcome: Outcome) -> bool:
    """Whether a case failed for want of memory: what it leaves of its process is no ground for the next."""
    return outcome.state is State.FAILED and any(word in outcome.message for word in _MEMORY_ERRORS)


def oom_kills() -> int:
    """Processes that the system has killed for want of memory since it started; 0 where it does not tell."""
    try:
        counters = Path("/proc/vmstat").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in counters.splitlines() if line.startswith("oom_kill ")), 0)


def large_at_once() -> int:
    """How many large cases (:attr:`adapter_conform.cases.Case.large`) the memory here has room for, at least one."""
    return max(1, _memory() // _LARGE_BYTES)


def _memory() -> int:
    """Bytes of memory that this process may use: the machine's, or less where its control group says so."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in (*_CGROUP_LIMITS, *_own_limits()):
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            found.append(int(text))
    return min(found)


def _own_limits() -> Iterator[Path]:
    """Where this process's own control group, below the root that is mounted, has its limit: version 2 or 1."""
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            yield Path(f"/sys/fs/cgroup{group}/memory.max")
        elif "memory" in controllers.split(","):
            yield Path(f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes")
