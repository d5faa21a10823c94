"""Reads replay files: one recorded Paddle call a line, e.g. ``paddle.matmul(Tensor([2, 3],"float32"), axis=0, )``.

Grammar (commas may trail)::

    line     = name "(" [ argument { "," argument } ] ")"
    argument = [ word "=" ] value
    value    = number | string | "None" | "True" | "False" | "Ellipsis" | "Tensor" "(" "[" ints "]" "," string ")"
             | ("Dtype" | "VarType") "(" (word | string) ")" | "slice" "(" value "," value "," value ")"
             | "complex" "(" number "," number ")" | "list" "[" values "]" | "tuple" "(" values ")"
             | "[" values "]" | "(" values ")"

Nothing is evaluated: a line can name only what stands above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from adapter_conform.errors import UsageProblem
from adapter_conform.replay.syntax import DTYPES, Call, DtypeArg, SliceArg, TensorArg, Value
from adapter_conform.tracing.record import is_trace

__all__ = ["ReplayFile", "ReplayFileError", "ReplaySyntaxError", "parse_file", "parse_line"]

MAX_DEPTH = 32
"""Deepest nesting of lists and tuples that is read; a line beyond it is malformed."""


class ReplayFileError(UsageProblem):
    """The replay file cannot be read, or has no usable line at all. ``str()`` is for the user."""


class ReplaySyntaxError(ValueError):
    """A malformed line. ``str()`` gives file, line, column, what was expected, and the line with a caret."""

    def __init__(self, file: str, line: int, column: int, problem: str, text: str) -> None:
        self.file, self.line, self.column, self.problem, self.text = file, line, column, problem, text
        start = max(0, column - 1 - _CONTEXT)
        shown = "".join(
            char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[start:][: 2 * _CONTEXT]
        )
        caret = " " * (column - 1 - start) + "^"
        super().__init__(f"{file}:{line}:{column}: {problem}\n    {shown}\n    {caret}")


_CONTEXT = 90


@dataclass
class ReplayFile:
    """A file as read: the good lines and the malformed ones, both in order."""

    path: str
    calls: list[Call] = field(default_factory=list)
    errors: list[ReplaySyntaxError] = field(default_factory=list)


def parse_file(path: Path) -> ReplayFile:
    """Reads ``path``, a call a line or a trace (see :mod:`adapter_conform.tracing.record`); blank lines and lines that
    start with ``#`` are skipped.

    Raises:
        ReplayFileError: the file cannot be read, or no line of it is well formed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReplayFileError(
            f"replay file {path} cannot be read: {error.strerror or error}. Give --replay a file with one call a line."
        ) from error
    result = ReplayFile(path=str(path))
    traced = is_trace(data[:200].decode("utf-8-sig", errors="replace"))
    for number, raw in enumerate(data.split(b"\n"), start=1):
        raw = raw.removesuffix(b"\r")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            result.errors.append(_undecodable(path.name, number, raw, error))
            continue
        if traced:
            text = _traced_call(text, number, path)
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            result.calls.append(parse_line(text, line=number, file=path.name))
        except ReplaySyntaxError as error:
            result.errors.append(error)
    if not result.calls:
        raise ReplayFileError(_no_call_message(result))
    return result


def _undecodable(file: str, line: int, raw: bytes, error: UnicodeDecodeError) -> ReplaySyntaxError:
    text = raw.decode("utf-8-sig", errors="replace")
    place = len(error.object[: error.start].decode("utf-8")) + 1
    problem = f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8 text"
    return ReplaySyntaxError(file, line, place, problem, text)


def _traced_call(text: str, number: int, path: Path) -> str:
    """The call in a line of a trace; empty for its other lines."""
    if not text:
        return ""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise ReplayFileError(f"{path}:{number}: no line of a trace ({error}). Was the file cut off?") from error
    return str(row.get("call", ""))


