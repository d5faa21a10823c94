"""Kernel tests run the SDK's host kernels through ``adapter_sdk._kernels``; without it they fail, they do not skip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def call() -> Callable[..., list[Any]]:
    """``adapter_sdk._kernels.call``; fails the test when the module is missing or has no kernels."""
    try:
        from adapter_sdk import _kernels
    except ImportError as error:
        pytest.fail(f"adapter_sdk._kernels is missing: {error}. Install the package: pip install -e .", pytrace=False)
    if not _kernels.kernels():
        pytest.fail("adapter_sdk._kernels was built without kernels: no file of csrc/kernels is in it", pytrace=False)
    return _kernels.call
