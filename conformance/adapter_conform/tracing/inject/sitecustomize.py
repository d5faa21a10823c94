"""Found by Python at start-up in the processes of a traced program; hands over to the program's own sitecustomize."""

import importlib.machinery
import importlib.util
import os
import sys

import _adapter_trace  # type: ignore[import-not-found]  # beside this file, which is on the path by itself

_adapter_trace.install()
_HERE = os.path.dirname(os.path.abspath(__file__))
_others = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
_own = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _own is not None and _own.loader is not None:
    _module = importlib.util.module_from_spec(_own)
    sys.modules["sitecustomize"] = _module
    _own.loader.exec_module(_module)
