"""Which lines are planned and why the others are not; no Paddle."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from adapter_conform.replay.apis.table import Refusal
from adapter_conform.replay.lines import Line, LineFault, inputs_of, prepare, spec_of
from adapter_conform.replay.parser import ReplayFileError, parse_file, parse_line
from adapter_conform.replay.planning import Budget, choose
from adapter_conform.states import State
from adapter_conform.suites.base import PlanRequest, Suite
from adapter_conform.suites.replay import SUITE

SAMPLE = Path(__file__).with_name("sample_calls.txt")
REAL_FILE = os.environ.get("ADAPTER_REPLAY_FILE")


def needed(lines: Iterable[Line]) -> set[tuple[str, str]]:
    """Kernels with which all of ``lines`` can be run."""
    kernels = {(kernel.names[0], kernel.dtype) for line in lines for kernel in (*line.kernels, *line.also)}
    return kernels | {("contiguous", tensor.dtype) for line in lines for tensor in line.call.tensors}


def known(path: Path) -> list[Line]:
    lines = []
    for call in parse_file(path).calls:
        try:
            lines.append(prepare(call))
        except Refusal:
            continue
    return lines


def full_precision() -> set[tuple[str, str]]:
    return {(name, dtype) for name, dtype in needed(known(SAMPLE)) if "float16" not in dtype}


def request_for(path: Path | None, profile: str = "standard", seed: int = 1, without: str = "") -> PlanRequest:
    kernels = [
        SimpleNamespace(operator=name, dtype=dtype, accumulator="undefined")
        for name, dtype in sorted(full_precision())
        if name != without
    ]
    return PlanRequest(plugin=cast(Any, SimpleNamespace(kernels=kernels)), profile=profile, seed=seed, replay=path)


def refusal(text: str) -> str:
    with pytest.raises(Refusal) as caught:
        prepare(parse_line(text))
    return str(caught.value)


def reasons(request: PlanRequest) -> dict[str, list[int]]:
    """Reason -> lines that are planned although they cannot be judged."""
    found: dict[str, list[int]] = {}
    for case in SUITE.plan(request):
        if "unjudged" in case.payload:
            found.setdefault(case.payload["unjudged"], []).append(case.payload["line"])
    return found


def test_every_line_within_the_budget_is_a_case() -> None:
    request = request_for(SAMPLE)
    cases, excluded = SUITE.plan(request), SUITE.excluded(request)
    lines = {call.line: call.api for call in parse_file(SAMPLE).calls}
    planned = {case.payload["line"] for case in cases}
    left = [line for numbers in excluded.values() for line in numbers]
    assert planned | set(left) == set(lines)
    assert len(planned) + len(left) == len(lines)
    assert [case.id for case in cases] == [f"replay/{lines[line]}/{line}" for line in sorted(planned)]
    assert all(case.suite == "replay" and case.not_run is None for case in cases)
    assert list(excluded) == ["more than 8 MiB of tensors, the limit of profile standard"]
    unjudged = reasons(request)
    kinds = {reason.split(":")[0] for reason in unjudged}
    assert kinds == {"API not in the catalogue", "dtype not offered", "operator not offered"}
    (svd,) = (line for line, api in lines.items() if api == "paddle.linalg.svd")
    assert unjudged["API not in the catalogue: paddle.linalg.svd"] == [svd]


def test_a_line_that_cannot_be_judged_ends_as_unsupported_with_its_reason() -> None:
    cases = [case for case in SUITE.plan(request_for(SAMPLE)) if "unjudged" in case.payload]
    outcome = SUITE.run(cases[0], cast(Any, None))
    assert outcome.state is State.UNSUPPORTED
    assert outcome.message == cases[0].payload["unjudged"]
    assert not outcome.executed_on


def test_the_same_request_gives_the_same_plan() -> None:
    suite: Suite = SUITE
    assert suite.plan(request_for(SAMPLE)) == suite.plan(request_for(SAMPLE))
    assert suite.plan(request_for(None)) == []
    assert SUITE.excluded(request_for(None)) == {}


def test_a_kernel_that_is_not_declared_is_a_reason() -> None:
    unjudged = reasons(request_for(SAMPLE, without="softmax"))
    assert len(unjudged["operator not offered: the plugin declares no kernel softmax"]) == 1
    assert len(unjudged["dtype not offered: the plugin declares no kernel add for float16"]) == 1


def test_kernels_needed_on_the_way_count_too() -> None:
    line = prepare(parse_line('paddle.where(Tensor([2],"bool"), 0.0, 1.0, )'))
    assert {(kernel.names[0], kernel.dtype) for kernel in line.also} == {("full", "float32"), ("expand", "float32")}
    file = parse_file(SAMPLE)
    declared = full_precision() - {("expand", "float32")}
    unjudged = choose(file, declared, Budget.of("standard"), 0).unjudged
    lacking = "dtype not offered: the plugin declares no kernel expand for float32"
    assert any(
        (line.call.line, lacking) in [(call.line, reason) for call, reason in unjudged]
        for line in known(SAMPLE)
        if line.call.api == "paddle.where"
    )


def test_a_malformed_line_is_planned_as_not_run(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_text('paddle.sin(Tensor([2],"float32"), )\npaddle.sin(Tensor([2],"float32", )\n')
    cases = SUITE.plan(request_for(path))
    assert [case.id for case in cases] == ["replay/paddle.sin/1", "replay/malformed/2"]
    assert cases[0].not_run is None
    assert cases[1].not_run is not None
    assert "calls.txt:2:" in cases[1].not_run


def test_a_file_with_no_call_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_text("what is this\n")
    with pytest.raises(ReplayFileError, match="no well-formed call"):
        SUITE.plan(request_for(path))


def test_budgets(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    lines = [f'paddle.sin(Tensor([{side}],"float32"), )' for side in range(1, 401)]
    lines += [
        'paddle.sin(Tensor([3145728],"float32"), )',
        "paddle.zeros(list[100000,100000,], )",
        "paddle.arange(9000000000, )",
    ]
    path.write_text("\n".join(lines))
    smoke = request_for(path, "smoke")
    assert len(SUITE.plan(smoke)) == 300
    assert len(SUITE.excluded(smoke)["not in the sample of 300 lines of profile smoke"]) == 100
    assert SUITE.plan(smoke) == SUITE.plan(request_for(path, "smoke"))
    assert SUITE.plan(smoke) != SUITE.plan(request_for(path, "smoke", seed=2))
    standard = request_for(path, "standard")
    assert len(SUITE.plan(standard)) == 402
    assert reasons(standard) == {"the result would have more than 64 MiB, the limit of profile standard": [402, 403]}
    assert SUITE.excluded(standard) == {"more than 8 MiB of tensors, the limit of profile standard": [401]}
    full = request_for(path, "full")
    assert len(SUITE.plan(full)) == 403
    assert reasons(full) == {"the result would have more than 256 MiB, the limit of profile full": [402, 403]}


def test_what_would_take_more_memory_than_there_is_is_not_judged(tmp_path: Path) -> None:
    """The operands are small, the product has 100 Mi elements."""
    path = tmp_path / "calls.txt"
    path.write_text('paddle.matmul(Tensor([10240, 4],"float32"), Tensor([10240, 4],"float32"), transpose_y=True, )\n')
    assert prepare(parse_file(path).calls[0]).elements == 10240 * 10240
    ((reason, lines),) = reasons(request_for(path)).items()
    assert "more than 40 Mi elements" in reason
    assert lines == [1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('paddle.sin(Tensor([1],"float32"), 1, 2, )', "more arguments than replay knows"),
        ('paddle.sin(Tensor([1],"float32"), axis=1, )', "an argument 'axis' that replay does not know"),
        ("paddle.sin()", "without its argument 'x'"),
        ("paddle.sin(1.0, )", "no tensor among the arguments"),
        ('paddle.sin(Tensor([1],"complex64"), )', "no elements of dtype complex64"),
        ('paddle.matmul(Tensor([2, 2],"int32"), Tensor([2, 2],"int32"), )', "product of integers"),
        ('paddle.nn.functional.dropout(Tensor([1],"float32"), p=0.5, training=False, )', "in evaluation with p > 0"),
        (
            'paddle.nn.quant.weight_only_linear(Tensor([8],"float16"), Tensor([8, 8],"int8"), weight_dtype="int4", )',
            "int4",
        ),
        ("paddle.arange(0.1, 1.0, 0.3, )", "not whole"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    assert reason in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        'paddle.concat(list[Tensor([2, 3],"float32"),Tensor([3, 4],"float32"),], axis=0, )',
        'paddle.Tensor.reshape(Tensor([2, 3],"float32"), list[4,], )',
        'paddle.Tensor.__add__(Tensor([2, 3],"float32"), Tensor([2, 4],"float32"), )',
    ],
)
def test_a_line_that_cannot_be_is_its_own_fault(text: str) -> None:
    from adapter_conform.catalogue.bounds import Tracked
    from adapter_conform.catalogue.precision import Arithmetic

    line = prepare(parse_line(text))
    operands = [Tracked(array, Arithmetic.of("float32")) for array in inputs_of(line, 0)]
    with pytest.raises(LineFault, match="NumPy refuses"):
        spec_of(line).oracle(operands, {})


def test_indices_are_valid() -> None:
    line = prepare(parse_line('paddle.nn.functional.embedding(Tensor([50, 9],"int64"), Tensor([7, 3],"float32"), )'))
    ids, table = inputs_of(line, 0)
    assert (ids.min(), ids.max()) == (0, 6)
    assert table.shape == (7, 3)


@pytest.mark.skipif(not REAL_FILE, reason="ADAPTER_REPLAY_FILE does not name a file of recorded calls")
def test_the_recorded_calls_are_covered() -> None:
    file = parse_file(Path(str(REAL_FILE)))
    assert not file.errors
    without_half = [call for call in file.calls if not re.search(r'Tensor\(\[[^]]*\],"b?float16"', call.text)]
    lines = {line.call.line for line in known(Path(str(REAL_FILE)))}
    covered = sum(call.line in lines for call in without_half)
    assert covered >= 0.98 * len(without_half), f"{covered} of {len(without_half)} lines without half types"


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ('paddle.Tensor.__mul__(Tensor([4, 2],"float16"), Tensor([],"float32"), )', "float16"),
        ('paddle.Tensor.__mul__(Tensor([],"float32"), Tensor([4, 2],"bfloat16"), )', "bfloat16"),
        ('paddle.Tensor.__mul__(Tensor([4, 2],"float16"), Tensor([2],"float32"), )', "float32"),
        ('paddle.Tensor.__mul__(Tensor([],"float16"), Tensor([],"float32"), )', "float32"),
        ('paddle.Tensor.__mul__(Tensor([4, 2],"int64"), Tensor([],"float32"), )', "float32"),
    ],
)
def test_a_tensor_without_axes_does_not_widen_a_float_tensor(text: str, dtype: str) -> None:
    assert {kernel.dtype for kernel in prepare(parse_line(text)).kernels} == {dtype}


def test_a_list_as_an_operand_is_refused() -> None:
    assert "Python list" in refusal('paddle.Tensor.__rmul__(Tensor([4],"float16"), [[[0.5]]], )')
