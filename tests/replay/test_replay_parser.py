"""Lines of a replay file: what is read, what is refused and how, and the round trip through text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from adapter_conform.errors import UsageProblem
from adapter_conform.replay.parser import MAX_DEPTH, ReplayFileError, ReplaySyntaxError, parse_file, parse_line
from adapter_conform.replay.syntax import DTYPES, Call, DtypeArg, SliceArg, TensorArg, Value, render
from hypothesis import given
from hypothesis import strategies as st

SAMPLE = Path(__file__).with_name("sample_calls.txt")


def first(argument: str) -> Value:
    return parse_line(f"paddle.f({argument}, )").args[0]


def test_a_whole_line() -> None:
    call = parse_line('paddle.matmul(Tensor([1, 8, 64],"float16"), Tensor([64, 128],"float16"), transpose_y=True, )', 7)
    assert call.api == "paddle.matmul"
    assert call.args == (TensorArg((1, 8, 64), "float16"), TensorArg((64, 128), "float16"))
    assert call.kwargs == (("transpose_y", True),)
    assert call.line == 7


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-100", -100),
        ("1e-06", 1e-06),
        ("-3.4028234663852886e+38", -3.4028234663852886e38),
        ("0.", 0.0),
        ("inf", math.inf),
        ("-math.inf", -math.inf),
        ("None", None),
        ("True", True),
        ("Ellipsis", ...),
        ('"upscale_in_train"', "upscale_in_train"),
        ("'i,j->ij'", "i,j->ij"),
        (r'"a\"b\\c\n"', 'a"b\\c\n'),
        ("Dtype(float32)", DtypeArg("float32")),
        ("VarType(int64)", DtypeArg("int64")),
        ('Dtype("paddle.bfloat16")', DtypeArg("bfloat16")),
        ('Tensor([],"int64")', TensorArg((), "int64")),
        ("slice(None,-1,2)", SliceArg(None, -1, 2)),
        ("complex(1,-2.5)", 1 - 2.5j),
        ("list[]", []),
        ("list[0,2,]", [0, 2]),
        ("tuple(1,)", (1,)),
        ("[[[0.5]]]", [[[0.5]]]),
        (
            'tuple(slice(None,Tensor([],"int64"),None),Ellipsis,None,list[True,],)',
            (SliceArg(None, TensorArg((), "int64"), None), ..., None, [True]),
        ),
    ],
)
def test_values(text: str, value: Value) -> None:
    found = first(text)
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    value = first("nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ('paddle.matmul(Tensor([1, 8],"float16"], )', 38, "expected ')' after a tensor's dtype, found ']'"),
        ("paddle.add(1 2)", 14, "expected ',' or ')' after an argument, found '2'"),
        ("paddle.add(1, ", 15, "found the end of the line"),
        ("paddle.add", 11, "expected '(' after paddle.add"),
        ("paddle.add(1) 2", 15, "expected the end of the line"),
        ("matmul(1)", 1, "expected the full name of a Paddle API"),
        ("(1)", 1, "expected the name of a Paddle API"),
        ('paddle.add(Tensor([1],"flot32"), )', 23, "unknown dtype 'flot32'"),
        ('paddle.add(Tensor([1, -1],"int64"), )', 19, "integers >= 0"),
        ('paddle.add(Tensor([1.5],"int64"), )', 19, "integers >= 0"),
        ("paddle.add(Tensor([1]), )", 22, "expected ',' between a tensor's shape and dtype"),
        ("paddle.add(Tensor([1],float32), )", 23, "dtype in quotes"),
        ("paddle.add(Dtype(3), )", 18, "expected a dtype's name"),
        ("paddle.add(slice(1,2), )", 17, "expected slice(start,stop,step), found 2 values"),
        ("paddle.add(complex(1), )", 19, "expected complex(real,imag)"),
        ('paddle.add("open, )', 12, "string without its closing quote"),
        (r'paddle.add("\x41", )', 12, "unknown escape"),
        ("paddle.add(1.2.3, )", 12, "unexpected character"),
        ("paddle.add(1; b)", 13, "unexpected character ';'"),
        ("paddle.add(a; b)", 12, "found 'a'"),
        ("paddle.add(axis=1, axis=2)", 20, "argument 'axis' is given twice"),
        ("paddle.add(axis=1, 2)", 20, "positional arguments cannot follow named ones"),
        ("paddle.add(list[1, 2)", 21, "expected ',' or ']' after a value"),
        ('paddle.add(__import__("os").system("x"), )', 12, "expected a value"),
        ("paddle.add((lambda: 1)(), )", 13, "expected a value"),
        (f"paddle.add({'9' * 5000}, )", 12, "integer of more than 40 digits"),
        (f"paddle.add({'[' * 1000}", 12 + MAX_DEPTH, "nested deeper"),
    ],
)
def test_malformed_lines_say_where_and_what(text: str, column: int, problem: str) -> None:
    with pytest.raises(ReplaySyntaxError) as caught:
        parse_line(text, line=12, file="calls.txt")
    error = caught.value
    assert (error.line, error.column) == (12, column)
    head, shown, caret = str(error).split("\n")
    assert head.startswith(f"calls.txt:12:{column}: ")
    assert problem in head
    pointed = shown[len(caret) - 1 :] if len(caret) <= len(shown) else ""
    assert pointed == text[column - 1 :][: len(pointed)]
    assert len(shown) < 200


values: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
    | st.just(...)
    | st.builds(DtypeArg, st.sampled_from(sorted(DTYPES)))
    | st.builds(TensorArg, st.lists(st.integers(0, 10**6), max_size=5).map(tuple), st.sampled_from(sorted(DTYPES))),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.builds(SliceArg, inner, inner, inner)
    ),
    max_leaves=12,
)
words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@given(
    api=st.lists(words, min_size=2, max_size=4).map(".".join),
    args=st.lists(values, max_size=4),
    kwargs=st.dictionaries(words, values, max_size=3),
)
def test_round_trip(api: str, args: list[Value], kwargs: dict[str, Value]) -> None:
    call = Call(api, tuple(args), tuple(kwargs.items()))
    text = render(call)
    found = parse_line(text)
    assert repr((found.api, found.args, found.kwargs)) == repr((call.api, call.args, call.kwargs))
    assert render(found) == text


@given(st.text(st.sampled_from('paddle.Tensor([], "int64")=slice listtuple-1e\\\'\n\t\x00é'), max_size=60))
def test_any_text_parses_or_is_refused_in_order(text: str) -> None:
    refused = None
    try:
        parse_line(text)
    except ReplaySyntaxError as error:
        refused = error
    assert refused is None or 1 <= refused.column <= len(text) + 1


def test_a_malformed_line_does_not_lose_the_others(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    path.write_bytes(b"# note\r\n\r\npaddle.f(1, )\r\npaddle.f(1\npaddle.g(\xff)\npaddle.h()\n")
    file = parse_file(path)
    assert [(call.api, call.line) for call in file.calls] == [("paddle.f", 3), ("paddle.h", 6)]
    assert [error.line for error in file.errors] == [4, 5]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("", "holds no call"), ("# only\n\n", "holds no call"), ("nonsense\n", "holds no well-formed call (1 malformed")],
)
def test_a_file_with_no_call_is_a_usage_error(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "calls.txt"
    path.write_text(content)
    with pytest.raises(ReplayFileError) as caught:
        parse_file(path)
    assert isinstance(caught.value, UsageProblem)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unreadable_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ReplayFileError, match="cannot be read: No such file"):
        parse_file(tmp_path / "absent.txt")
    with pytest.raises(ReplayFileError, match="cannot be read: Is a directory"):
        parse_file(tmp_path)


def test_the_sample_renders_as_it_stands() -> None:
    file = parse_file(SAMPLE)
    assert not file.errors
    assert [render(call) for call in file.calls] == [call.text for call in file.calls]
