"""Runs cases in worker processes: a crash or a hang costs one case, and the run goes on."""

from adapter_conform.supervisor.interrupt import Interruption
from adapter_conform.supervisor.pool import Note, PoolEnd, Supervisor

__all__ = ["Interruption", "Note", "PoolEnd", "Supervisor"]
