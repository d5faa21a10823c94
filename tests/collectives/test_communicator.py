"""The communicator alone, without Paddle: forked ranks over shared memory, and over TCP on the loopback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

LIMIT = 120


def run(program: Path, ranks: int, scenario: str, **environment: str) -> None:
    done = subprocess.run(
        [str(program), str(ranks), scenario],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("ranks", "transport"), [(1, "shm"), (2, "shm"), (2, "tcp"), (3, "tcp"), (4, "shm")])
def test_every_result_is_exact(ranks_program: Path, ranks: int, transport: str) -> None:
    settings = {"ADAPTER_COLLECTIVES_TRANSPORT": transport, "WANTED_TRANSPORT": transport}
    run(ranks_program, ranks, "right", **settings)


def test_a_small_buffer_changes_no_result(ranks_program: Path) -> None:
    run(ranks_program, 2, "right", ADAPTER_COLLECTIVES_BUFFER="4K")


def test_shared_memory_is_taken_on_one_host(ranks_program: Path) -> None:
    run(ranks_program, 2, "single_rounding", WANTED_TRANSPORT="shm")


@pytest.mark.parametrize("transport", ["shm", "tcp"])
@pytest.mark.parametrize(
    "scenario", ["many_communicators", "send_first", "read_in_place", "sizes_differ", "calls_differ", "death", "late"]
)
def test_order_and_failure(ranks_program: Path, scenario: str, transport: str) -> None:
    run(ranks_program, 3, scenario, ADAPTER_COLLECTIVES_TRANSPORT=transport)


@pytest.mark.parametrize("scenario", ["silence", "absent"])
def test_a_rank_that_does_not_come_is_named_within_the_limit(ranks_program: Path, scenario: str) -> None:
    run(ranks_program, 3, scenario, ADAPTER_COLLECTIVES_TIMEOUT="1")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ADAPTER_COLLECTIVES_TIMEOUT", "soon"),
        ("ADAPTER_COLLECTIVES_TIMEOUT", "-1"),
        ("ADAPTER_COLLECTIVES_BUFFER", "1"),
        ("ADAPTER_COLLECTIVES_TRANSPORT", "pigeon"),
        ("ADAPTER_COLLECTIVES_INTERFACE", "no-such-network"),
    ],
)
def test_a_malformed_setting_is_named(ranks_program: Path, variable: str, text: str) -> None:
    done = subprocess.run(
        [str(ranks_program), "1", "late"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, variable: text},
        check=False,
    )
    assert done.returncode == 1
    assert variable in done.stderr
    assert text in done.stderr
