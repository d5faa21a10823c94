"""The result of `bench-serve` as one HTML file that opens offline: a chart of the trials, and their figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

__all__ = ["page"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720.0, 300.0, 60.0, 36.0, 12.0


def page(result: Mapping[str, Any]) -> str:
    """From what :func:`report.result_of` gives."""
    template = (resources.files(__package__) / "page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["ms"] = lambda figure: "-" if figure is None else f"{figure['value'] * 1e3:.1f}"
    trials = sorted(result["trials"], key=lambda trial: trial["rate"])
    return environment.from_string(template).render(result=result, trials=trials, **_chart(trials))


def _chart(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Points (x, y, low, high, borne, title) and the limit's line: p99 of the first token by rate, seconds on a
    logarithmic axis."""
    shown = [trial for trial in trials if isinstance(trial["first_p99"], Mapping)]
    limit = trials[0]["limit"] if trials else 1.0
    seconds = [limit, *(trial["first_p99"][key] for trial in shown for key in ("low", "high"))]
    low = math.floor(math.log10(max(min(seconds), 1e-6)))
    high = max(math.ceil(math.log10(max(seconds))), low + 1)
    fastest = max((trial["rate"] for trial in shown), default=1.0)

    def x(rate: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - 20) * rate / (1.05 * fastest), 1)

    def y(value: float) -> float:
        place = (min(max(math.log10(max(value, 1e-9)), low), high) - low) / (high - low)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * place, 1)

    points = [
        {
            "x": x(trial["rate"]),
            **{key: y(trial["first_p99"][key]) for key in ("value", "low", "high")},
            "borne": trial["borne"],
            "title": f"{trial['rate']:.2f} requests/s: p99 {trial['first_p99']['value']:.3f} s",
        }
        for trial in shown
    ]
    marks = [(y(10.0**decade), f"{10.0**decade:g} s") for decade in range(low, high + 1)]
    rates = [(x(fastest * part / 4), f"{fastest * part / 4:.3g}") for part in range(5)]
    return {"points": points, "limit_y": y(limit), "marks": marks, "rates": rates, "width": _WIDTH, "height": _HEIGHT}
