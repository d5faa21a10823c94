"""The language of ``-k``: words joined by ``and``, ``or``, ``not`` and parentheses, matched against case ids.

A word selects the ids that contain it, in any case of letters. Words with spaces, parentheses or keywords in them are
quoted with ``'`` or ``"``. An expression that equals one planned id selects exactly that case, whatever stands in it.

    expression := conjunction ("or" conjunction)*
    conjunction := negation ("and" negation)*
    negation := "not" negation | "(" expression ")" | word
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from adapter_conform.errors import UsageProblem

__all__ = ["Predicate", "compile_expression", "select_ids"]

Predicate = Callable[[str], bool]

_TOKEN = re.compile(r"""\s*(?:(?P<paren>[()])|'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<word>[^\s()'"]+))""")
_MAX_DEPTH = 100


@dataclass(frozen=True)
class _Token:
    kind: str
    """``"("``, ``")"``, ``"and"``, ``"or"``, ``"not"``, ``"word"`` or ``"end"``."""
    text: str
    position: int


def select_ids(expression: str, ids: Iterable[str]) -> set[str]:
    """The ids that ``expression`` selects.

    Raises:
        UsageProblem: the expression is malformed; the message shows where.
    """
    known = set(ids)
    if expression in known:
        return {expression}
    matches = compile_expression(expression)
    return {case_id for case_id in known if matches(case_id)}


def compile_expression(expression: str) -> Predicate:
    """A predicate over case ids.

    Raises:
        UsageProblem: the expression is malformed; the message shows where.
    """
    parser = _Parser(expression)
    predicate = parser.disjunction(0)
    parser.expect_end()
    return predicate


class _Parser:
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = _tokenize(expression)
        self.index = 0

    @property
    def current(self) -> _Token:
        return self.tokens[self.index]

    def take(self, kind: str) -> bool:
        if self.current.kind != kind:
            return False
        self.index += 1
        return True

    def disjunction(self, depth: int) -> Predicate:
        terms = [self.conjunction(depth)]
        while self.take("or"):
            terms.append(self.conjunction(depth))
        return terms[0] if len(terms) == 1 else lambda case_id: any(term(case_id) for term in terms)

    def conjunction(self, depth: int) -> Predicate:
        terms = [self.negation(depth)]
        while self.take("and"):
            terms.append(self.negation(depth))
        return terms[0] if len(terms) == 1 else lambda case_id: all(term(case_id) for term in terms)

    def negation(self, depth: int) -> Predicate:
        if depth > _MAX_DEPTH:
            raise _problem(self.expression, self.current.position, f"nested deeper than {_MAX_DEPTH}")
        if self.take("not"):
            inner = self.negation(depth + 1)
            return lambda case_id: not inner(case_id)
        if self.take("("):
            predicate = self.disjunction(depth + 1)
            if not self.take(")"):
                raise _problem(self.expression, self.current.position, "expected ')'")
            return predicate
        return self.word()

    def word(self) -> Predicate:
        token = self.current
        if not self.take("word"):
            found = "the end" if token.kind == "end" else repr(token.text)
            raise _problem(self.expression, token.position, f"expected a word, 'not' or '(', found {found}")
        needle = token.text.lower()
        return lambda case_id: needle in case_id.lower()

    def expect_end(self) -> None:
        if self.current.kind != "end":
            raise _problem(self.expression, self.current.position, "expected 'and', 'or' or the end")


def _tokenize(expression: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(expression.rstrip())
    while position < end:
        match = _TOKEN.match(expression, position)
        if match is None:
            start = position + len(expression[position:]) - len(expression[position:].lstrip())
            raise _problem(expression, start, "a quote that is not closed")
        tokens.append(_token_of(match))
        position = match.end()
    return [*tokens, _Token("end", "", len(expression))]


def _token_of(match: re.Match[str]) -> _Token:
    name = match.lastgroup or ""
    text = match.group(name)
    position = match.start(name)
    if name == "paren":
        return _Token(text, text, position)
    if name == "word" and text.lower() in ("and", "or", "not"):
        return _Token(text.lower(), text, position)
    return _Token("word", text, position)


def _problem(expression: str, position: int, why: str) -> UsageProblem:
    return UsageProblem(
        f"-k cannot be read: {why} at column {position + 1}\n  {expression}\n  {' ' * position}^\n"
        "Join words with and, or, not and parentheses, or give one case's full id; quote words that hold any of these."
    )