def _no_call_message(result: ReplayFile) -> str:
    expected = 'Expected lines such as  paddle.add(Tensor([2, 3],"float32"), 1.0, )'
    if not result.errors:
        return f"replay file {result.path} holds no call: it is empty or has comments only. {expected}"
    return (
        f"replay file {result.path} holds no well-formed call ({len(result.errors)} malformed lines). {expected}\n"
        f"The first fault: {result.errors[0]}"
    )


def parse_line(text: str, line: int = 1, file: str = "<line>") -> Call:
    """The call that ``text`` says.

    Raises:
        ReplaySyntaxError: ``text`` is not a call in the format of the module's docstring.
    """
    return _Parser(text, line, file).call()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
    |(?P<number>[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|(?:math\.|np\.|numpy\.)?(?:inf|nan)\b)(?![\w.]))
    |(?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<mark>[()\[\],=])""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS: dict[str, Value] = {"None": None, "True": True, "False": False, "Ellipsis": ...}
_VALUE_FORMS = (
    "a value (number, string, None, True, False, Ellipsis, "
    "Tensor(...), Dtype(...), slice(...), list[...] or tuple(...))"
)


class _Parser:
    """Recursive descent over the tokens of one line."""

    def __init__(self, text: str, line: int, file: str) -> None:
        self._text, self._line, self._file = text, line, file
        self._tokens = self._tokenize()
        self._index = 0
        self._depth = 0
        self._forms: dict[str, Callable[[], Value]] = {
            "Tensor": self._tensor,
            "Dtype": self._dtype,
            "VarType": self._dtype,
            "slice": self._slice,
            "complex": self._complex,
            "list": lambda: self._sequence("[", "]"),
            "tuple": lambda: tuple(self._sequence("(", ")")),
        }

    def call(self) -> Call:
        name = self._take("word", "the name of a Paddle API, e.g. paddle.matmul")
        if "." not in name.text:
            self._fail(f"expected the full name of a Paddle API, e.g. paddle.matmul, found {name.text!r}", name)
        self._mark("(", f"'(' after {name.text}")
        args, kwargs = self._arguments()
        if self._peek().kind != "end":
            self._fail("expected the end of the line after the call's ')'", self._peek())
        return Call(name.text, tuple(args), tuple(kwargs.items()), self._line, self._text)

    def _arguments(self) -> tuple[list[Value], dict[str, Value]]:
        args: list[Value] = []
        kwargs: dict[str, Value] = {}
        while not self._accept(")"):
            first = self._peek()
            following = self._tokens[self._index + 1] if first.kind == "word" else first
            if following.text == "=" and following.kind == "mark":
                self._index += 2
                if first.text in kwargs:
                    self._fail(f"argument {first.text!r} is given twice", first)
                kwargs[first.text] = self._value()
            elif kwargs:
                self._fail("expected name=value: positional arguments cannot follow named ones", first)
            else:
                args.append(self._value())
            self._separator(")", "an argument")
        return args, kwargs

    def _value(self) -> Value:
        token = self._peek()
        if token.kind == "number":
            return self._number()
        if token.kind == "string":
            return self._string()
        if token.kind == "mark" and token.text == "[":
            return self._sequence("[", "]")
        if token.kind == "mark" and token.text == "(":
            return tuple(self._sequence("(", ")"))
        if token.kind == "word" and token.text in _CONSTANTS:
            self._index += 1
            return _CONSTANTS[token.text]
        if token.kind == "word" and token.text in self._forms:
            self._index += 1
            return self._forms[token.text]()
        self._fail(f"expected {_VALUE_FORMS}, found {self._found(token)}", token)

    def _tensor(self) -> TensorArg:
        self._mark("(", "'(' after Tensor")
        start = self._peek()
        shape = self._sequence("[", "]")
        dims = tuple(dim for dim in shape if isinstance(dim, int) and not isinstance(dim, bool) and dim >= 0)
        if len(dims) != len(shape):
            self._fail("expected a tensor's shape: a list of integers >= 0", start)
        self._mark(",", "',' between a tensor's shape and dtype")
        token = self._peek()
        if token.kind != "string":
            self._fail(f'expected a tensor\'s dtype in quotes, e.g. "float32", found {self._found(token)}', token)
        dtype = self._known_dtype(self._string(), token)
        self._accept(",")
        self._mark(")", "')' after a tensor's dtype")
        return TensorArg(dims, dtype)

    def _dtype(self) -> DtypeArg:
        self._mark("(", "'(' after Dtype")
        token = self._peek()
        quoted = token.kind == "string"
        name = self._string() if quoted else self._take("word", "a dtype's name, e.g. float32").text
        dtype = self._known_dtype(name.removeprefix("paddle."), token)
        self._mark(")", "')' after a dtype's name")
        return DtypeArg(dtype)

    def _known_dtype(self, name: str, token: _Token) -> str:
        if name not in DTYPES:
            self._fail(f"unknown dtype {name!r}; known are {', '.join(sorted(DTYPES))}", token)
        return name

    def _slice(self) -> SliceArg:
        start = self._peek()
        items = self._sequence("(", ")")
        if len(items) != 3:
            self._fail(f"expected slice(start,stop,step), found {len(items)} values", start)
        return SliceArg(*items)

    def _complex(self) -> complex:
        start = self._peek()
        parts = [part for part in self._sequence("(", ")") if isinstance(part, (int, float))]
        if len(parts) != 2:
            self._fail("expected complex(real,imag) with two numbers", start)
        return complex(*parts)

    def _sequence(self, opening: str, closing: str) -> list[Value]:
        token = self._peek()
        self._mark(opening, f"{opening!r}")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"values nested deeper than {MAX_DEPTH}", token)
        items: list[Value] = []
        while not self._accept(closing):
            items.append(self._value())
            self._separator(closing, "a value")
        self._depth -= 1
        return items

    def _number(self) -> int | float:
        token = self._take("number", "a number")
        if token.text.lstrip("+-").isdigit():
            if len(token.text) > 40:
                self._fail("integer of more than 40 digits", token)
            return int(token.text)
        return float(re.sub(r"math\.|np\.|numpy\.", "", token.text))

    def _string(self) -> str:
        token = self._take("string", "a string")

        def unescape(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPED:
                self._fail(f"unknown escape \\{match[1]} in a string; known are \\\\ \\\" \\' \\n \\r \\t", token)
            return _ESCAPED[match[1]]

        return _ESCAPE.sub(unescape, token.text[1:-1])

    def _separator(self, closing: str, after: str) -> None:
        """A comma, or the closing mark, which stays."""
        token = self._peek()
        if token.kind == "mark" and token.text == closing:
            return
        self._mark(",", f"',' or {closing!r} after {after}")

    def _peek(self) -> _Token:
        return self._tokens[self._index]

    def _accept(self, mark: str) -> bool:
        token = self._peek()
        if token.kind != "mark" or token.text != mark:
            return False
        self._index += 1
        return True

    def _mark(self, mark: str, expected: str) -> None:
        if not self._accept(mark):
            self._fail(f"expected {expected}, found {self._found(self._peek())}", self._peek())

    def _take(self, kind: str, expected: str) -> _Token:
        token = self._peek()
        if token.kind != kind:
            self._fail(f"expected {expected}, found {self._found(token)}", token)
        self._index += 1
        return token

    def _found(self, token: _Token) -> str:
        return "the end of the line" if token.kind == "end" else repr(token.text)

    def _tokenize(self) -> list[_Token]:
        tokens, position = [], 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None:  # reported when the parser gets there, so that the first fault is the one named
                tokens.append(_Token("bad", self._text[position], position))
                break
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match[0], position))
            position = match.end()
        tokens.append(_Token("end", "", position))
        return tokens

    def _fail(self, problem: str, token: _Token) -> NoReturn:
        if token.kind == "bad":
            quote = token.text in "\"'"
            problem = "string without its closing quote" if quote else f"unexpected character {token.text!r}"
        raise ReplaySyntaxError(self._file, self._line, token.start + 1, problem, self._text)
