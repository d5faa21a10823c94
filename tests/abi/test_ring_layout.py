"""Where Paddle keeps a communicator's device context, measured with the headers of an installed Paddle."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "csrc" / "abi" / "ring_contexts.cc"
HEADER = "paddle/phi/core/distributed/xccl_comm_context.h"
FIELDS = {"kPlaceOffset": "place_", "kCommunicatorOffset": "xccl_comm_", "kContextOffset": "dev_ctx_"}


def _release(tree: Path) -> tuple[int, ...]:
    text = (tree / "version" / "__init__.py").read_text()
    found = re.search(r"full_version\s*= '(\d+)\.(\d+)", text)
    assert found is not None
    return tuple(map(int, found.groups()))


@pytest.mark.paddle
def test_a_rings_context_lies_where_it_is_written(cxx: str, paddle_tree: Path) -> None:
    if _release(paddle_tree) < (3, 1):
        pytest.skip("Paddle before 3.1 has no such field, and nothing is written")
    constants = dict(re.findall(r"constexpr size_t (k\w+Offset) = (\d+);", SOURCE.read_text()))
    assert constants.keys() == FIELDS.keys()
    claims = " && ".join(f"offsetof(Ring, {field}) == {constants[name]}" for name, field in FIELDS.items())
    source = f'#include <sstream>\n#include "{HEADER}"\nusing Ring = phi::distributed::XCCLCommContext;\n'
    source += f"static_assert({claims});\n"
    include = paddle_tree / "include"
    command = [cxx, "-std=c++17", "-w", "-fsyntax-only", "-fno-access-control", "-DPADDLE_WITH_CUSTOM_DEVICE"]
    command += [f"-I{include}", f"-I{include}/third_party", "-x", "c++", "-"]
    done = subprocess.run(command, input=source, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
