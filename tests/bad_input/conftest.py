"""Plugins that are wrong in one way each, for the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugin_sites import PluginSite


@pytest.fixture
def plugin_site(tmp_path: Path) -> PluginSite:
    folder = tmp_path / "site"
    folder.mkdir()
    return PluginSite(folder, tmp_path)
