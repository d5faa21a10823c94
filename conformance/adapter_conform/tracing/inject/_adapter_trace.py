"""Runs inside the traced program: switches on Paddle's logs of kernels, marks phases, writes down API calls.

Standard library only, and nothing of ours is imported: the program may run in another environment. What it does waits
until the program itself has imported Paddle.

Environment: ``ADAPTER_TRACE_DIR`` is the folder for files of API calls. Phases go to standard error, between Paddle's
own log lines, as lines that start with the character 0x1E.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.abc
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

Function = Callable[..., Any]

MARK = "\x1eadapter-trace "
LEVELS = {
    "*api*": 6,  # kernel keys of eager calls
    "kernel_factory": 3,  # kernels that are missing
    "dygraph_functions": 4,  # where an eager kernel ends, and its operands
    "nodes": 5,  # the same for gradients
    "utils": 5,  # shapes of operands
    "phi_kernel_instruction": 6,  # kernels of static programs
    "pir_interpreter": 2,  # static programs, and the operands of their kernels
}
_PUBLIC = (
    "paddle",
    "paddle.linalg",
    "paddle.nn.functional",
    "paddle.nn.functional.flash_attention",
    "paddle.nn.quant",
    "paddle.incubate.nn.functional",
)
_OPERATORS = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "mod", "pow", "rpow", "matmul"),
    *("neg", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "invert", "getitem", "setitem"),
)
_CREATION = frozenset(("zeros", "ones", "full", "arange"))
_NOT_CALLS = frozenset(
    (
        *(
            "to_tensor",
            "save",
            "load",
            "grad",
            "no_grad",
            "is_tensor",
            "is_grad_enabled",
            "set_grad_enabled",
            "summary",
        ),
        *("flops", "in_dynamic_mode", "set_printoptions", "is_complex", "is_floating_point", "is_integer", "is_empty"),
        *("rank", "numel"),
    )
)
"""Not kernels of a device, or not judged by their result."""

_seen: dict[str, int] = {}
_busy = threading.local()
_lock = threading.Lock()


def install() -> None:
    if os.environ.get("ADAPTER_TRACE_DIR"):
        sys.meta_path.insert(0, _AfterPaddle())


class _AfterPaddle(importlib.abc.MetaPathFinder):
    """Lets the import of Paddle happen as ever, and comes back when it is complete."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "paddle":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec("paddle")
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                _begin(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _begin(paddle: Any) -> None:
    ctypes.CDLL(None).setvbuf(ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout"), None, 1, 0)  # 1: by lines
    _mark_phases(paddle)
    _record_calls(paddle)
    _write({"event": "paddle", "version": paddle.__version__, "pid": os.getpid()})
    _set_levels(paddle, LEVELS)
    atexit.register(_end, paddle)
    leave = os._exit

    def leave_at_once(status: int) -> NoReturn:
        _save_calls()
        leave(status)

    os._exit = leave_at_once


def _set_levels(paddle: Any, levels: dict[str, int]) -> None:
    """Paddle 3.0 has no function for it, but its libraries have glog's own, a copy each."""
    if hasattr(paddle.base.core, "set_vlog_level"):
        paddle.base.core.set_vlog_level(levels)
        return
    folder = os.path.dirname(paddle.__file__)
    for path in (paddle.base.libpaddle.__file__, os.path.join(folder, "libs", "libphi_core.so")):
        set_level = ctypes.CDLL(path)._ZN6google12SetVLOGLevelEPKci
        set_level.argtypes, set_level.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_int
        for module, level in levels.items():
            set_level(module.encode(), level)


def _end(paddle: Any) -> None:
    _save_calls()
    _set_levels(paddle, dict.fromkeys(LEVELS, 0))  # logging while the process tears down may abort it


def _write(event: dict[str, Any]) -> None:
    os.write(2, (MARK + json.dumps(event) + "\n").encode())


def _marked(function: Function, phase: str) -> Function:
    @functools.wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        if getattr(_busy, "phase", None) is not None:
            return function(*args, **kwargs)
        _busy.phase = phase
        _write({"event": "phase", "phase": phase, "thread": threading.get_native_id()})
        try:
            return function(*args, **kwargs)
        finally:
            _busy.phase = None
            _write({"event": "phase", "phase": "forward", "thread": threading.get_native_id()})

    return within


def _mark_phases(paddle: Any) -> None:
    for owner, name in ((paddle.Tensor, "backward"), (paddle, "grad"), (paddle.autograd, "backward")):
        setattr(owner, name, _marked(getattr(owner, name), "backward"))
    for optimizer in list(vars(paddle.optimizer).values()):
        if isinstance(optimizer, type):
            for name in ("step", "minimize"):
                if name in vars(optimizer):
                    setattr(optimizer, name, _marked(vars(optimizer)[name], "optimizer"))


def _record_calls(paddle: Any) -> None:
    wrap_calls(paddle, _recorded)


def wrap_calls(paddle: Any, wrap: Callable[[Function, str, bool], Function]) -> None:
    """Puts ``wrap(function, api, creates)`` in place of each public function, operator and method of tensors.

    ``api`` is its name, e.g. ``"paddle.Tensor.__add__"``; ``creates``: it makes a tensor from numbers alone.
    """
    replaced: dict[int, tuple[Function, Function]] = {}
    for module_name in _PUBLIC:
        module = sys.modules.get(module_name)
        for name in getattr(module, "__all__", ()) if module is not None else ():
            function = getattr(module, name, None)
            if callable(function) and not isinstance(function, type) and name not in _NOT_CALLS:
                wrapped = wrap(function, f"{module_name}.{name}", name in _CREATION)
                setattr(module, name, wrapped)
                replaced[id(function)] = function, wrapped
    _replace_in_layers(replaced)
    methods = set(paddle.tensor.tensor_method_func) - _NOT_CALLS
    methods |= {f"__{name}__" for name in _OPERATORS} | {"astype", "item", "tolist", "clone", "detach"}
    for owner in (paddle.Tensor, paddle.pir.Value):
        for name in sorted(methods):
            function = getattr(owner, name, None)
            if callable(function):
                setattr(owner, name, wrap(function, f"paddle.Tensor.{name}", False))


def _replace_in_layers(replaced: dict[int, tuple[Function, Function]]) -> None:
    """Paddle's layers have imported some functions by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("paddle.nn.layer.", "paddle.incubate.nn.layer.")):
            for attribute, value in list(vars(module).items()):
                if id(value) in replaced:
                    setattr(module, attribute, replaced[id(value)][1])


def _recorded(function: Function, api: str, creates: bool) -> Function:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if getattr(_busy, "call", False) or getattr(_busy, "phase", None) is not None:
            return function(*args, **kwargs)
        _busy.call = True
        try:
            line, _ = line_of(api, args, kwargs, creates)
            if line is not None:
                with _lock:
                    _seen[line] = _seen.get(line, 0) + 1
            return function(*args, **kwargs)
        finally:
            _busy.call = False

    return called


class _Unwritable(Exception):
    """An argument that a line cannot hold."""


def line_of(api: str, args: Sequence[Any], kwargs: Mapping[str, Any], creates: bool) -> tuple[str | None, list[Any]]:
    """The call as a line that ``adapter-conform --replay`` reads, None where it has no such form, and its tensors."""
    found: list[Any] = []
    try:
        words = [_word(value, found) for value in args]
        words += [f"{name}={_word(value, found)}" for name, value in kwargs.items()]
    except _Unwritable:
        return None, found
    if not found and not creates:
        return None, found
    return api + "(" + "".join(word + ", " for word in words) + ")", found


def _word(value: Any, found: list[Any]) -> str:
    if value is None or value is Ellipsis or isinstance(value, (bool, int, float)):
        return "Ellipsis" if value is Ellipsis else repr(value)
    if isinstance(value, str):
        return json.dumps(value) if value.isascii() and value.isprintable() else _refuse()
    if isinstance(value, slice):
        return "slice(" + ",".join(_word(part, found) for part in (value.start, value.stop, value.step)) + ")"
    if isinstance(value, (list, tuple)):
        inner = "".join(_word(item, found) + "," for item in value)
        return f"list[{inner}]" if isinstance(value, list) else f"tuple({inner})"
    dtype = str(value).rsplit(".", 1)[-1] if type(value).__name__ in ("dtype", "DataType") else None
    if dtype is not None:
        return f"Dtype({dtype.lower()})"
    if type(value).__name__ in ("Tensor", "EagerParamBase", "Value", "Parameter"):
        shape, kind = list(value.shape), str(value.dtype).rsplit(".", 1)[-1].lower()
        if any(side < 0 for side in shape):
            raise _Unwritable  # a side that a static program leaves open
        found.append(value)
        return f'Tensor({shape},"{kind}")'
    return _refuse()


def _refuse() -> NoReturn:
    raise _Unwritable


def _save_calls() -> None:
    with _lock:
        if _seen:
            path = os.path.join(os.environ["ADAPTER_TRACE_DIR"], f"calls-{os.getpid()}.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(_seen, file)
