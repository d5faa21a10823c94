"""Templates of this folder, with the style sheet of the run's report."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources

import jinja2

__all__ = ["template"]


def _figure(value: float) -> str:
    return "none" if math.isinf(value) else "" if math.isnan(value) else f"{value:.4g}"


@cache
def template(name: str) -> jinja2.Template:
    mine = resources.files(__package__) / "templates"
    style = resources.files("adapter_conform.report") / "templates"

    def load(wanted: str) -> str:
        folder = style if wanted == "report.css" else mine
        return (folder / wanted).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment.get_template(name)
