"""The process of a descent: runs the model on the CPU and every call of it on the device too.

``python -m adapter_conform.descent.child REQUEST`` with a file of JSON: ``plugin``, ``seed``, ``story`` (file),
``folder`` (for repro files), ``backward``, ``most`` (calls), and either ``workload`` and ``steps`` or ``program`` (a
script and its arguments).
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from adapter_conform.descent.examine import Examined, examine_backward, examine_forward
from adapter_conform.descent.findings import Finding, append, finding_event
from adapter_conform.descent.repro import parts_of, write_repro
from adapter_conform.states import State
from adapter_conform.tensors import from_tensor
from adapter_conform.tracing.inject._adapter_trace import line_of, wrap_calls

if TYPE_CHECKING:
    from adapter_conform.session import Session

__all__ = ["main"]

_WRONG = (State.FAILED, State.FELL_BACK)

_OPTIMIZERS = ("adam_", "adamw_", "fused_adam_", "merged_adam_", "merged_momentum_", "momentum_", "sgd_")
"""Of ``paddle._C_ops``: how Paddle's optimizers call their kernels, past every public function."""


class Found(BaseException):
    """Ends the model's run: what was looked for is found. No Exception: the model must not catch it."""


class Descent:
    """Looks at every call of the model."""

    def __init__(self, session: Session, request: dict[str, Any]) -> None:
        self.session, self.request = session, request
        self.story, self.folder = Path(request["story"]), Path(request["folder"])
        self.busy = False
        self.examined = self.backward_examined = 0
        self.unexamined: Counter[str] = Counter()
        self.backward: Finding | None = None

    def wrap(self, function: Callable[..., Any], api: str, creates: bool) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            if self.busy:
                return function(*args, **kwargs)
            self.busy = True
            try:
                self._look(function, *line_of(api, args, kwargs, creates))
                return function(*args, **kwargs)
            finally:
                self.busy = False

        return called

    def _look(self, function: Callable[..., Any], text: str | None, tensors: list[Any]) -> None:
        if text is None or any(not hasattr(tensor, "numpy") for tensor in tensors):
            self.unexamined["arguments that have no form as a line"] += 1
            return
        if self.examined >= self.request["most"]:
            self._finish()
        arrays = [from_tensor(tensor) for tensor in tensors]
        append(self.story, "start", call=text)
        index, self.examined = self.examined, self.examined + 1
        seen = examine_forward(self.session, text, function, arrays)
        if seen.why_not:
            self.unexamined[seen.why_not] += 1
        if seen.state in _WRONG:
            self._tell(self._finding(index, text, "forward", seen, function, arrays))
            raise Found
        learns = any(not tensor.stop_gradient for tensor in tensors) and "._C_ops." not in text
        if self.request["backward"] and learns and seen.state is State.PASSED:
            self._look_back(index, text, function, arrays)

    def _look_back(self, index: int, text: str, function: Callable[..., Any], arrays: list[Any]) -> None:
        """Backward runs the other way round: of several wrong gradients that of the last call comes first."""
        seen = examine_backward(self.session, text, function, arrays)
        if seen.why_not:
            self.unexamined[f"backward: {seen.why_not}"] += 1
            return
        self.backward_examined += 1
        if seen.state in _WRONG:
            self.backward = self._finding(index, text, "backward", seen, function, arrays)
            finding_event(self.story, self.backward)

    def _finding(
        self, index: int, text: str, direction: str, seen: Examined, function: Callable[..., Any], arrays: list[Any]
    ) -> Finding:
        parts = parts_of(self.session, text, arrays) if direction == "forward" else []
        repro = write_repro(self.folder, self.session, text, direction, arrays, seen)
        message, kernels = seen.message, seen.kernels or {}
        return Finding(index, text, direction, seen.state.value, message, kernels, str(repro), parts)

    def _tell(self, finding: Finding) -> None:
        finding_event(self.story, finding)

    def _finish(self) -> NoReturn:
        raise Found

    def close(self) -> None:
        append(
            self.story,
            "end",
            examined=self.examined,
            backward_examined=self.backward_examined,
            unexamined=dict(self.unexamined),
        )


def main() -> NoReturn:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    status = 1
    try:
        _descend(request)
        status = 0
    except BaseException as error:  # also SystemExit of the program: the parent must learn why
        append(Path(request["story"]), "error", message="".join(traceback.format_exception(error))[-4000:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _descend(request: dict[str, Any]) -> None:
    from adapter_conform.session import open_session
    from adapter_conform.supervisor.preload import preload

    session = open_session(request["plugin"], request["seed"])
    preload(session)
    paddle: Any = session.paddle
    paddle.set_device("cpu")
    descent = Descent(session, request)
    run = _program(paddle, request) if request.get("program") else _workload(paddle, request)
    wrap_calls(paddle, descent.wrap)
    for name in _OPTIMIZERS:
        if hasattr(paddle._C_ops, name):  # releases of Paddle differ in them
            step = descent.wrap(getattr(paddle._C_ops, name), f"paddle._C_ops.{name}", False)
            setattr(paddle._C_ops, name, step)
    try:
        run()
    except Found:
        pass
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    descent.close()


def _workload(paddle: Any, request: dict[str, Any]) -> Callable[[], Any]:
    from adapter_conform.models.workloads import WORKLOADS, run_workload

    workload = WORKLOADS[request["workload"]]
    return lambda: run_workload(paddle, "cpu", workload, request["steps"], request["seed"])


def _program(paddle: Any, request: dict[str, Any]) -> Callable[[], Any]:
    """The program stays on the CPU whatever device it asks for: it is the reference."""
    sys.argv = list(request["program"])
    script = Path(sys.argv[0]).resolve()
    sys.path.insert(0, str(script.parent))
    place = paddle.CPUPlace()
    paddle.set_device = lambda device: place
    paddle.device.set_device = lambda device: place
    return lambda: runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
