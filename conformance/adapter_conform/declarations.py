"""What a plugin declares about its kernels, and why a kernel is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from adapter_conform.states import State

if TYPE_CHECKING:
    from adapter_conform.session import Session
    from adapter_sdk.manager import LoadedPlugin

__all__ = ["absence", "declared_kernels", "disbelieved_refusals"]


def declared_kernels(plugin: LoadedPlugin) -> dict[tuple[str, str], str]:
    """(operator, dtype) -> accumulator dtype ("undefined" where nothing is summed) of every declared kernel."""
    global _latest
    if _latest is None or _latest[0] is not plugin.kernels:
        table = {(kernel.operator, kernel.dtype): kernel.accumulator or "undefined" for kernel in plugin.kernels}
        _latest = (plugin.kernels, table)
    return _latest[1]


_latest: tuple[object, dict[tuple[str, str], str]] | None = None
"""The last answer: a worker asks of one plugin, several times a case."""


def absence(
    session: Session, names: Sequence[str], dtype: str, attributes: Mapping[str, object] | None = None
) -> tuple[State, str] | None:
    """Why none of the kernels ``names`` is in Paddle's registry for ``dtype``; None when one is.

    UNSUPPORTED where none is declared, where the plugin's predicate refuses a call with ``attributes``, and where those
    declared are for other releases of Paddle. A declared kernel that is absent for any other reason is a broken
    promise: FAILED.
    """
    if any(session.is_registered(name, dtype) for name in names):
        return None
    declared = declared_kernels(session.plugin)
    promised = [name for name in names if (name, dtype) in declared]
    if not promised:
        wanted = " or ".join(f"{name}/{dtype}" for name in names)
        return (
            State.UNSUPPORTED,
            f"{wanted}: not declared by plugin {session.plugin.name!r}, and Paddle has none registered",
        )
    if not any(session.plugin.kernel_supported(name, dtype, attributes) for name in promised):
        return (
            State.UNSUPPORTED,
            f"{promised[0]}/{dtype}: plugin {session.plugin.name!r} refuses the call (adapter_kernel_supported), and "
            "Paddle has none registered",
        )
    foreign = [_for_other_paddle(session, name, dtype) for name in promised]
    if all(foreign):
        return (
            State.UNSUPPORTED,
            f"{promised[0]}/{dtype}: plugin {session.plugin.name!r} brings it for other releases of Paddle; "
            + "; ".join(foreign),
        )
    broken = promised[foreign.index("")]
    if (broken, dtype) in session.unusable:
        refusals = [row.refusal for row in session.library.kernels() if (row.operator, row.dtype) == (broken, dtype)]
        return State.FAILED, f"{broken}/{dtype} was not called: {'; '.join(refusals)}"
    return (
        State.FAILED,
        f"{broken}/{dtype} is declared by plugin {session.plugin.name!r}, but Paddle has "
        f"no such kernel registered for {session.device}; see `adapter-sdk devices` for why it was refused",
    )


def disbelieved_refusals(
    session: Session, kernels: Iterable[tuple[Sequence[str], str]], attributes: Mapping[str, object]
) -> list[str]:
    """Kernels ("operator/dtype") that the plugin's predicate refuses although Paddle has them registered.

    Paddle calls them all the same, so such a refusal is not believed and the call is judged.
    """
    declared = declared_kernels(session.plugin)
    return [
        f"{name}/{dtype}"
        for names, dtype in kernels
        for name in names
        if (name, dtype) in declared
        and session.is_registered(name, dtype)
        and not session.plugin.kernel_supported(name, dtype, attributes)
    ]


def _for_other_paddle(session: Session, operator: str, dtype: str) -> str:
    """What registration said, where every row of the kernel was refused for being another release's; else empty."""
    rows = [row for row in session.library.kernels() if (row.operator, row.dtype) == (operator, dtype)]
    if not all(row.registration == "refused" and row.for_other_paddle for row in rows):
        return ""
    return "; ".join(dict.fromkeys(row.refusal for row in rows))
