"""The suite catches what is planted, where it is planted and for that reason, and goes on: a part of the selftest."""

from __future__ import annotations

import pytest
from _selftest import SAMPLE, Proof, run_selftest

pytestmark = [pytest.mark.device, pytest.mark.slow]


@pytest.mark.parametrize("name", SAMPLE)
def test_the_fault_is_caught(proof: Proof, name: str) -> None:
    (found,) = (row for row in proof.summary["table"] if row["name"] == name)
    assert found["caught"] == 1, found["misses"]
    assert found["effective_cases"] > 0
    assert set(found["caught_by"]) <= set(found["expected"])


def test_the_healthy_device_raises_no_alarm(proof: Proof) -> None:
    assert proof.summary["false_alarms"] == 0, proof.summary["alarms"]
    assert proof.summary["healthy"]["cases"] > 10 * (len(SAMPLE) - 5), "all but five concern many cases"


def test_the_selftest_says_so(proof: Proof) -> None:
    assert proof.code == 0, proof.stdout
    assert (proof.summary["faults"], proof.summary["caught"]) == (len(SAMPLE), len(SAMPLE))
    assert f"{len(SAMPLE)} of {len(SAMPLE)} faults caught with each of 1 seed; 0 false alarms" in proof.stdout
    page = proof.page.read_text()
    assert all(f"| {name} |" in page for name in SAMPLE)


def test_wrong_numbers_are_caught_almost_wherever_they_are(proof: Proof) -> None:
    rows = {row["name"]: row for row in proof.summary["table"]}
    for name in ("swapped_lanes", "swallowed_nan", "gradient_twice", "unwritten_tail", "stale_output"):
        assert rows[name]["noticed_cases"] == rows[name]["effective_cases"], rows[name]


def test_broken_calls_name_the_kernel(proof: Proof) -> None:
    for operator, words in (
        ("tile", "the kernel wrote out of bounds: byte 0 behind an output"),
        ("isnan", "the kernel never allocated its output"),
    ):
        for case in ("eager-0", "static-0"):  # the static executor has to pass the message on too
            record = proof.record(f"ops/{operator}/float32/{case}")
            assert record["state"] == "failed"
            assert f"refchip: kernel {operator} (float32): {words}" in record["message"]


def test_a_crash_costs_one_case(proof: Proof) -> None:
    record = proof.record("ops/sin/float32/eager-0")
    assert record["state"] == "crashed"
    assert "SIGSEGV" in record["message"]
    assert "planted crash in ops/sin/float32/eager-0" in record["details"]["log_tail"]


def test_a_hang_costs_one_case(proof: Proof) -> None:
    record = proof.record("ops/rsqrt/float16/eager-0")
    assert record["state"] == "hung"
    assert "no answer within 5 s" in record["message"]


def test_what_ran_elsewhere_has_no_proof(proof: Proof) -> None:
    assert proof.record("ops/isinf/float32/eager-0")["state"] == "fell_back"
    widened = proof.record("ops/tanh/float16/eager-0")
    assert widened["state"] == "vacuous"
    assert "tanh/float16, tanh_grad/float16 was not counted" in widened["message"]


def test_the_runs_go_on_and_keep_everything(proof: Proof) -> None:
    for done in proof.rounds:
        assert done.code == 1
        assert done.summary["verdict"] == "not conformant"
        assert done.summary["planned"] == done.summary["executed"] == len(done.records)
        assert "ADAPTER_CONFORM_PRELOAD" in done.summary["suspicions"][0]
        assert (done.out / "report.html").is_file()


def test_resume_makes_no_run_twice(proof: Proof) -> None:
    made = [done.out for done in proof.rounds]
    again = run_selftest(proof.page.parent, "--resume")
    assert again.code == 0
    assert [done.out for done in again.rounds] == made
    assert again.summary == proof.summary
