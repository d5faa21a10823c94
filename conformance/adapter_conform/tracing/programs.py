"""Static programs as Paddle prints them on standard output, among the program's own lines: read, and taken out.

An operator's line::

    (%2) = "sum(phi_kernel)" (%0, %1) {keepdim:false,kernel_key:<backend:refchip|layout:NCHW|dtype:float32>,
        kernel_name:"sum",op_name:"pd_op.sum",...} : (custom_device_tensor<5x8xf32>, cpu_tensor<1xi64>) -> ...
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Instruction", "ProgramReader", "StaticKernel"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Instruction:
    """A kernel as the interpreter names it when it runs it: place in the program, operator, shapes of its operands in
    no order."""

    index: int
    name: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class StaticKernel:
    """The same kernel as the program has it."""

    operator: str
    dtype: str
    backend: str
    shapes: tuple[Shape, ...]
    attributes: tuple[str, ...]
    device: str
    """Backend of the program that it belongs to: the first one that is not the CPU, if any."""


_NETWORK = "The network executed by pir interpreter"
_TITLE = re.compile(
    r"=+ (The network executed by pir interpreter|The instruction executed by pir interpreter|"
    r"The dependency of all instruction|pir interpreter trace order) ?=+$"
)
_FURTHER = re.compile(
    r"$|[{}]$|\s{4}|\{outputs\} = |\d+: |-+var_id -> |\d+ -> |id -> down_stream_id$|Leaf nodes: |\d+ downstreams: "
)
_KERNEL = re.compile(
    r'^\s*\((?P<results>.*?)\) = "(?P<name>[^"(]*)\((?:phi|custom|legacy)_kernel\)".*?'
    r"\{(?P<attributes>.*)\} : \((?P<operands>.*?)\) -> "
)
_KEY = re.compile(r"kernel_key:<backend:(\w+)\|[^|>]*\|dtype:(\w+)>")
_KERNEL_NAME = re.compile(r'kernel_name:"(\w+)"')
_OP_NAME = re.compile(r'op_name:"([^"]+)"')
_TENSOR = re.compile(r"tensor<([^<>]*)>")
_SPLIT = re.compile(r",(?=\w+:)")
_INTERNAL = frozenset(
    ("kernel_key", "kernel_name", "op_name", "origin_id", "stop_gradient", "struct_name", "is_inplace", "place")
)


class ProgramReader:
    """Takes the lines of standard output."""

    def __init__(self, passed_on: Callable[[str], None]) -> None:
        """``passed_on`` gets the lines that are no part of a printed program."""
        self._pass = passed_on
        self._inside = False
        self._network = False
        self._lines: list[tuple[str, StaticKernel]] = []
        self._known: dict[tuple[int, str], list[StaticKernel]] = defaultdict(list)
        self.programs = 0

    def line(self, text: str) -> None:
        """One line, without its end."""
        title = _TITLE.match(text)
        if title is not None:
            self._close()
            self._inside, self._network = True, title[1] == _NETWORK
        elif self._inside and _FURTHER.match(text):
            if self._network:
                self._operator(text)
        else:
            self._close()
            self._inside = False
            self._pass(text)

    def close(self) -> None:
        self._close()

    def find(self, instruction: Instruction) -> StaticKernel | None:
        """The kernel that ``instruction`` names, of whichever program; None where none was printed."""
        known = self._known.get((instruction.index, instruction.name), [])
        return next((kernel for kernel in known if tuple(sorted(kernel.shapes)) == instruction.shapes), None) or (
            known[0] if len(known) == 1 else None
        )

    def _operator(self, text: str) -> None:
        match = _KERNEL.match(text)
        if match is None:
            return
        attributes = match["attributes"]
        key, kernel = _KEY.search(attributes), _KERNEL_NAME.search(attributes)
        name = _OP_NAME.search(attributes)
        if key is None or kernel is None or name is None or kernel[1] == "data":
            return
        told = tuple(
            part for part in _SPLIT.split(attributes) if part.partition(":")[0] not in _INTERNAL and ":" in part
        )
        shapes = tuple(_shape(inner) for inner in _TENSOR.findall(match["operands"]))
        self._lines.append((name[1], StaticKernel(kernel[1], key[2], key[1].lower(), shapes, told, "")))

    def _close(self) -> None:
        """Ends the network that is being read."""
        if not self._lines:
            return
        device = next(
            (kernel.backend for _, kernel in self._lines if kernel.backend not in ("cpu", "undefined")), "cpu"
        )
        for index, (name, kernel) in enumerate(self._lines):
            full = StaticKernel(kernel.operator, kernel.dtype, kernel.backend, kernel.shapes, kernel.attributes, device)
            if full not in self._known[index, name]:
                self._known[index, name].append(full)
        self.programs += 1
        self._lines = []


def _shape(inner: str) -> Shape:
    """``"5x8xf32"`` is (5, 8), ``"f32"`` is ()."""
    return tuple(int(side) for side in inner.split("x")[:-1] if side.lstrip("-").isdigit())
