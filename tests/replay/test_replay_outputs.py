"""How large a result is, is known before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapter_conform.catalogue.bounds import Tracked, value_of
from adapter_conform.catalogue.precision import Arithmetic, is_float
from adapter_conform.errors import UsageProblem
from adapter_conform.replay.apis.table import Refusal
from adapter_conform.replay.lines import Line, LineFault, inputs_of, prepare, spec_of
from adapter_conform.replay.outputs import output_elements
from adapter_conform.replay.parser import parse_file, parse_line
from adapter_conform.replay.planning import MIB, Budget, choose, require_memory
from adapter_conform.textfiles import read_text

SAMPLE = Path(__file__).with_name("sample_calls.txt")

HUGE = [
    'paddle.tile(Tensor([1000],"float32"), [1000, 1000000], )',
    'paddle.expand(Tensor([1],"float32"), [1000000, 1000000], )',
    'paddle.add(Tensor([1000000, 1],"float32"), Tensor([1, 1000000],"float32"), )',
    'paddle.matmul(Tensor([1000000, 1],"float32"), Tensor([1, 1000000],"float32"), )',
    'paddle.matmul(Tensor([1, 1000000],"float32"), Tensor([1, 1000000],"float32"), transpose_x=True, )',
    'paddle.outer(Tensor([1000000],"float32"), Tensor([1000000],"float32"), )',
    'paddle.diag(Tensor([1000000],"float32"), )',
    'paddle.nn.functional.embedding(Tensor([100000],"int64"), Tensor([10, 100000],"float32"), )',
    'paddle.gather(Tensor([2, 100000],"float32"), Tensor([100000],"int64"), )',
    'paddle.Tensor.__getitem__(Tensor([2, 100000],"float32"), Tensor([100000],"int64"), )',
    "paddle.arange(0, 1000000000000, 1, )",
    "paddle.full([1000000, 1000000], 1.0, )",
    'paddle.einsum("i,j->ij", Tensor([1000000],"float32"), Tensor([1000000],"float32"), )',
    'paddle.where(Tensor([1000000, 1],"bool"), Tensor([1, 1000000],"float32"), Tensor([1],"float32"), )',
    'paddle.nn.functional.scaled_dot_product_attention(Tensor([1, 100000, 1, 8],"float32"), '
    'Tensor([1, 100000, 1, 8],"float32"), Tensor([1, 100000, 1, 8],"float32"), )',
]


def small_lines() -> list[Line]:
    lines = []
    for call in parse_file(SAMPLE).calls:
        try:
            line = prepare(call)
        except Refusal:
            continue
        if line.bytes <= MIB:
            lines.append(line)
    return lines


def results_of(line: Line) -> list[int]:
    model = Arithmetic.of("float32")
    arrays = inputs_of(line, 1)
    operands = [Tracked(a.astype("float64"), model) if is_float(a.dtype.name) else a for a in arrays]
    return [int(value_of(result).size) for result in spec_of(line).oracle(operands, {})]


def test_no_result_is_larger_than_was_said() -> None:
    checked = 0
    for line in small_lines():
        try:
            sizes = results_of(line)
        except LineFault:
            continue
        said = output_elements(line.call, line.api, line.arguments)
        largest_input = max((tensor.size for tensor in line.call.tensors), default=1)
        assert max(sizes) <= max(said, largest_input), line.call.text
        checked += 1
    assert checked >= 50


@pytest.mark.parametrize("text", HUGE)
def test_a_huge_result_is_refused_by_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calls.txt"
    path.write_text(text + "\n")
    line = prepare(parse_line(text))
    assert output_elements(line.call, line.api, line.arguments) >= 10**9
    with pytest.raises(Refusal, match="more than 40 Mi elements would take more than 3 GiB"):
        require_memory(line)
    offered = [(name, k.dtype) for k in (*line.kernels, *line.also) for name in k.names]
    assert choose(parse_file(path), [*offered, ("contiguous", "float32")], Budget.of("full"), 0).chosen == []


def test_ordinary_results_are_not_refused() -> None:
    for text in (
        'paddle.multiply(Tensor([1000000],"float32"), Tensor([1000000],"float32"), )',
        'paddle.nn.functional.linear(Tensor([2048, 1, 512],"float32"), Tensor([512, 512],"float32"), )',
        'paddle.expand(Tensor([5000, 1],"float32"), [-1, 64], )',
    ):
        line = prepare(parse_line(text))
        require_memory(line)
        assert output_elements(line.call, line.api, line.arguments) <= 2 * 10**6, text


def test_a_byte_order_mark_is_no_part_of_the_first_call(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b'paddle.exp(Tensor([2],"float32"), )\n')
    file = parse_file(path)
    assert [call.api for call in file.calls] == ["paddle.exp"]
    assert file.errors == []


def test_bytes_that_are_not_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_bytes('paddle.exp(Tensor([2],"float32"), )\npaddle.é("'.encode() + b'\xff")\n')
    file = parse_file(path)
    assert len(file.calls) == 1
    (error,) = file.errors
    assert (error.line, error.column) == (2, 11)
    assert "byte 0xff is not UTF-8; save the file as UTF-8 text" in str(error)


def test_files_of_users_are_read_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"\xef\xbb\xbfa\nb", b"a\nb"):
        path.write_bytes(data)
        assert read_text(path, "workload") == "a\nb"
    path.write_bytes(b"a\nbc\xff")
    with pytest.raises(UsageProblem, match=r"workload .*file: line 2, byte 3 \(0xff\) is not UTF-8"):
        read_text(path, "workload")
    with pytest.raises(UsageProblem, match="cannot be read"):
        read_text(tmp_path, "workload")
