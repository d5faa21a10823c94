"""Reads Paddle's log, line by line as it comes, and turns it into kernel calls; what is not ours is handed back.

Eager calls tell of themselves so (``dygraph_functions``, ``nodes``, ``api``)::

    {time} api.cc] matmul API kernel key: [refchip, NCHW, float32]
    {time} kernel_factory.cc] missing refchip kernel: diag, ... fallbacking to CPU one!
    {time} api.cc] matmul kernel: {"input":[ ... ], "output":[ ... ], "attribute":[ "bool", "bool" ]}
    {time} dygraph_functions.cc] =====Finish_C++_API: matmul1=====
    {time} dygraph_functions.cc] Forward Debug Info { ... Shape: 5, 8, ... }

and kernels of static programs (``pir_interpreter``, ``phi_kernel_instruction``)::

    Before: Place(cpu) Op(pd_op.matmul), inputs:{x:[dtype=float;place=Place(cpu);dim=8, 16;lod={};]}, ...
    {time} phi_kernel_instruction.cc] Begin run op pd_op.matmul kernel in Place(cpu)
    {time} phi_kernel_instruction.cc] End run op pd_op.matmul kernel.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from adapter_conform.tracing.programs import Instruction, StaticKernel
from adapter_conform.tracing.record import KernelUse, Trace

__all__ = ["CONSTANTS", "MARK", "LogReader"]

MARK = "\x1eadapter-trace "
_OURS = frozenset(
    ("dygraph_functions", "nodes", "kernel_factory", "phi_kernel_instruction", "pir_interpreter", "utils")
)
"""Modules of Paddle whose log is switched on, besides those with "api" in their name."""
_PREFIX = re.compile(r"[IWEF](\d{4}) (\d\d):(\d\d):(\d\d)\.(\d{6})\s+(\d+) (\w+)\.\w+:\d+\] ?(.*)", re.DOTALL)
_LEVEL = {"I": 0, "W": 1, "E": 2, "F": 3}
_KEY = re.compile(r"(\w+) API kernel key: \[([^,]+), [^,]+, ([\w:]+)\]")
_MISSING = re.compile(r"missing (\w+) kernel: (\w+), .*fallbacking to CPU one")
_KERNEL = re.compile(r'(\w+) kernel: \{"input"')
_BEGIN = re.compile(r"Begin run op (?:\w+\.)?(\w+) kernel(?: in Place\((\w+)|\.)")
_END = re.compile(r"End run op (?:\w+\.)?(\w+) kernel")
_STEP = re.compile(r"begin: RunInstructionBase OP id:(\d+) name:(\S+)")
_OPERANDS = re.compile(r"Before: Place\((\w+)[^)]*\) Op\(([\w.]+)\), inputs:\{(.*?)\}, outputs:")
_DIM = re.compile(r"dim=([\d, ]*);")
_DTYPE = re.compile(r"dtype=(\w+);")
_C_TYPES = {
    "float": "float32",
    "double": "float64",
    "int": "int32",
    "int64_t": "int64",
    "uint8_t": "uint8",
    "int8_t": "int8",
    "int16_t": "int16",
    "::phi::dtype::float16": "float16",
}
_INLINE_ATTRIBUTES = re.compile(r'"attribute":\[([^\]]*)\]\}')
_INLINE_SHAPE = re.compile(r"\s?\( \w+ , \[\{Name: .*?Shape: ([\d, ]*), DistAttr")
_ATTRIBUTE = re.compile(r'^\t"([^"]+)"')
CONSTANTS = frozenset(("full", "full_int_array", "assign_value", "assign_raw", "data", "feed", "fetch", "shadow_feed"))
"""What Paddle itself computes on the host in static programs: no input, or no computation."""


@dataclass
class _Call:
    """A kernel call whose lines are still coming."""

    operator: str
    dtype: str
    backend: str
    wanted: str
    mode: str
    phase: str
    began: float | None = None
    seconds: float | None = None
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    instruction: Instruction | None = None


class LogReader:
    """Takes the lines of standard error of a traced program."""

    def __init__(self, trace: Trace, passed_on: Callable[[str], None], min_level: int = 0) -> None:
        """``passed_on`` gets the lines that are not Paddle's log of kernels; of other log lines those of ``min_level``
        and above."""
        self._trace, self._pass, self._min_level = trace, passed_on, min_level
        self._thread, self._module = 0, ""
        self._time = 0.0
        self._phase = "forward"
        self._calls: dict[int, _Call] = {}
        self._steps: dict[int, tuple[int, str]] = {}
        self._operands: dict[int, tuple[str, list[tuple[int, ...]], str, str]] = {}
        self._section = ""
        self._ended: dict[int, bool] = {}
        self._pending: list[tuple[int, ...]] | None = None
        self._static: dict[tuple[Instruction, str, str, str, str], tuple[int, float]] = {}
        self.paddle = ""
        self.devices: set[str] = set()

    def line(self, text: str) -> None:
        """One line, without its end."""
        if text.startswith(MARK):
            self._mark(json.loads(text[len(MARK) :]))
            return
        match = _PREFIX.match(text)
        if match is None:
            if _is_ours(self._module) and self._continues(text):
                return
            self._module = ""
            self._pass(text)
            return
        _, hours, minutes, seconds, micros, thread, module, message = match.groups()
        self._thread, self._module, self._section = int(thread), module, ""
        self._time = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(micros) * 1e-6
        if _is_ours(module):
            self._message(message)
        elif _LEVEL[text[0]] >= self._min_level:
            self._pass(text)

    def close(self, find: Callable[[Instruction], StaticKernel | None]) -> None:
        """No more lines will come; ``find`` knows the kernels of static programs."""
        for thread in list(self._calls):
            self._finish(thread)
        self._settle(find)

    def _mark(self, event: dict[str, object]) -> None:
        if event["event"] == "paddle":
            self.paddle = str(event["version"])
        else:
            self._phase = str(event["phase"])

    def _message(self, message: str) -> None:
        if message.startswith("{ Input: ["):
            if self._module == "nodes":  # operands of a gradient are told ahead of its kernel
                self._section, self._pending = "ahead", []
                self._ended.pop(self._thread, None)
            else:
                self._open_input()
        elif "Finish AD API" in message:  # Paddle before 3.3
            self._end_eager()
        elif match := _KEY.search(message):
            self._finish(self._thread)
            name, backend, dtype = match.groups()
            place = backend.lower()
            self.devices.add(place)
            self._ended.pop(self._thread, None)
            call = _Call(_plain(name), dtype, place, place, "eager", self._phase_of(name))
            if self._pending is not None and call.phase == "backward":
                call.shapes, self._pending = self._pending, None
            self._calls[self._thread] = call
        elif match := _MISSING.search(message):
            if missed := self._calls.get(self._thread):
                missed.backend = "cpu"
        elif match := _KERNEL.search(message):
            self._section = "kernel"
            if started := self._calls.get(self._thread):
                started.operator, started.began = _plain(match[1]), self._time
                if inline := _INLINE_ATTRIBUTES.search(message):  # Paddle before 3.3
                    started.attributes = [word.strip('" ') for word in inline[1].split(",") if word]
        elif match := _BEGIN.search(message):
            self._begin_static(match[1], (match[2] or "").lower())
        elif _END.search(message):
            running = self._calls.get(self._thread)
            if running is not None and running.mode == "static" and running.began is not None:
                running.seconds = _elapsed(running.began, self._time)
                self._finish(self._thread)

    def _continues(self, text: str) -> bool:
        """Whether ``text`` is a further line of the message before it."""
        call = self._calls.get(self._thread)
        if "Finish_C++_API" in text:
            self._end_eager()
            return True
        if match := _STEP.match(text):
            self._steps[self._thread] = int(match[1]), match[2]
            return True
        if match := _OPERANDS.match(text):
            shapes = [_shape(dim) for dim in _DIM.findall(match[3])]
            dtypes = _DTYPE.findall(match[3])
            self._operands[self._thread] = match[2], shapes, dtypes[0] if dtypes else "", match[1].lower()
            return True
        if text.lstrip().startswith(("Input: [", "Output: [")):
            if text.lstrip().startswith("I"):
                self._open_input()
            else:
                self._section = "output"
            return True
        if self._section == "kernel":
            if (match := _ATTRIBUTE.match(text)) and call is not None:
                call.attributes.append(match[1])
        elif match := _INLINE_SHAPE.match(text):
            self._add_shape(_shape(match[1]))
        elif text.startswith("\t\tShape: "):
            self._add_shape(_shape(text[len("\t\tShape: ") :]))
        return bool(_CONTINUED.match(text))

    def _open_input(self) -> None:
        """Operands follow, an eager call's once it has ended; those that Paddle before 3.3 tells ahead too are left."""
        self._section = "input" if self._ended.pop(self._thread, False) else "other"

    def _add_shape(self, shape: tuple[int, ...]) -> None:
        call = self._calls.get(self._thread)
        if self._section == "ahead" and self._pending is not None:
            self._pending.append(shape)
        elif self._section == "input" and call is not None and call.mode == "eager":
            call.shapes.append(shape)

    def _end_eager(self) -> None:
        self._ended[self._thread] = True
        call = self._calls.get(self._thread)
        if call is not None and call.mode == "eager" and call.began is not None and call.seconds is None:
            call.seconds = _elapsed(call.began, self._time)

    def _begin_static(self, operator: str, place: str) -> None:
        self._finish(self._thread)
        step, name = self._steps.get(self._thread, (-1, ""))
        of, shapes, dtype, told_place = self._operands.get(self._thread, ("", [], "", "cpu"))
        place = place or told_place
        self.devices.add(place)
        call = _Call(
            _plain(operator),
            _C_TYPES.get(dtype, dtype or "unknown"),
            place,
            place,
            "static",
            self._phase_of(operator),
            began=self._time,
        )
        if name.rpartition(".")[2] == operator:
            call.instruction = Instruction(step, name, tuple(sorted(shapes)))
            call.shapes = sorted(shapes) if of == name else []
        self._calls[self._thread] = call

    def _phase_of(self, operator: str) -> str:
        return "backward" if operator.rstrip("_").endswith(("_grad", "_double_grad")) else self._phase

    def _finish(self, thread: int) -> None:
        call = self._calls.pop(thread, None)
        if call is None:
            return
        if call.instruction is not None:
            key = (call.instruction, call.operator, call.dtype, call.phase, call.backend)
            calls, seconds = self._static.get(key, (0, 0.0))
            self._static[key] = (calls + 1, seconds + (call.seconds or 0.0))
        else:
            use = KernelUse(
                call.operator,
                call.dtype,
                call.phase,
                call.mode,
                call.backend,
                call.wanted,
                tuple(call.shapes),
                tuple(call.attributes),
            )
            self._trace.count(use, call.seconds)

    def _settle(self, find: Callable[[Instruction], StaticKernel | None]) -> None:
        """Counts the kernels of static programs, now that the programs are known."""
        device = next((name for name in sorted(self.devices) if name != "cpu"), "cpu")
        for (instruction, operator, dtype, phase, backend), (calls, seconds) in self._static.items():
            kernel = find(instruction)
            shapes: tuple[tuple[int, ...], ...] = instruction.shapes
            attributes: tuple[str, ...] = ()
            owner = device
            if kernel is not None:
                operator, dtype, shapes, attributes = kernel.operator, kernel.dtype, kernel.shapes, kernel.attributes
                owner = kernel.device
            wanted = backend if operator in CONSTANTS or backend != "cpu" else owner
            use = KernelUse(operator, dtype, phase, "static", backend, wanted, shapes, attributes)
            self._trace.count_many(use, calls, seconds)


def _is_ours(module: str) -> bool:
    return module in _OURS or "api" in module


def _plain(name: str) -> str:
    """The kernel of an in-place operator ``add_`` is ``add``."""
    return name.rstrip("_")


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in re.findall(r"-?\d+", text))


def _elapsed(began: float, ended: float) -> float:
    return ended - began + (86400.0 if ended < began else 0.0)


_CONTINUED = re.compile(
    r"\s*$|=====+|[\[\]{}(),\s]*$|\t|\s?\( \w+ , |[\]}], ?$|\"(?:output|attribute)\":\[|\]\}$|API_Name: |"
    r"Forward Debug Info|Backward Debug Info|\s?(?:Input|Output): \[|(?:done|begin): RunInstructionBase|"
    r"Before: |After: |value -> var_name|0x[0-9a-f]+ -> |\s*\}\)?[,\] })]*|\}\]?\)"
)
"""Lines that a message of Paddle's goes on with."""
