"""Parts of pages that come from the source: ``<!-- generated: NAME ARGUMENT... -->`` in a page stands for such a part.

On a code host the comment is invisible; the page around it says in a sentence what the site shows there.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headers import header_page
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
_MARK = re.compile(r"^<!-- generated: (?P<words>.+) -->$", re.MULTILINE)


def headers(folder: str) -> str:
    """All headers of a folder below ``adapter_sdk/include``."""
    found = sorted((ROOT / "adapter_sdk" / "include" / folder).glob("*.h"))
    if not found:
        raise ValueError(f"there is no header in {folder}")
    return "\n".join(header_page(path, f"{folder}/{path.name}") for path in found)


def fields(place: str) -> str:
    """Fields of a class, ``module:Class``, with types and the docstrings below them; members of an Enum with values."""
    module, name = place.split(":")
    found = _class(module, name)
    is_enum = any("Enum" in ast.unparse(base) for base in found.bases)
    rows = [f"| `{field}` | {kind} | {text} |" for field, kind, text in _members(found)]
    return "\n".join([f"| Name | {'Value' if is_enum else 'Type'} | |", "|---|---|---|", *rows])


def _class(module: str, name: str) -> ast.ClassDef:
    imported = __import__(module, fromlist=[name])
    tree = ast.parse(inspect.getsource(imported))
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def _members(found: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for node, below in zip(found.body, [*found.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            field, kind = ast.unparse(node.target), ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            field, kind = ast.unparse(node.targets[0]), ast.unparse(node.value)
        else:
            continue
        if not field.startswith("_"):
            yield field, f"`{kind}`".replace("|", "\\|"), _docstring(below)


def _docstring(node: ast.AST | None) -> str:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
        return ""
    words = " ".join(inspect.cleandoc(node.value.value).split())
    return words.replace("``", "`").replace("|", "\\|")


def summary() -> str:
    """Every key of ``results.json``, of a run without cases."""
    from adapter_conform.plan import RunOptions
    from adapter_conform.report import RunResult, build_summary

    options = RunOptions("mychip", ("ops",), "smoke", 0, Path("out"))
    result = RunResult(options, ["ops"], [], 0, {}, {}, [], "2030-01-01T00:00:00+00:00", 0.0)
    rows = [f"| `{key}` | {kind} |" for key, kind in _shape(build_summary(result), "")]
    return "\n".join(["| Key | JSON |", "|---|---|", *rows])


def _shape(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict) and item:
            yield from _shape(item, f"{name}.")
        else:
            yield (
                name,
                {dict: "object", list: "array", str: "string", bool: "true or false"}.get(
                    type(item), "null or string" if item is None else "number"
                ),
            )


def command_line(place: str) -> str:
    """The help of an argparse parser, ``module:function``, and of all its commands."""
    module, function = place.split(":")
    parser = getattr(__import__(module, fromlist=[function]), function)()
    return "\n".join(_help(parser))


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## `{parser.prog}`\n\n```text\n{parser.format_help()}```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                yield from _help(command)


GENERATORS: dict[str, Callable[..., str]] = {
    "headers": headers,
    "fields": fields,
    "summary": summary,
    "command-line": command_line,
}


def expand(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the generated parts into a page as it is read."""

    def part(match: re.Match[str]) -> str:
        name, *arguments = match["words"].split()
        return GENERATORS[name](*arguments)

    if _MARK.search(source[0]):
        app.env.note_reread()  # it depends on source files that Sphinx does not watch
        source[0] = _MARK.sub(part, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", expand)
    return {"parallel_read_safe": True}
