"""The suite on refchip, whole and with faults planted in its collectives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adapter_conform.collectives.bandwidth import bus_bandwidth
from adapter_conform.collectives.operations import Variation
from adapter_conform.collectives.values import REDUCTIONS, exact_part, reduced
from adapter_conform.supervisor.preload import PRELOAD_VARIABLE
from conform_harness import Finished, run_conform

SAMPLE = "collectives/2ranks/sample/float32"

GRAPHS = "collectives/2ranks/graph_sample/float32"

FAULTS = {
    "rank_order:all_gather": "all_gather",
    "last_element:all_reduce": "all_reduce",
    "stale:broadcast": "broadcast",
    "lost_rank:reduce_scatter": "reduce_scatter",
    "wrong_sum:reduce": "reduce",
}
"""Fault and operation -> the figures that have to see it."""

GRAPH_FAULTS = {f"graph_{name}" for name in FAULTS.values()} | {"graph_mp_allreduce_sum", "graph_c_allreduce_sum"}
"""Collectives of static graphs reach the same table, so that the same faults have to be seen there."""


def _run(out: Path, *arguments: str, **environment: str) -> Finished:
    return run_conform(out, "--plugin", "refchip", "--suite", "collectives", "--jobs", "1", *arguments, **environment)


@pytest.mark.device
@pytest.mark.slow
def test_refchip_passes_with_proof(tmp_path: Path) -> None:
    run = _run(tmp_path / "out", "--profile", "smoke")
    records = {record["id"]: record for record in run.records}
    assert records.keys() == {SAMPLE, GRAPHS}
    for record in records.values():
        assert record["state"] == "passed", record["message"]
        assert record["executed_on"] == "refchip:0, refchip:1"
        assert all(figure["value"] == 0 for figure in record["errors"])
    assert records[SAMPLE]["details"]["calls"]["all_reduce"] >= 20
    built_of_it = ("graph_all_reduce", "graph_mp_allreduce_sum", "graph_c_allreduce_sum")
    reducing = [figure for figure in records[GRAPHS]["errors"] if figure["output"].startswith(built_of_it)]
    assert records[GRAPHS]["details"]["calls"]["all_reduce"] == 2 * len(reducing)
    assert run.code == 0


@pytest.mark.device
@pytest.mark.slow
def test_planted_faults_are_caught_where_they_are(fault_library: Path, tmp_path: Path) -> None:
    environment = {PRELOAD_VARIABLE: str(fault_library), "ADAPTER_COLLECTIVE_FAULT": ",".join(FAULTS)}
    run = _run(tmp_path / "out", "--profile", "smoke", **environment)
    records = {record["id"]: record for record in run.records}
    for name, faulty, sound in (
        (SAMPLE, set(FAULTS.values()), {"alltoall", "send_recv", "batch_p2p"}),
        (GRAPHS, GRAPH_FAULTS, {"graph_all_to_all", "graph_send_recv"}),
    ):
        record = records[name]
        assert record["state"] == "failed", record["message"]
        wrong = {figure["output"].split(" ")[0] for figure in record["errors"] if not figure["passed"]}
        healthy = {figure["output"].split(" ")[0] for figure in record["errors"] if figure["passed"]}
        assert wrong >= faulty, record["message"]
        assert sound <= healthy - wrong
    record = records[SAMPLE]
    for plan in FAULTS:
        assert f"planted {plan.replace(':', ' in ')}" in record["details"]["ranks_wrote"]
    assert run.code == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_inputs_are_exact_in_every_order(dtype: str, reduction: str, ranks: int) -> None:
    parts = [exact_part(7, rank, ranks, 500, dtype, reduction) for rank in range(ranks)]
    forward, backward = reduced(parts, reduction), reduced(parts[::-1], reduction)
    assert (forward == backward).all()
    assert len({part.tobytes() for part in parts}) == ranks
    # Adding one by one in the dtype itself, as a careless device would, gives the same: nothing is rounded or lost.
    if reduction == "sum":
        total = parts[0]
        for part in parts[1:]:
            total = (total + part).astype(total.dtype)
        assert (total == forward).all()
    exact = sum(part.astype(np.float64) for part in parts)
    if reduction == "avg":
        assert (forward.astype(np.float64) == exact / ranks).all()


def test_bandwidth_follows_nccl_tests() -> None:
    assert bus_bandwidth("all_reduce", 4, 10**9, 1.0) == (1.0, 1.5)
    assert bus_bandwidth("all_gather", 4, 10**9, 0.5) == (2.0, 1.5)
    assert bus_bandwidth("broadcast", 4, 10**9, 1.0) == (1.0, 1.0)


def test_a_variation_survives_its_way_to_a_rank() -> None:
    variation = Variation("all_reduce", "float32", 7, "sum", misaligned=True, members=(0, 2), repeat=3)
    assert Variation.from_json(variation.to_json()) == variation
    assert variation.label() == "all_reduce float32, sum, 7, misaligned, repeated 3, group 0+2"
