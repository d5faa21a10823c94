"""report.html in a real browser: readable, quiet on the network, usable without a mouse, light with 5,000 cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from _chromium import CONTRASTS, OVERFLOW, OVERLAPS, chromium, focused
from _sample import sample_result
from adapter_conform.report import RunResult, render_html
from adapter_conform.states import State

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def result() -> RunResult:
    return sample_result()


@pytest.fixture(scope="module")
def report(result: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(result), encoding="utf-8")
    return path


def opened(browser: Browser, report: Path, *, width: int = 1280, scheme: str = "light", fragment: str = "") -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    page = context.new_page()
    page.requests = []  # type: ignore[attr-defined]
    page.faults = []  # type: ignore[attr-defined]
    page.on("request", lambda request: page.requests.append(request.url))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.faults.append(str(error)))  # type: ignore[attr-defined]
    page.on("console", lambda message: page.faults.append(message.text))  # type: ignore[attr-defined]
    page.goto(report.as_uri() + fragment)
    return page


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    found = opened(browser, report)
    yield found
    found.context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_readable(browser: Browser, report: Path, width: int, scheme: str) -> None:
    page = opened(browser, report, width=width, scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    page.locator(".case > button").first.click()
    assert page.evaluate(OVERFLOW) <= 0
    assert page.evaluate(CONTRASTS) == {}
    assert page.evaluate(OVERLAPS) == []
    page.context.close()


def test_the_measures_can_fail(page: Page) -> None:
    """They find what they are there for, planted into the page."""
    page.evaluate("document.querySelector('h1').style.color = '#aaa'")
    assert list(page.evaluate(CONTRASTS)) == ["H1."]
    page.evaluate("document.querySelector('h2').style.width = '2000px'")
    assert page.evaluate(OVERFLOW) > 0
    page.evaluate("document.querySelector('.chart text').setAttribute('y', 900)")
    page.evaluate("document.querySelector('.chart g text').setAttribute('y', 900)")
    assert page.evaluate(OVERLAPS)


def test_schemes_differ(browser: Browser, report: Path) -> None:
    """The contrast in the dark would be good, too, if it were not dark."""
    colours = set()
    for scheme in SCHEMES:
        page = opened(browser, report, scheme=scheme)
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.context.close()
    assert len(colours) == 2


def test_no_request_and_no_fault(page: Page, report: Path) -> None:
    page.locator(".chip:enabled").first.click()
    assert page.requests == [report.as_uri()]  # type: ignore[attr-defined]
    assert page.faults == []  # type: ignore[attr-defined]


def shown_count(page: Page) -> int:
    return int(page.locator("#total").inner_text().split()[0])


def test_filters(page: Page, result: RunResult) -> None:
    def expected(**wanted: object) -> int:
        return sum(all(getattr(record, key) == value for key, value in wanted.items()) for record in result.records)

    assert shown_count(page) == 5000
    page.select_option("#state", "failed")
    assert shown_count(page) == expected(state=State.FAILED) > 0
    page.select_option("#operator", "relu")
    assert shown_count(page) == expected(state=State.FAILED, operator="relu")
    page.select_option("#state", "")
    page.select_option("#dtype", "float16")
    assert shown_count(page) == expected(operator="relu", dtype="float16") > 0
    assert page.locator(".case").count() == shown_count(page)
    page.fill("#text", "eager denormal")
    assert shown_count(page) == 0
    page.click("#reset")
    assert shown_count(page) == 5000
    page.fill("#text", "softmax STATIC")
    found = [record for record in result.records if "softmax" in record.id and "static" in record.id]
    assert shown_count(page) == len(found) > 0


def test_a_cell_lists_its_cases(page: Page, result: RunResult) -> None:
    page.locator('.matrix button[data-operator="tanh"][data-dtype="float32"]').click()
    assert page.input_value("#operator") == "tanh"
    assert page.input_value("#dtype") == "float32"
    assert shown_count(page) == sum((r.operator, r.dtype) == ("tanh", "float32") for r in result.records)


def test_a_chip_lists_its_state(page: Page, result: RunResult) -> None:
    page.locator('.chip[data-state="hung"]').click()
    assert shown_count(page) == result.counts[State.HUNG]
    assert page.get_attribute('.chip[data-state="hung"]', "aria-pressed") == "true"


@pytest.mark.parametrize("index", [0, 4990])
def test_a_link_opens_its_case(browser: Browser, report: Path, result: RunResult, index: int) -> None:
    record = result.records[index]
    for fragment in (quote(record.id, safe=""), record.id):
        page = opened(browser, report, fragment="#" + fragment)
        target = page.locator(".case.target")
        assert target.locator(".id").inner_text() == record.id
        assert record.repro in target.locator(".body").inner_text()
        state = focused(page)
        assert record.id in state["text"]
        assert state["inside"]
        page.context.close()


def test_a_link_within_the_page(page: Page, result: RunResult) -> None:
    failed = next(record for record in result.records if record.state is State.FAILED)
    page.locator("article a.id", has_text=failed.id).first.click()
    assert page.locator(".case.target .id").inner_text() == failed.id


def test_all_5000_can_be_reached(page: Page) -> None:
    pages = 0
    while page.locator("#more").is_visible():
        page.click("#more")
        pages += 1
    assert pages == 24
    assert page.locator(".case").count() == 5000


def test_keyboard_order_and_focus(page: Page) -> None:
    """Tab goes through the page from top to bottom, what has the focus is in sight and shows it."""
    before = -1
    for _ in range(40):
        page.keyboard.press("Tab")
        state = focused(page)
        assert state["at"] > before, state
        assert state["outline"] >= 1, state
        assert state["inside"], state
        before = state["at"]


def test_keyboard_filters_and_opens(page: Page, result: RunResult) -> None:
    page.keyboard.press("Tab")
    assert "cases" in focused(page)["text"]
    page.keyboard.press("Enter")  # past the matrix, to the cases
    page.keyboard.press("Tab")
    assert focused(page)["id"] == "text"
    page.keyboard.type("matmul")
    found = [record for record in result.records if "matmul" in record.id]
    assert shown_count(page) == len(found) > 0
    page.keyboard.press("Tab")
    assert focused(page)["id"] == "state"
    page.keyboard.press("v")  # the only state with this letter
    assert page.input_value("#state") == "vacuous"
    page.keyboard.press("Home")
    for _ in range(5):  # operator, dtype, reset, list, first case
        page.keyboard.press("Tab")
    assert found[0].id in focused(page)["text"]
    page.keyboard.press("Enter")
    assert page.locator(".case .body").count() == 1


def test_charts_have_axes_and_units(page: Page) -> None:
    for chart in page.locator("figure.curves [role=img], .chart > [role=img]").all():
        names = chart.locator("text.name").all_text_contents()
        assert any("(" in name for name in names), names
        assert chart.locator("line.axis").count() >= 3
        assert chart.get_attribute("aria-label")
    assert page.locator("figure.curves").count() == 2
    assert page.locator("figure.curves text.name", has_text="training step").count() == 4


def test_opens_light(page: Page, report: Path) -> None:
    """What makes it open fast, in numbers that do not depend on the machine: size, and elements at the start."""
    assert report.stat().st_size < 10 << 20
    assert page.locator(".case").count() == 200
    elements = page.evaluate("document.querySelectorAll('*').length")
    assert elements < 20_000, elements
    assert len(json.loads(page.locator("#data").text_content() or "")["rows"]) == 5000
