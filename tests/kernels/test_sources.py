"""Kernel sources are linked into one library: a helper of one file must not carry a name that another file gives to
something else, since the linker would silently merge the two."""

import re
from collections import defaultdict
from pathlib import Path

KERNELS = Path(__file__).parents[2] / "csrc" / "kernels"

# Whoever links the kernels takes one of the two; both define the same functions on purpose.
ALTERNATIVES = {"gemm_plain.cc"}

# A type, or a function with its body, at the start of a line.
DEFINITION = re.compile(
    r"^(?:struct|class) (\w+)(?: :| \{)"
    r"|^(?:inline |constexpr |static )*[A-Za-z][\w:<>,\* &]*?[ \*&](\w+)\([^;{}]*\) \{",
    re.MULTILINE,
)


def without_anonymous_namespaces(text: str) -> str:
    return re.sub(r"^namespace \{.*?^\}  // namespace$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_no_name_is_defined_in_two_kernel_files() -> None:
    places = defaultdict(set)
    for path in sorted(KERNELS.glob("*.cc")):
        if path.name in ALTERNATIVES:
            continue
        for match in DEFINITION.finditer(without_anonymous_namespaces(path.read_text())):
            places[match.group(1) or match.group(2)].add(path.name)
    assert len(places) > 100, "the pattern no longer finds definitions"
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
