"""What a workload needs against what a plugin offers; no Paddle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adapter_conform.errors import UsageProblem
from adapter_conform.replay.parser import ReplayFileError, parse_file
from adapter_conform.tracing.gaps import Offer, plan_rows, plan_summary
from adapter_conform.tracing.needs import read_workloads
from adapter_conform.tracing.record import KernelUse, Trace, read_trace, write_trace

OFFER = Offer(
    "acme",
    device=frozenset({("matmul", "float32"), ("scale", "float32")}),
    host=frozenset({("diag", "float32"), ("matmul", "float32")}),
)


def kernel(name: str, dtype: str = "float32", backend: str = "acme") -> KernelUse:
    return KernelUse(name, dtype, "forward", "eager", backend, "acme", ((2, 3),), ("bool",))


def a_trace(path: Path) -> Path:
    trace = Trace({"paddle": "3.3.1"})
    trace.count(kernel("matmul"), 0.5)
    for _ in range(3):
        trace.count(kernel("diag", backend="cpu"), 0.01)
    trace.count(kernel("flash_attn", "float16"), 0.2)
    trace.calls = {'paddle.sin(Tensor([2],"float32"), )': 4}
    write_trace(path, trace)
    return path


def test_a_trace_is_read_back_as_written(tmp_path: Path) -> None:
    trace = read_trace(a_trace(tmp_path / "t.jsonl"))
    assert trace.header["paddle"] == "3.3.1"
    assert trace.kernels[kernel("diag", backend="cpu")].calls == 3
    assert trace.calls == {'paddle.sin(Tensor([2],"float32"), )': 4}


def test_replay_reads_the_calls_of_a_trace(tmp_path: Path) -> None:
    (call,) = parse_file(a_trace(tmp_path / "t.jsonl")).calls
    assert call.api == "paddle.sin"


def test_what_is_lacking_comes_first_by_time_and_says_what_happens(tmp_path: Path) -> None:
    workload = read_workloads([a_trace(tmp_path / "t.jsonl")])
    rows = plan_rows(workload, OFFER)
    assert [(row.operator, row.outcome, row.calls) for row in rows] == [
        ("flash_attn", "raises", 1),
        ("diag", "falls back", 3),
        ("matmul", "present", 1),
    ]
    summary = plan_summary(rows, workload, OFFER)
    assert [rows[i].operator for i in summary["by_time"]] == ["flash_attn", "diag"]
    assert [rows[i].operator for i in summary["by_calls"]] == ["diag", "flash_attn"]
    assert summary["counts"] == {"raises": 1, "falls back": 1, "present": 1}


def test_without_paddle_a_missing_kernel_is_absent(tmp_path: Path) -> None:
    offer = Offer("acme", OFFER.device, host=None)
    outcomes = {row.outcome for row in plan_rows(read_workloads([a_trace(tmp_path / "t.jsonl")]), offer)}
    assert outcomes == {"present", "absent"}


def test_lists_of_kernels_and_recorded_calls_are_workloads_too(tmp_path: Path) -> None:
    kernels = tmp_path / "kernels.json"
    rows = [{"kernel": "diag", "dtype": "float32", "calls": 7}, {"kernel": "scale", "dtype": "float32", "calls": 1}]
    kernels.write_text(json.dumps({"workloads": {"llama": {"rows": rows}}}))
    calls = tmp_path / "calls.txt"
    calls.write_text(
        'paddle.matmul(Tensor([2, 3],"float32"), Tensor([3, 2],"float32"), )\n'
        'paddle.linalg.svd(Tensor([2, 2],"float32"), )\n'
    )
    workload = read_workloads([kernels, calls])
    assert {(row.operator, row.calls) for row in plan_rows(workload, OFFER)} == {
        ("diag", 7),
        ("scale", 1),
        ("matmul", 1),
    }
    assert workload.unknown == {"API not in the catalogue: paddle.linalg.svd": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"workloads": 3}', "no list of kernels"),
        ('{"format":"adapter-trace","version":9}\n', "version 9"),
        ('{"format":"adapter-trace","version":1}\n{"kernel":"x"', "cut off"),
        ("what is this\n", "no well-formed call"),
    ],
)
def test_a_broken_workload_is_refused_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "workload"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=says):
        read_workloads([path])


def test_a_trace_that_is_cut_off_cannot_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"format":"adapter-trace","version":1}\n{"call":"paddle.s')
    with pytest.raises(ReplayFileError, match="cut off"):
        parse_file(path)
