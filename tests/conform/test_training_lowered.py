"""Reading placement out of Paddle's printed programs."""

from __future__ import annotations

import re

import pytest
from adapter_conform.models.lowered import moved_to_host, parse_lowered, print_lowered


def kernel(results: str, name: str, operands: str, backend: str, dtype: str = "float32", suffix: str = "") -> str:
    """One line as Paddle 3.3.1 prints it."""
    return (
        f'    ({results}) = "{name}{suffix}(phi_kernel)" ({operands}) {{dtype:{dtype},'
        f'kernel_key:<backend:{backend}|layout:NCHW|dtype:{dtype}>,kernel_name:"{name}",op_name:"pd_op.{name}{suffix}",'
        f"origin_id:9,stop_gradient:[true]}} : (custom_device_tensor<8x32xf32>) -> custom_device_tensor<8x32xf32>"
    )


def program(*lines: str, stage: str = "IR After RemoveShadowFeedPass -------------------") -> str:
    return "\n".join(
        [stage, "{", '    (%0) = "builtin.parameter" [id:906] () {parameter_name:"w"} : () -> t', *lines, "}"]
    )


def test_kernels_are_read_with_operands_and_backend() -> None:
    text = program(
        kernel("%3", "full_int_array", "", "CPU", "int64"),
        kernel("%4", "slice", "%0, %3, %3", "chip"),
        kernel("%5, %6", "split", "%4", "chip"),
    )
    first, second, third = parse_lowered(text)
    assert (first.key, first.backend, first.operands) == ("full_int_array/int64", "CPU", ())
    assert (second.operator, second.dtype, second.backend) == ("slice", "float32", "chip")
    assert second.operands == ("%0", "%3", "%3")
    assert third.results == ("%5", "%6")


def test_only_the_last_stage_counts() -> None:
    early = program(kernel("%1", "relu", "%0", "CPU"), stage="IR after lowering = {")
    assert [k.backend for k in parse_lowered(early + "\n" + program(kernel("%1", "relu", "%0", "chip")))] == ["chip"]


@pytest.mark.parametrize("text", ["", "no program at all\n", kernel("%1", "relu", "%0", "CPU")])
def test_text_without_a_lowered_program_gives_nothing(text: str) -> None:
    assert parse_lowered(text) == ()


def test_host_constants_and_what_follows_from_them_alone_are_not_moved() -> None:
    text = program(
        kernel("%1", "full", "", "CPU"),
        kernel("%2", "assign_value", "%7", "CPU", suffix="_"),
        kernel("%3", "full_like", "%2, %1", "CPU"),
        kernel("%4", "add", "%3, %2", "CPU", suffix="_"),
        kernel("%5", "memcpy_h2d", "%4", "chip"),
        kernel("%6", "where", "%0, %5, %5", "chip"),
    )
    assert moved_to_host(parse_lowered(text)) == []


def test_a_kernel_on_device_data_is_moved_and_so_is_what_sticks_to_it() -> None:
    text = program(
        kernel("%1", "full", "", "CPU"),
        kernel("%2", "memcpy_d2h", "%0", "chip"),
        kernel("%3", "softmax", "%2", "CPU"),
        kernel("%4", "scale", "%3, %1", "CPU"),
        kernel("%5", "arange", "", "CPU", "int64"),
    )
    assert [k.key for k in moved_to_host(parse_lowered(text))] == ["softmax/float32", "scale/float32", "arange/int64"]


@pytest.mark.paddle
def test_paddle_prints_what_the_parser_reads(capfd: pytest.CaptureFixture[str]) -> None:
    paddle = pytest.importorskip("paddle")

    def scaled_product(x, y):  # type: ignore[no-untyped-def]
        return paddle.nn.functional.softmax(paddle.matmul(x, y) * 2.0)

    paddle.set_device("cpu")
    static = paddle.jit.to_static(scaled_product, full_graph=True)
    x = paddle.ones([4, 4])
    with paddle.no_grad(), print_lowered(paddle) as read:
        static(x, x)
    assert {k.operator for k in read.kernels if k.backend == "CPU"} >= {"matmul", "softmax", "scale"}
    assert {k.operator for k in moved_to_host(read.kernels)} >= {"matmul", "softmax", "scale"}
    assert not paddle.get_flags("FLAGS_print_ir")["FLAGS_print_ir"]
    assert not re.search("phi_kernel", capfd.readouterr().out), "the program must not reach the terminal"
    print("still here")
    assert capfd.readouterr().out == "still here\n"
