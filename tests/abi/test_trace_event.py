"""The views of Paddle's trace events, measured against the header that each Paddle ships."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
HEADER = "paddle/phi/api/profiler/trace_event.h"

FIELDS = {
    ("PaddleRuntimeEvent", "RuntimeTraceEvent"): {
        "name": "name",
        "kind": "type",
        "start_ns": "start_ns",
        "end_ns": "end_ns",
        "process": "process_id",
        "thread": "thread_id",
        "correlation": "correlation_id",
        "callback": "callback_id",
    },
    ("PaddleDeviceEvent", "DeviceTraceEvent"): {
        "name": "name",
        "kind": "type",
        "start_ns": "start_ns",
        "end_ns": "end_ns",
        "device": "device_id",
        "context": "context_id",
        "stream": "stream_id",
        "correlation": "correlation_id",
        "kernel": "kernel_info",
        "copy": "memcpy_info",
    },
    ("PaddleKernelInfo", "KernelEventInfo"): {
        "launch": "block_x",
        "queued": "queued",
        "completed": "completed",
        "occupancy": "blocks_per_sm",
    },
    ("PaddleCopyInfo", "MemcpyEventInfo"): {
        "bytes": "num_bytes",
        "kind": "copy_kind",
        "source": "src_kind",
        "target": "dst_kind",
    },
}
"""(ours, Paddle's) -> our field -> Paddle's."""

KINDS = {"runtime": "CudaRuntime", "kernel": "Kernel", "copy": "Memcpy", "fill": "Memset"}


@pytest.mark.paddle
def test_views_are_those_of_the_shipped_header(cxx: str, paddle_tree: Path) -> None:
    asserts = []
    for (ours, theirs), fields in FIELDS.items():
        asserts.append(f"static_assert(sizeof({ours}) == sizeof(phi::{theirs}));")
        asserts += [
            f"static_assert(offsetof({ours}, {mine}) == offsetof(phi::{theirs}, {its}));"
            for mine, its in fields.items()
        ]
    asserts += [
        f"static_assert(static_cast<int>(TraceKind::{mine}) == static_cast<int>(phi::TracerEventType::{its}));"
        for mine, its in KINDS.items()
    ]
    head = f'#include <cstddef>\n#include "{HEADER}"\n#include "abi/trace_event.h"\nusing namespace adapter::abi;\n'
    source = head + "\n".join(asserts)
    command = [cxx, "-std=c++17", "-w", "-fsyntax-only", f"-I{paddle_tree / 'include'}", f"-I{CSRC}", "-x", "c++", "-"]
    done = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
