"""What a check is, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapter_conform.runtime.slots import COVERABLE

if TYPE_CHECKING:
    from adapter_conform.runtime.bench import Bench

__all__ = ["ANY", "CHECKS", "Body", "Check", "check"]

ANY = "any"
"""The dtype of a case that is about none in particular."""

Body = Callable[["Bench"], None]
"""Returns when the device kept its promise, and raises otherwise; see :mod:`adapter_conform.runtime.errors`."""


@dataclass(frozen=True)
class Check:
    id: str
    """``"memory/out_of_memory"``; the part before the slash is the group."""
    statement: str
    """What is true of a device that passes, in one line."""
    covers: tuple[str, ...]
    """Of :data:`adapter_conform.runtime.slots.COVERABLE`."""
    body: Body
    dtypes: tuple[str, ...] = (ANY,)
    """One case is planned for each."""
    kernels: tuple[str, ...] = ()
    """Operators that the check computes with, e.g. ``"add/float32"``; ``{}`` stands for the case's dtype."""
    repeat: tuple[int, int, int] = (1, 4, 20)
    """Repetitions under the profiles smoke, standard and full."""
    cards: int = 1
    """Cards that it takes."""
    timeout: float = 60.0
    """Seconds."""

    @property
    def group(self) -> str:
        return self.id.split("/")[0]


CHECKS: dict[str, Check] = {}


def check(
    check_id: str,
    statement: str,
    *,
    covers: tuple[str, ...],
    dtypes: tuple[str, ...] = (ANY,),
    kernels: tuple[str, ...] = (),
    repeat: tuple[int, int, int] = (1, 4, 20),
    cards: int = 1,
    timeout: float = 60.0,
) -> Callable[[Body], Body]:
    """Registers the decorated function as a check. The parameters are the fields of :class:`Check`.

    Raises:
        ValueError: the id is taken, or the check covers something that the contract does not know.
    """

    def register(body: Body) -> Body:
        unknown = [name for name in covers if name not in COVERABLE]
        if unknown or not covers:
            raise ValueError(f"check {check_id!r} covers {unknown or 'nothing'}; see adapter_conform.runtime.slots")
        if check_id in CHECKS:
            raise ValueError(f"two checks are called {check_id!r}")
        CHECKS[check_id] = Check(check_id, statement, covers, body, dtypes, kernels, repeat, cards, timeout)
        return body

    return register
