"""The charts of training losses: every point in its place, and nothing drawn from what is no curve."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from adapter_conform.cases import GateFigure, Record
from adapter_conform.report.curves import LossChart, loss_charts
from adapter_conform.states import State
from hypothesis import given
from hypothesis import strategies as st
from test_conform_report import parsed, render_html, result_of

LIMIT = 1e-5


def record_with(cpu: Any, device: Any, errors: Any, limit: float | None = LIMIT) -> Record:
    figures = (
        []
        if limit is None
        else [GateFigure("placement", "all", 0, 0, True), GateFigure("step", "loss", 0, limit, True)]
    )
    details = {"loss": {"cpu": cpu, "device": device}, "relative_error": errors}
    return Record("training/m/train", "training", "m", "float32", State.PASSED, "fake:0", figures, 1, "r", "", details)


def chart_of(*arguments: Any) -> LossChart:
    (chart,) = loss_charts([record_with(*arguments)])
    return chart


def points(piece: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in piece.split())]


def test_points_lie_where_the_axes_say() -> None:
    chart = chart_of([4.0, 3.0, 2.0], [4.0, 2.5, 2.0], [0.0, 1 / 6, 0.0])
    ticks = {float(tick.label): tick.at for tick in chart.loss_ticks}
    assert points(chart.reference[0]) == [(0, ticks[4.0]), (50, ticks[3.0]), (100, ticks[2.0])]
    assert points(chart.device[0])[1] == (50, ticks[2.5])
    assert [(tick.label, tick.at) for tick in chart.step_ticks] == [("0", 0.0), ("1", 50.0), ("2", 100.0)]


def test_errors_lie_on_a_logarithmic_axis_with_the_limit() -> None:
    chart = chart_of([1.0] * 4, [1.0] * 4, [1e-7, 1e-5, 1e-3, 0.0])
    ticks = {tick.label: tick.at for tick in chart.error_ticks}
    inside, at_limit, beyond, equal = chart.dots
    assert chart.limit_at == pytest.approx(at_limit.y)
    assert beyond.y < at_limit.y < inside.y < equal.y == ticks["0"] == 100
    assert at_limit.y - beyond.y == pytest.approx(inside.y - at_limit.y, abs=0.02), "equal factors, equal distances"
    assert [dot.kind for dot in chart.dots] == ["inside", "inside", "beyond", "none"]
    assert chart.worst == "0.001 at step 2"


def test_losses_that_are_no_numbers_leave_a_gap_and_count_as_beyond() -> None:
    chart = chart_of([3.0, 3.0, 3.0, 3.0], [3.0, "nan", "inf", 3.0], [0.0, "inf", "nan", 0.0])
    assert len(chart.device) == 2
    assert len(chart.reference) == 1
    assert [dot.kind for dot in chart.dots] == ["none", "beyond", "beyond", "none"]
    assert chart.worst == "inf at step 1"


@pytest.mark.parametrize("limit", [None, 0.0, math.inf])
def test_a_limit_that_the_axis_cannot_show_is_not_drawn(limit: float | None) -> None:
    chart = chart_of([1.0, 2.0], [1.0, 2.0], [0.0, 1e-8], limit)
    assert (chart.limit, chart.limit_at) == (limit, None)


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"loss": 0.5},
        {"loss": {"cpu": [1.0]}},
        {"loss": {"cpu": [1.0], "device": [1.0]}},
        {"loss": {"cpu": [], "device": [], "relative_error": []}},
        {"loss": {"cpu": "123", "device": [1.0]}, "relative_error": [0.0]},
        {"loss": {"cpu": [None], "device": [1.0]}, "relative_error": [0.0]},
    ],
)
def test_other_details_make_no_chart(details: dict[str, Any]) -> None:
    record = record_with([], [], [])
    record.details = details
    assert loss_charts([record]) == []


def test_long_runs_are_thinned_but_keep_their_worst_step() -> None:
    errors = [1e-8] * 50_000
    errors[31_417] = 1e-2
    chart = chart_of([2.0] * 50_000, [2.0] * 50_000, errors)
    assert len(chart.dots) <= 1000
    assert len(points(chart.device[0])) <= 1000
    assert [dot.words for dot in chart.dots if dot.kind == "beyond"] == ["step 31417: 0.01"]


losses = st.lists(st.floats(), min_size=1, max_size=30)


@given(cpu=losses, device=losses, errors=losses, limit=st.none() | st.floats(min_value=0))
def test_whatever_the_numbers_are_everything_stays_on_the_plot(
    cpu: list[float], device: list[float], errors: list[float], limit: float | None
) -> None:
    chart = chart_of(cpu, device, errors, limit)
    places = [place for piece in (*chart.reference, *chart.device) for point in points(piece) for place in point]
    places += [place for dot in chart.dots for place in (dot.x, dot.y)]
    places += [tick.at for tick in (*chart.step_ticks, *chart.loss_ticks, *chart.error_ticks)]
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert 2 <= len(chart.loss_ticks) <= 15


def test_the_page_shows_both_curves_the_limit_and_the_axes() -> None:
    errors = [0.0, 3e-8, 2e-5]
    page = render_html(result_of([record_with([5.5, 5.2, 5.0], [5.5, 5.2, 5.0001], errors)]))
    parsed(page)
    section = page[page.index("Loss of training") : page.index("Errors against their limits")]
    assert len(re.findall(r'<polyline class="(?:reference|device)"', section)) == 2
    for words in ("loss (nats per token)", "training step", "limit 1e-05", "logarithmic", "2e-05 at step 2"):
        assert words in section
    assert [section.count(f'<circle class="{kind}"') for kind in ("none", "inside", "beyond")] == [1, 1, 1]


def test_a_page_without_training_has_no_such_section() -> None:
    assert "Loss of training" not in render_html(result_of([]))
