"""The documentation site: `make docs` builds it into build/docs, with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

project = "adapter-sdk"
author = "the adapter-sdk developers"
copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "commands",
    "generated",
    "repository",
]
exclude_patterns = ["_ext", "examples", "decisions/README.md"]
smartquotes = False  # two hyphens begin an option
html_theme = "furo"
html_title = "adapter-sdk"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Pages are also read on a code host, where links are relative to the file and headings have anchors.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "fieldlist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
