"""Two bundles side by side, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapter_conform.certification.pages.template import template

if TYPE_CHECKING:
    from adapter_conform.certification.bundle.comparing import Comparison

__all__ = ["render_comparison"]


def render_comparison(comparison: Comparison) -> str:
    return template("comparison.html.j2").render(comparison=comparison)
