"""Where the plugin's table and Paddle's registry disagree, and signatures that registration refused."""

from __future__ import annotations

from typing import Any

import pytest
from adapter_conform.states import Verdict
from adapter_conform.supervisor.describe import describe_kernels
from conform_harness import Conform
from fake_suite import SUITE, FakeSession
from test_conform_report import many_records, parsed, render_html, result_of

PASSED = [record for record in many_records(20) if record.state == "passed"]


def row(operator: str, registration: str, in_registry: bool, *refusals: str) -> dict[str, Any]:
    return {
        "operator": operator,
        "dtype": "float32",
        "registration": registration,
        "refusal": refusals[0] if refusals else "",
        "refusals": list(refusals),
        "accumulator": None,
        "provenance": "own",
        "in_paddle_registry": in_registry,
    }


def test_a_contradiction_is_listed_printed_and_not_conformant(conform: Conform) -> None:
    done = conform("pass:3,table-ghost")
    assert done.summary["counts"]["passed"] == 3
    assert (done.code, done.summary["verdict"]) == (1, "not conformant")
    (found,) = done.summary["contradictions"]
    assert (found["operator"], found["dtype"]) == ("matmul", "float32")
    assert "Paddle's registry holds none" in found["what"]
    assert f"contradiction: {found['what']}" in done.stdout
    assert "Contradiction: matmul/float32" in (done.out / "report.html").read_text()


@pytest.mark.parametrize(
    ("registration", "in_registry", "verdict"),
    [
        ("registered", True, Verdict.CONFORMANT),
        ("registered", False, Verdict.NOT_CONFORMANT),
        ("refused", False, Verdict.CONFORMANT),
        ("not_mounted", False, Verdict.CONFORMANT),
        ("refused", True, Verdict.CONFORMANT),
    ],
)
def test_only_a_claim_that_paddle_denies_contradicts(registration: str, in_registry: bool, verdict: Verdict) -> None:
    result = result_of(PASSED, kernels=[row("add", registration, in_registry)])
    assert result.verdict is verdict
    assert bool(result.contradictions) == (verdict is Verdict.NOT_CONFORMANT)


def test_a_contradiction_outweighs_an_inconclusive_run() -> None:
    kernels = [row("add", "registered", False)]
    assert result_of([], kernels=kernels).verdict is Verdict.NOT_CONFORMANT
    assert result_of(PASSED, kernels=kernels, stopped="SIGINT").verdict is Verdict.NOT_CONFORMANT


def test_many_contradictions_are_abridged_on_the_first_page() -> None:
    kernels = [row(f"operator_{number}", "registered", False) for number in range(50)]
    page = render_html(result_of(PASSED, kernels=kernels))
    parsed(page)
    assert page.count("Contradiction: ") == 20
    assert "and 30 other contradictions" in page


def test_refused_signatures_are_listed_and_leave_the_verdict_alone(conform: Conform) -> None:
    done = conform("pass:2,table-releases")
    assert (done.code, done.summary["contradictions"]) == (0, [])
    kernels = done.summary["kernels"]
    assert (kernels["declared"], kernels["registered"]) == (3, 2), "rows of other releases are the same kernel"
    assert kernels["refused"] == [
        {"operator": "add", "dtype": "float32", "refusal": "signature differs", "served": False},
        {"operator": "softmax", "dtype": "float32", "refusal": "expected (x, axis), given (x)", "served": True},
        {
            "operator": "softmax",
            "dtype": "float32",
            "refusal": "expected (x, axis), given (x, axis, <b>)",
            "served": True,
        },
    ]
    page = (done.out / "report.html").read_text()
    assert "Refused at registration (3)" in page
    assert "given (x, axis, &lt;b&gt;)" in page


def test_the_registered_signature_stands_for_a_kernel_wherever_it_is_listed() -> None:
    rows = describe_kernels(FakeSession(SUITE.load_plugin("table-releases")))
    assert [found["operator"] for found in rows].count("softmax") == 1
    (softmax,) = (found for found in rows if found["operator"] == "softmax")
    assert (softmax["registration"], softmax["refusal"]) == ("registered", "")
    assert len(softmax["refusals"]) == 2, "the same words twice are one refusal"


def test_registered_counts_kernels_not_rows(conform: Conform) -> None:
    from adapter_conform.report.summary import build_summary

    twice = [row("add", "registered", True), row("add", "registered", True), row("add", "refused", False)]
    other = {**row("add", "registered", True), "dtype": "int64"}
    kernels = build_summary(result_of(PASSED, kernels=[*twice, other]))["kernels"]
    assert (kernels["declared"], kernels["registered"]) == (2, 2)
