"""The conversation between supervisor and worker: one JSON object a line over two inherited pipes.

    supervisor -> worker   {"type": "hello", "plugin", "seed", "session_suite"}       once, first
    worker -> supervisor   {"type": "ready", "kernels", "environment", "footprint"}   or
                           {"type": "failed", "message", "trace"}                     the worker then leaves
    supervisor -> worker   {"type": "run", "suite", "case"}                           one at a time
    worker -> supervisor   {"type": "done", "outcome", "seconds", "footprint"}
    supervisor -> worker   {"type": "probe"}                                          between cases
    worker -> supervisor   {"type": "healthy"}                                        or
                           {"type": "sick", "message"}
    supervisor -> worker   {"type": "stop"}                                           or the end of the pipe

The pipes carry nothing else; whatever a plugin prints goes to the worker's log.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from adapter_conform.cases import Case, GateFigure, Outcome
from adapter_conform.jsondata import compact, jsonable
from adapter_conform.states import State

__all__ = [
    "LineReader",
    "Message",
    "case_from_json",
    "case_to_json",
    "outcome_from_json",
    "outcome_to_json",
    "write_message",
]

Message = dict[str, Any]


class LineReader:
    """Collects the lines that arrive on a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.at_end = False
        self._buffer = bytearray()

    def read_some(self) -> list[Message]:
        """What one ``read`` brings, which blocks until there is something: the complete messages, possibly none.

        Raises:
            ValueError: a line is not a JSON object.
        """
        chunk = os.read(self.descriptor, 1 << 16)
        if not chunk:
            self.at_end = True
            return []
        self._buffer += chunk
        *lines, rest = self._buffer.split(b"\n") if b"\n" in chunk else [self._buffer]
        self._buffer = bytearray(rest)
        return [_parse(bytes(line)) for line in lines]


def _parse(line: bytes) -> Message:
    message = json.loads(line)
    if not isinstance(message, dict) or "type" not in message:
        raise ValueError(f"not a message: {line[:200]!r}")
    return message


def write_message(descriptor: int, message: Message) -> None:
    """Writes one line completely.

    Raises:
        BrokenPipeError: nobody reads the other end.
        TypeError, ValueError: the message has no JSON form.
    """
    data = memoryview((compact(message) + "\n").encode())
    while data:
        data = data[os.write(descriptor, data) :]


def case_to_json(case: Case) -> Message:
    return {**asdict(case), "payload": jsonable(case.payload)}


def case_from_json(data: Message) -> Case:
    return Case(**data)


def outcome_to_json(outcome: Outcome) -> Message:
    """Raises TypeError when ``details`` hold something that has no JSON form."""
    data = jsonable(outcome)
    assert isinstance(data, dict)
    return data


def outcome_from_json(data: Message) -> Outcome:
    figures = [
        GateFigure(**{**figure, "value": float(figure["value"]), "limit": float(figure["limit"])})
        for figure in data["errors"]
    ]
    return Outcome(
        state=State(data["state"]),
        executed_on=data["executed_on"],
        errors=figures,
        message=data["message"],
        details=data["details"],
    )
