"""The documentation keeps up with the source: quotes are verbatim, links lead somewhere, named things exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
QUOTE = re.compile(r"<!-- source: (?P<path>\S+) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)
CODE = re.compile(r"^```(?:python|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)(?P<target>[^)#\s]+)(?:#[^)]*)?\)")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_there_are_quotes() -> None:
    assert any(QUOTE.search(page.read_text()) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_quotes_are_verbatim(page: Path) -> None:
    for quote in QUOTE.finditer(page.read_text()):
        assert quote["text"] in (ROOT / quote["path"]).read_text(), f"{quote['path']} no longer reads so"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link["target"] for link in LINK.finditer(page.read_text()) if not (page.parent / link["target"]).exists()]
    assert not broken


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    assert {page.name for page in folder.glob("0*.md")} == listed


def test_every_hook_is_in_the_contract() -> None:
    hooks = re.findall(r"^def (adapter_\w+)\(", (ROOT / "adapter_sdk" / "hookspecs.py").read_text(), re.MULTILINE)
    table = (ROOT / "docs" / "contract.md").read_text()
    assert hooks
    assert not [hook for hook in hooks if f"| `{hook}" not in table]


def test_every_state_and_gate_is_explained() -> None:
    package = ROOT / "conformance" / "adapter_conform"
    states = re.findall(r'^    [A-Z_]+ = "(\w+)"$', (package / "states.py").read_text(), re.MULTILINE)
    gates = re.findall(r'_figure\("(\w+)"', (package / "catalogue" / "gates.py").read_text())
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert "passed" in states
    assert "bound" in gates
    assert not [name for name in [*states, *gates] if name not in page]


@pytest.mark.parametrize(
    ("english", "chinese"), [("tutorial.md", "tutorial.md"), ("howto/certifying.md", "certifying.md")]
)
def test_both_languages_show_the_same_code(english: str, chinese: str) -> None:
    """Except for comments."""
    pages = [ROOT / "docs" / english, ROOT / "docs" / "zh" / chinese]
    ours, theirs = ([re.sub(r" *#.*", "", code) for code in CODE.findall(page.read_text())] for page in pages)
    assert ours
    assert ours == theirs
