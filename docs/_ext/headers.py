"""C and C++ headers as Markdown: every public declaration with the comment that stands right above it.

A declaration is public unless it stands in a namespace ``detail`` or is a macro without a comment. Bodies of functions,
private members and what a macro expands to are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import tree_sitter_cpp
from tree_sitter import Language, Node, Parser

__all__ = ["header_page"]

_PARSER = Parser(Language(tree_sitter_cpp.language()))
_OPEN = {
    "declaration_list",
    "linkage_specification",
    "namespace_definition",
    "preproc_if",
    "preproc_ifdef",
    "translation_unit",
}
"""What holds declarations that are shown one by one."""
_DECLARATIONS = {
    "alias_declaration",
    "class_specifier",
    "declaration",
    "enum_specifier",
    "field_declaration",
    "function_definition",
    "struct_specifier",
    "template_declaration",
    "type_definition",
}
_MACROS = {"preproc_def", "preproc_function_def"}


def header_page(path: Path, name: str) -> str:
    """The section on one header, ``name`` as an ``#include`` says it."""
    source = path.read_bytes()
    root = _PARSER.parse(source).root_node
    lines = [f"## `{name}`", "", _prose(_head(root)), ""]
    for comment, node in _public(root):
        lines += [f"### `{_name_of(node)}`", "", _prose(comment), "", "```cpp", _code(node, source), "```", ""]
    return "\n".join(lines)


def _head(root: Node) -> list[str]:
    """The comment that opens the file."""
    lines: list[str] = []
    for child in root.children:
        if child.type != "comment":
            break
        lines.append(_text(child))
    return lines


def _public(node: Node) -> Iterator[tuple[list[str], Node]]:
    comment: list[str] = []
    below = -1
    for child in node.children:
        if child.type == "comment":
            if child.start_point.row != below:
                comment = []
            comment.append(_text(child))
            below = child.end_point.row + 1
            continue
        documented = comment if child.start_point.row == below else []
        if child.type in _OPEN:
            if _field(child, "name") != "detail":
                yield from _public(child)
        elif (child.type in _MACROS and documented) or (child.type in _DECLARATIONS and not _elsewhere(child)):
            yield documented, child
        comment, below = [], -1


def _elsewhere(node: Node) -> bool:
    """Whether it is a type that is only announced, or the definition of a function that is declared elsewhere."""
    if node.type in ("class_specifier", "struct_specifier"):
        return node.child_by_field_name("body") is None
    return node.type == "function_definition" and "::" in _name_of(node)


def _name_of(node: Node) -> str:
    """What a declaration declares: the name at the end of its declarators."""
    while not (name := _field(node, "name")):
        inner = node.child_by_field_name("declarator")
        if node.type == "template_declaration" or (inner is None and node.type.endswith("_declarator")):
            inner = node.named_children[-1]
        if inner is None:
            inner = node.child_by_field_name("type")  # a type without a declarator: struct x { ... };
        if inner is None:
            return _text(node) if node.type != "enum_specifier" else _first_of(node)
        node = inner
    return name


def _first_of(enumeration: Node) -> str:
    """What an enumeration without a name goes by."""
    body = enumeration.child_by_field_name("body")
    assert body is not None
    return f"{_field(body.named_children[0], 'name')}, ..."


def _field(node: Node, field: str) -> str:
    child = node.child_by_field_name(field)
    return "" if child is None else _text(child)


def _text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def _code(node: Node, source: bytes) -> str:
    """The declaration without what is nobody's business but its own."""
    if node.type == "preproc_def":
        return _text(node).strip()
    if node.type == "preproc_function_def":
        return f"#define {_field(node, 'name')}{_field(node, 'parameters')}"
    pieces, at = [], node.start_byte
    for start, end, instead in sorted(_cuts(node)):
        if start >= at:
            pieces += [source[at:start].decode().rstrip(" "), instead]
            at = end
    pieces.append(source[at : node.end_byte].decode())
    text = "".join(pieces).strip()
    return text if text.endswith(("}", ";")) and not text.endswith("};;") else text + ";"


def _cuts(node: Node) -> Iterator[tuple[int, int, str]]:
    """Parts to be left out, and what stands in their place."""
    hidden = False
    for child in node.children:
        if child.type == "access_specifier":
            hidden = "private" in _text(child)
        if hidden and child.type != "}":
            yield child.start_byte, child.end_byte + (1 if _ends_line(child) else 0), ""
        elif child.type == "field_initializer_list":
            yield child.start_byte, child.end_byte, ""
        elif node.type == "function_definition" and child.type == "compound_statement":
            yield child.start_byte, child.end_byte, ";"
        else:
            yield from _cuts(child)


def _ends_line(node: Node) -> bool:
    return node.next_sibling is not None and node.next_sibling.type == ":"


def _prose(comment: list[str]) -> str:
    """Comment lines as Markdown; those that are indented are code."""
    lines: list[str] = []
    code = False
    for raw in "\n".join(comment).splitlines():
        line = re.sub(r"^// ?|^\s*/?\*+/? ?| ?\*/$", "", raw)
        indented = line.startswith("  ")
        if indented != code:
            lines += ["```cpp" if indented else "```", ""] if not indented else ["", "```cpp"]
            code = indented
        lines.append(line[2:] if indented else _escaped(line))
    return "\n".join([*lines, "```"] if code else lines)


def _escaped(line: str) -> str:
    parts = line.split("`")
    parts[::2] = [re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts[::2]]  # what is not between backquotes
    return "`".join(parts)
