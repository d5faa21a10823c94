"""What a suite left out when it planned: reported by reason, and never part of the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from adapter_conform.cases import Case, Outcome
from adapter_conform.plan import LoadedSuite, RunOptions, make_plan
from adapter_conform.report.lines import abbreviated
from adapter_conform.suites.base import ExclusionProvider, PlanRequest
from conform_harness import Conform
from hypothesis import given
from hypothesis import strategies as st

OPTIONS = RunOptions("fake", ("quiet",), "standard", 0, Path("out"))
PLUGIN: Any = SimpleNamespace(name="fake")


class QuietSuite:
    """Says nothing of exclusions."""

    name = "quiet"

    def plan(self, request: PlanRequest) -> Sequence[Case]:
        return []

    def run(self, case: Case, session: object) -> Outcome:
        raise AssertionError("nothing is planned")


class TalkingSuite(QuietSuite):
    name = "talking"

    def excluded(self, request: PlanRequest) -> dict[str, list[int]]:
        return {"rare": [7], "never": [], "common": [1, 2, 3]}


def test_only_suites_that_say_so_are_asked() -> None:
    quiet, talking = QuietSuite(), TalkingSuite()
    assert not isinstance(quiet, ExclusionProvider)
    assert isinstance(talking, ExclusionProvider)
    plan = make_plan(OPTIONS, [LoadedSuite("quiet", quiet), LoadedSuite("talking", talking)], PLUGIN)
    assert plan.excluded == {"talking": {"common": (1, 2, 3), "rare": (7,)}}
    assert list(plan.excluded["talking"]) == ["common", "rare"], "the most frequent reason comes first"


def test_exclusions_are_reported_everywhere_and_leave_the_verdict_alone(conform: Conform) -> None:
    done = conform("pass:2,excludes:9")
    assert (done.code, done.summary["verdict"]) == (0, "conformant")
    assert done.summary["planned"] == 2
    hostile = "no oracle \x1b[31m</script><i>"
    assert done.summary["excluded"] == {
        "fake": {
            "total": 9,
            "reasons": {
                "too large": {"count": 6, "lines": [2, 3, 5, 6, 8, 9]},
                hostile: {"count": 3, "lines": [1, 4, 7]},
            },
        }
    }
    assert list(done.summary["excluded"]["fake"]["reasons"]) == ["too large", hostile]
    assert "fake: 9 lines not planned" in done.stdout
    assert "too large" in done.stdout
    assert "\x1b[31m" not in done.stdout
    page = (done.out / "report.html").read_text()
    assert "Not planned by suite fake (9 lines): why" in page
    assert "2-3, 5-6, 8-9" in page
    assert "</script><i>" not in page


def test_a_run_without_exclusions_prints_no_table(conform: Conform) -> None:
    done = conform("pass")
    assert done.summary["excluded"] == {"fake": {"total": 0, "reasons": {}}}
    assert "not planned" not in done.stdout


def test_a_narrowed_run_still_writes_them_down(conform: Conform) -> None:
    done = conform("pass:2,excludes:3", "-k", "softmax")
    assert done.summary["planned"] == 1
    assert done.summary["excluded"]["fake"]["total"] == 3
    assert "not planned" not in done.stdout


@pytest.mark.parametrize(
    ("plugin", "complaint"),
    [("pass,excludes-badly", "numbers of lines"), ("pass,excludes-and-breaks", "broke down while planning")],
)
def test_unusable_exclusions_are_inconclusive(conform: Conform, plugin: str, complaint: str) -> None:
    done = conform(plugin)
    assert done.code == 3
    assert complaint in done.stdout
    assert done.summary["executed"] == 0


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        ([4], "4"),
        ([9, 7, 8, 3], "3, 7-9"),
        ([1, 3, 5, 7], "1, 3 and 2 more"),
        ([1, 2, 3, 9, 20, 21], "1-3, 9 and 2 more"),
    ],
)
def test_abbreviated_lines(lines: list[int], text: str) -> None:
    assert abbreviated(lines, most=2) == text


@given(lines=st.sets(st.integers(1, 200)), most=st.integers(1, 8))
def test_abbreviation_loses_no_line(lines: set[int], most: int) -> None:
    listed, _, more = abbreviated(lines, most).partition(" and ")
    runs = [[int(end) for end in run.split("-")] for run in listed.split(", ") if run]
    shown = {number for run in runs for number in range(run[0], run[-1] + 1)}
    assert shown <= lines
    assert len(lines) - len(shown) == int(more.removesuffix(" more") or 0)
    assert len(runs) <= most
