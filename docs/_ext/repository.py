"""Links of pages to the repository: files become downloads (MyST does that by itself), folders plain names.

The same Markdown is read on a code host, where ``[fused](../csrc/kernels)`` opens the folder. What does not exist stays
a warning, and so an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx


def unlink_folders(app: Sphinx, document: nodes.document) -> None:
    """Puts the text of each link to a folder in the link's place."""
    page = Path(app.env.doc2path(app.env.docname))
    for link in list(document.findall(pending_xref)):
        if link.get("reftype") == "myst" and (page.parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", unlink_folders)
    return {"parallel_read_safe": True}
