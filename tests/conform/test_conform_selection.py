"""The language of ``-k``."""

from __future__ import annotations

import pytest
from adapter_conform.errors import UsageProblem
from adapter_conform.selection import compile_expression, select_ids
from hypothesis import given
from hypothesis import strategies as st

IDS = ["ops/add/float32/0", "ops/add/float32/01", "ops/softmax_grad/float32/0", "ops/softmax/int64/(odd id) 'x'"]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("add", [0, 1]),
        ("ADD", [0, 1]),
        ("softmax and not grad", [3]),
        ("softmax or add", [0, 1, 2, 3]),
        ("not softmax", [0, 1]),
        ("not not softmax", [2, 3]),
        ("not (softmax or add)", []),
        ("softmax and (grad or int64)", [2, 3]),
        ("add or softmax and grad", [0, 1, 2]),  # "and" binds tighter
        ("(add or softmax) and grad", [2]),
        ("'(odd id)'", [3]),
        ('"odd id"', [3]),
        (IDS[0], [0]),  # exact, although it is also the beginning of the next one
        (IDS[3], [3]),  # exact, although it is no valid expression
    ],
)
def test_selection(expression: str, chosen: list[int]) -> None:
    assert select_ids(expression, IDS) == {IDS[index] for index in chosen}


@pytest.mark.parametrize(
    ("expression", "complaint", "column"),
    [
        ("", "found the end", 1),
        ("a and", "found the end", 6),
        ("a b", "expected 'and', 'or' or the end", 3),
        ("(a", r"expected '\)'", 3),
        ("a)", "expected 'and'", 2),
        ("or a", "found 'or'", 1),
        ("not", "found the end", 4),
        ("a and 'b", "quote", 7),
        ("()", r"found '\)'", 2),
    ],
)
def test_malformed_expressions_say_where(expression: str, complaint: str, column: int) -> None:
    with pytest.raises(UsageProblem, match=complaint) as caught:
        compile_expression(expression)
    assert f"column {column}\n" in str(caught.value)


def test_deep_nesting_is_refused_and_does_not_exhaust_the_stack() -> None:
    with pytest.raises(UsageProblem, match="nested deeper"):
        compile_expression("(" * 5000 + "a" + ")" * 5000)


@given(st.text(max_size=40))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        predicate = compile_expression(text)
    except UsageProblem:
        return
    assert predicate("some id") in (True, False)


words = st.sampled_from(["add", "grad", "float32", "soft", "0"])
expressions = st.recursive(
    words,
    lambda inner: st.one_of(
        inner.map(lambda a: f"not ({a})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) and ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) or ({pair[1]})"),
    ),
    max_leaves=8,
)


@given(expressions, expressions, st.sampled_from(IDS))
def test_laws_of_logic(a: str, b: str, case_id: str) -> None:
    left, right = compile_expression(a)(case_id), compile_expression(b)(case_id)
    assert compile_expression(f"({a}) and ({b})")(case_id) == (left and right)
    assert compile_expression(f"({a}) or ({b})")(case_id) == (left or right)
    assert compile_expression(f"not ({a})")(case_id) == (not left)
