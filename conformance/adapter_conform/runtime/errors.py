"""How a check ends other than by passing."""

from __future__ import annotations

__all__ = ["CheckFailed", "NotApplicable", "RanElsewhere"]


class CheckFailed(Exception):
    """The device broke a promise; the message says which, with what was expected and what came."""


class RanElsewhere(Exception):
    """A right result came, but the plugin's own kernel did not make it."""


class NotApplicable(Exception):
    """There is nothing to check on this machine or with this plugin; the message says why."""
