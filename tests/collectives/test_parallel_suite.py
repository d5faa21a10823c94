"""Suite parallel with faults planted in the collectives under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE
from conform_harness import run_conform


def _first_losses(record: dict[str, Any]) -> tuple[float, float]:
    losses = record["details"]["loss"]
    return losses["one card"][0], losses["ranks"][0]


@pytest.mark.device
@pytest.mark.slow
def test_a_lost_gradient_and_a_wrong_order_of_sends_are_caught(fault_library: Path, tmp_path: Path) -> None:
    environment = {
        PRELOAD_VARIABLE: str(fault_library),
        "ADAPTER_COLLECTIVE_FAULT": "lost_rank:all_reduce,order:send",
    }
    arguments = ("--plugin", "refchip", "--suite", "parallel", "--profile", "smoke", "--jobs", "1")
    run = run_conform(tmp_path / "out", *arguments, "-k", "dp2 or pp2", **environment)
    data, stages = run.records
    assert (data["operator"], data["state"]) == ("dp2", "failed"), data["message"]
    alone, together = _first_losses(data)
    assert together == pytest.approx(alone, rel=1e-6), "the first loss comes before any gradient"
    assert "relative error per step" in data["message"]
    assert (stages["operator"], stages["state"]) == ("pp2", "failed"), stages["message"]
    alone, together = _first_losses(stages)
    assert together != pytest.approx(alone, rel=1e-5), "the second stage saw the rows in another order"
    assert run.code == 1
