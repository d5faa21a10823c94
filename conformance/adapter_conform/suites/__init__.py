"""Finds suites by name. A suite is imported only when it is asked for, so that one broken suite costs nobody else."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import sys
from typing import cast

from adapter_conform.errors import UsageProblem
from adapter_conform.suites.base import Suite

__all__ = ["DEFAULT_SUITES", "known_suites", "load_suite"]

DEFAULT_SUITES = ("runtime", "collectives", "ops", "training", "workloads", "parallel", "endurance")
"""A plugin that declares no collectives gets no case of the suites that need several cards."""


def known_suites() -> list[str]:
    """Names of the suites that come with this package."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def load_suite(spec: str) -> Suite:
    """The suite called ``spec``: a name from :func:`known_suites`, or ``package.module:OBJECT`` for a vendor's own.

    The second form is looked up on ``sys.path`` and in the current folder.

    Raises:
        UsageProblem: no such suite, it cannot be imported, or it is not a suite; the message says which.
    """
    module_name, attribute = _resolve(spec)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UsageProblem(
            f"suite {spec!r} cannot be imported: {module_name}: {type(error).__name__}: {error}\n"
            "Install what it needs, or mend the module."
        ) from error
    suite = getattr(module, attribute, None)
    missing = [name for name in ("name", "plan", "run") if not hasattr(suite, name)]
    if missing:
        raise UsageProblem(
            f"suite {spec!r} is not a suite: {module_name}:{attribute} lacks {', '.join(missing)}\n"
            "It needs `name`, `plan(request)` and `run(case, session)`; see adapter_conform.suites.base.Suite."
        )
    return cast(Suite, suite)


def _resolve(spec: str) -> tuple[str, str]:
    if ":" in spec:
        module_name, _, attribute = spec.partition(":")
        if not module_name or not attribute:
            raise UsageProblem(f"suite {spec!r}: write it as package.module:OBJECT, e.g. acme.checks:SUITE")
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        return module_name, attribute
    if spec not in known_suites():
        close = difflib.get_close_matches(spec, known_suites(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageProblem(
            f"no suite is called {spec!r}.{hint}\n"
            f"Known: {', '.join(known_suites()) or 'none'}; a suite of your own is given as package.module:OBJECT."
        )
    return f"{__name__}.{spec}", "SUITE"
