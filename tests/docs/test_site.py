"""The documentation site builds without a warning, and holds what is generated from the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _chromium import OVERFLOW, chromium
from _site import ROOT, build

HOOKS = re.findall(r"^def (adapter_\w+)\(", (ROOT / "adapter_sdk" / "hookspecs.py").read_text(), re.MULTILINE)
HEADERS = sorted((ROOT / "adapter_sdk" / "include").rglob("*.h"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("docs"))


def text_of(page: Path) -> str:
    """The page's words: without tags, entities of quotes and angle brackets resolved."""
    words = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&")):
        words = words.replace(entity, character)
    return words


def test_every_hook_has_its_entry(site: Path) -> None:
    page = (site / "reference" / "hooks.html").read_text(encoding="utf-8")
    assert HOOKS
    assert not [hook for hook in HOOKS if f'id="adapter_sdk.hookspecs.{hook}"' not in page]


def test_every_header_is_there(site: Path) -> None:
    words = "".join(text_of(site / "reference" / name) for name in ("cpp.html", "cpp-host.html"))
    assert not [path for path in HEADERS if str(path.relative_to(ROOT / "adapter_sdk" / "include")) not in words]


@pytest.mark.parametrize(
    "declaration",
    [
        "virtual void* allocate(int card, size_t bytes) = 0;",
        "#define ADAPTER_KERNEL(operator_name, function_template, accumulator, ...)",
        "class InvalidArgument : public Error",
        "typedef struct AdapterKernelRow",
        "T read_scalar(Context& ctx, const Tensor& tensor);",
    ],
)
def test_declarations(site: Path, declaration: str) -> None:
    assert declaration in text_of(site / "reference" / "cpp.html")


def test_nothing_internal_of_the_headers(site: Path) -> None:
    words = text_of(site / "reference" / "cpp.html")
    assert "paddle_code_;" not in words, "a private member"
    assert "ADAPTER_KERNEL_EXPAND" not in words, "a macro without a comment"
    assert "StaticReader" not in words, "a name of namespace detail"


def test_results_come_from_the_code(site: Path) -> None:
    words = text_of(site / "reference" / "results.html")
    for name in ("fell_back", "NOT_CONFORMANT", "executed_on", "kernels.never_executed", "counts.waived"):
        assert name in words


def test_commands_come_from_the_code(site: Path) -> None:
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    folder = ROOT / "conformance" / "adapter_conform" / "commands"
    names = [path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")]
    assert names
    assert not [name for name in names if f'id="adapter-conform-{name}"' not in page]
    assert "usage: adapter-sdk abi check" in text_of(site / "reference" / "cli.html")


def test_the_site_fetches_nothing(site: Path) -> None:
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//|<link[^>]* rel="(?:stylesheet|icon|preload)"[^>]*"https?://'
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    assert not [page for page in pages if loaded.search(page.read_text(encoding="utf-8"))]


def test_folders_are_no_links(site: Path) -> None:
    assert "adapter_sdk/include/adapter_sdk" in text_of(site / "reference" / "cpp.html")
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#?:]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.relative_to(site)}: {target}"


def test_pages_fit_every_window(site: Path) -> None:
    pages = ("index", "howto/packaging", "reference/cpp")
    with chromium() as browser:
        for width in (390, 1100, 1280, 1330):
            context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
            page = context.new_page()
            for name in pages:
                page.goto((site / f"{name}.html").as_uri())
                assert page.evaluate(OVERFLOW) <= 0, (name, width)
            context.close()
