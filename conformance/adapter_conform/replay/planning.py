"""Which lines of a replay file are run under a profile with a plugin, and why the others are not. No Paddle."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapter_conform.catalogue.spec import Kernel
from adapter_conform.replay.apis.table import Refusal
from adapter_conform.replay.inputs import byte_size
from adapter_conform.replay.lines import Line, prepare
from adapter_conform.replay.outputs import output_elements
from adapter_conform.replay.parser import ReplayFile, ReplaySyntaxError
from adapter_conform.replay.syntax import Call

__all__ = ["Budget", "Choice", "choose", "require_memory"]

MIB = 1 << 20
MOST_ELEMENTS = 40 << 20
"""Of an operand or a result: 75 bytes each were measured, and two workers share 8 GiB."""


@dataclass(frozen=True)
class Budget:
    """What a profile spends on replay."""

    profile: str
    bytes: int
    """Most bytes that a line's input tensors may have together."""
    result_bytes: int
    """Most bytes of a result whose shape the line states."""
    sample: int | None = None
    """Lines to run, drawn with the run's seed; None for all."""

    @classmethod
    def of(cls, profile: str) -> Budget:
        """smoke: 300 lines of up to 8 MiB; standard: every line of up to 8 MiB; full: up to 256 MiB. Results, of which
        nothing but a shape stands in the line, may have 64 MiB, in full 256 MiB."""
        if profile == "smoke":
            return cls(profile, 8 * MIB, 64 * MIB, sample=300)
        return cls(profile, (256 if profile == "full" else 8) * MIB, (256 if profile == "full" else 64) * MIB)


@dataclass
class Choice:
    """What became of each line of a file: chosen, without a judge, excluded for a reason, or malformed."""

    chosen: list[Line] = field(default_factory=list)
    unjudged: list[tuple[Call, str]] = field(default_factory=list)
    """Lines within the budget that cannot be judged on this plugin, and why: cases that end as unsupported."""
    excluded: dict[str, list[int]] = field(default_factory=dict)
    """Reason -> line numbers, the most frequent reason first."""
    malformed: list[ReplaySyntaxError] = field(default_factory=list)

    def exclude(self, reason: str, line: int) -> None:
        self.excluded.setdefault(reason, []).append(line)


def choose(file: ReplayFile, declared: Iterable[tuple[str, str]], budget: Budget, seed: int) -> Choice:
    """Sorts the lines of ``file``.

    Args:
        declared: (operator, dtype) of every kernel that the plugin declares.
    """
    offered = _by_operator(declared)
    choice = Choice(malformed=list(file.errors))
    for call in file.calls:
        try:
            _require_small(byte_size(call.tensors), budget)
        except Refusal as refusal:
            choice.exclude(str(refusal), call.line)
            continue
        try:
            line = prepare(call)
            _require_offered(line, offered)
            _require_small_result(line, budget)
            require_memory(line)
        except Refusal as refusal:
            choice.unjudged.append((call, str(refusal)))
        else:
            choice.chosen.append(line)
    if budget.sample is not None:
        _sample(choice, budget, seed)
    choice.excluded = dict(sorted(choice.excluded.items(), key=lambda item: -len(item[1])))
    return choice


def _by_operator(declared: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for operator, dtype in declared:
        table.setdefault(operator, set()).add(dtype)
    return table


def _require_offered(line: Line, offered: Mapping[str, set[str]]) -> None:
    """Raises Refusal if a kernel that the line needs is not declared. A view needs the copy that reads it back."""
    needed = [*line.kernels, *line.also]
    if line.view:
        needed.append(Kernel(("contiguous", "strided_copy"), line.call.tensors[0].dtype))
    for kernel in needed:
        dtypes = set().union(*(offered.get(name, set()) for name in kernel.names))
        names = " or ".join(kernel.names)
        if not dtypes:
            raise Refusal(f"operator not offered: the plugin declares no kernel {names}")
        if kernel.dtype not in dtypes:
            raise Refusal(f"dtype not offered: the plugin declares no kernel {names} for {kernel.dtype}")


def _require_small(size: int, budget: Budget) -> None:
    if size > budget.bytes:
        raise Refusal(f"more than {budget.bytes // MIB} MiB of tensors, the limit of profile {budget.profile}")


def _require_small_result(line: Line, budget: Budget) -> None:
    if line.stated_bytes > budget.result_bytes:
        limit = f"{budget.result_bytes // MIB} MiB, the limit of profile {budget.profile}"
        raise Refusal(f"the result would have more than {limit}")


def require_memory(line: Line) -> None:
    """Raises Refusal if judging the line would take too much memory, however small its inputs are."""
    if max(line.elements, output_elements(line.call, line.api, line.arguments)) > MOST_ELEMENTS:
        raise Refusal(f"judging a tensor of more than {MOST_ELEMENTS >> 20} Mi elements would take more than 3 GiB")


def _sample(choice: Choice, budget: Budget, seed: int) -> None:
    """Draws from the lines that can be judged."""
    assert budget.sample is not None
    for call, reason in choice.unjudged:
        choice.exclude(reason, call.line)
    choice.unjudged = []
    if len(choice.chosen) <= budget.sample:
        return
    kept = set(random.Random(seed).sample(range(len(choice.chosen)), budget.sample))
    for index, line in enumerate(choice.chosen):
        if index not in kept:
            choice.exclude(f"not in the sample of {budget.sample} lines of profile {budget.profile}", line.call.line)
    choice.chosen = [line for index, line in enumerate(choice.chosen) if index in kept]
