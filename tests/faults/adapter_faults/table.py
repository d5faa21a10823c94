"""What a planted fault is, and the table of them all."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

__all__ = ["FAMILIES", "Fault", "Phase", "after", "all_faults", "before", "named", "wrapped"]

FAMILIES = (
    "numbers",
    "shapes",
    "attributes",
    "gradients",
    "memory",
    "attention",
    "sampling",
    "quantized",
    "optimizers",
    "execution",
    "slowly",
    "runtime",
)


_Act = TypeVar("_Act", bound=Callable[..., Any])


class Phase(str, Enum):
    """Where a fault stands."""

    AFTER = "after"
    """Behind the kernel: it changes what the kernel wrote."""
    BEFORE = "before"
    """Ahead of the kernel, which it may skip."""
    WRAPPED = "wrapped"
    """Around a function of Paddle's that leads to the device."""


@dataclass(frozen=True)
class Fault:
    name: str
    summary: str
    """What the broken device does, in a sentence."""
    suite: str
    operator: str
    """The catalogue's entry, or the runtime suite's check, that has to notice."""
    dtype: str
    """Of the cases concerned; empty where they have none in their id."""
    kernel: str
    """``"tanh_grad/float32"``: the kernel that is broken, ``"floor/*"`` in all dtypes; empty for a wrapped function."""
    sees: tuple[str, ...]
    """The checks that tell of it, any one of which will do: gates (``bound``), ``canary``, ``allocation``, ``check``
    (of the runtime suite), a state that is none of a gate (``crashed``, ``hung``, ``fell_back``, ``vacuous``), or
    ``notice``: it is no error, and the report has to say so all the same."""
    phase: Phase
    act: Callable[..., Any]
    """AFTER and BEFORE get the :class:`~adapter_faults.call.Call` (BEFORE says True to skip the kernel); WRAPPED gives
    a context manager on the session."""
    alone: bool = False
    """It needs a run of its own, with a short time limit."""
    example: str = ""
    """The one example to run, e.g. ``"eager-0"``, where each costs a worker; otherwise all of them."""

    @property
    def cases(self) -> str:
        """The id of the cases concerned, or the folder of ids that they are in: ``"ops/tanh/float32"``."""
        return "/".join(part for part in (self.suite, self.operator, self.dtype, self.example) if part)

    def breaks(self, operator: str, dtype: str) -> bool:
        """Whether it stands around this kernel."""
        return self.kernel in (f"{operator}/{dtype}", f"{operator}/*")

    def concerns(self, case_id: str) -> bool:
        return f"{case_id}/".startswith(f"{self.cases}/")


_table: dict[str, Fault] = {}


def _add(fault: Fault) -> None:
    if fault.name in _table:
        raise ValueError(f"two faults are called {fault.name!r}")
    if not fault.sees or not fault.summary:
        raise ValueError(f"fault {fault.name!r} has to say what it is and which check sees it")
    _table[fault.name] = fault


def _summary(act: Callable[..., Any]) -> str:
    return (act.__doc__ or "").strip()


def _kernel_fault(
    phase: Phase, kernel: str, sees: str, operator: str, alone: bool, example: str
) -> Callable[[_Act], _Act]:
    def register(act: _Act) -> _Act:
        name, dtype = kernel.split("/")
        _add(
            Fault(
                name=act.__name__,
                summary=_summary(act),
                suite="ops",
                operator=operator or name.removesuffix("_grad"),
                dtype="" if dtype == "*" else dtype,
                kernel=kernel,
                sees=tuple(sees.split()),
                phase=phase,
                act=act,
                alone=alone,
                example=example,
            )
        )
        return act

    return register


def after(kernel: str, sees: str, operator: str = "", alone: bool = False, example: str = "") -> Callable[[_Act], _Act]:
    """Registers a function of a Call that spoils what ``kernel`` ("tanh/float32") wrote.

    Args:
        sees: the checks that have to notice, with spaces between them.
        operator: the catalogue's entry whose cases are run, where it is not the kernel's own.
    """
    return _kernel_fault(Phase.AFTER, kernel, sees, operator, alone, example)


def before(
    kernel: str, sees: str, operator: str = "", alone: bool = False, example: str = ""
) -> Callable[[_Act], _Act]:
    """The same for a function that acts ahead of the kernel, and skips it by returning True."""
    return _kernel_fault(Phase.BEFORE, kernel, sees, operator, alone, example)


def wrapped(suite: str, case: str, sees: str) -> Callable[[_Act], _Act]:
    """Registers a generator over the session: what stands before its ``yield`` plants, the rest takes it out again.

    Args:
        case: ``"floor/float32"`` in suite ops, ``"streams/wait_event"`` in suite runtime.
    """

    def register(act: _Act) -> _Act:
        operator, dtype = case.split("/") if suite == "ops" else (case, "")
        _add(
            Fault(
                name=act.__name__,
                summary=_summary(act),
                suite=suite,
                operator=operator,
                dtype=dtype,
                kernel="",
                sees=tuple(sees.split()),
                phase=Phase.WRAPPED,
                act=contextmanager(act),
            )
        )
        return act

    return register


@cache
def _load() -> None:
    for family in FAMILIES:
        importlib.import_module(f"adapter_faults.{family}")


def all_faults() -> tuple[Fault, ...]:
    """Every fault, in the order of the families."""
    _load()
    return tuple(_table.values())


def named(name: str) -> Fault:
    """The fault called ``name``.

    Raises:
        LookupError: there is none; the message names close matches.
    """
    _load()
    if name not in _table:
        close = difflib.get_close_matches(name, _table, n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise LookupError(f"no fault is called {name!r} among {len(_table)}{hint}")
    return _table[name]
