"""The source of a catalogue entry's call, with everything that it refers to, as text that runs by itself."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["TransplantError", "transplant"]


class TransplantError(ValueError):
    """The function refers to something that cannot be written down."""


def transplant(function: Callable[..., Any], name: str) -> str:
    """Python text that defines ``name`` as ``function`` does, with the functions, constants and imports it needs.

    Raises:
        TransplantError: its source is not to be found, or it refers to an object that has no literal.
    """
    graft = _Graft()
    graft.add(name, function)
    return "\n\n".join([*sorted(graft.imports), *graft.pieces.values()])


class _Graft:
    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.pieces: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        if name in self.values:
            if self.values[name] is not value and self.values[name] != value:
                raise TransplantError(f"two different things are called {name!r}")
            return
        self.values[name] = value
        if isinstance(value, types.ModuleType):
            self.imports.add(f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}")
        elif isinstance(value, types.FunctionType):
            self.pieces[name] = self._function(name, value)
        elif isinstance(cached := getattr(value, "__wrapped__", None), types.FunctionType):
            self.pieces[name] = self._function(name, cached)  # without its cache the result is the same
        else:
            self.pieces[name] = f"{name} = {_literal(name, value)}"

    def _function(self, name: str, function: types.FunctionType) -> str:
        node = _node_of(function)
        _strip_annotations(node)
        if isinstance(node, ast.FunctionDef):
            node.name, node.decorator_list = name, []
        for number, value in enumerate(reversed(function.__defaults__ or ()), 1):
            node.args.defaults[-number] = self._default(value)
        for key, value in (function.__kwdefaults__ or {}).items():
            index = [item.arg for item in node.args.kwonlyargs].index(key)
            node.args.kw_defaults[index] = self._default(value)
        for used, value in _references(function, node).items():
            self.add(used, value)
        if isinstance(node, ast.Lambda):
            return f"{name} = {ast.unparse(node)}"
        return ast.unparse(node)

    def _default(self, value: Any) -> ast.expr:
        if isinstance(value, types.FunctionType):
            self.add(value.__name__, value)
            return ast.Name(value.__name__, ast.Load())
        return ast.parse(_literal("a default", value), mode="eval").body


def _literal(name: str, value: Any) -> str:
    text = repr(value)
    try:
        if ast.literal_eval(text) == value:
            return text
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    raise TransplantError(f"{name!r} is a {type(value).__name__}, which has no literal")


def _node_of(function: types.FunctionType) -> Any:
    """The definition in the source file: the function of that name, or the lambda, on the line of its code."""
    code = function.__code__
    try:
        tree = ast.parse(Path(inspect.getsourcefile(function) or "").read_text("utf-8"))
    except (OSError, TypeError, SyntaxError) as error:
        raise TransplantError(f"no source of {function.__qualname__}: {error}") from error
    names = [*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            fits = code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
        elif isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *[item.lineno for item in node.decorator_list]])
            fits = code.co_name == node.name and first == code.co_firstlineno
        else:
            continue
        if fits and [item.arg for item in [*node.args.args, *node.args.kwonlyargs]] == names:
            found.append(node)
    if len(found) != 1:
        raise TransplantError(f"{len(found)} definitions fit {function.__qualname__} on line {code.co_firstlineno}")
    return found[0]


def _strip_annotations(node: Any) -> None:
    for item in ast.walk(node):
        if isinstance(item, ast.arg):
            item.annotation = None
        elif isinstance(item, ast.FunctionDef):
            item.returns = None
        elif isinstance(item, ast.AnnAssign):  # within a function nobody evaluates it
            item.annotation = ast.Name("object", ast.Load())


def _references(function: types.FunctionType, node: ast.AST) -> dict[str, Any]:
    """Names that the function reads from its module or its closure, with what they stand for now."""
    used = {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Load)}
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    found: dict[str, Any] = {}
    for name in sorted(used):
        if name in cells:
            found[name] = cells[name].cell_contents
        elif name in function.__globals__:
            found[name] = function.__globals__[name]
    return found
